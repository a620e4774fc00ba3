import { type Disk, type DiskFile, type FileMap, PAGE_BYTES } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { SECTOR_BYTES, SERIES_MAPPED_BYTES_MAX } from "../limits.ts";
import {
  encodeJournalHeader,
  JOURNAL_RECORD_BYTES,
  type JournalHeader,
  RECORD_KINDS,
  sealRecord,
} from "./journal-format.ts";

/** The file grows by steps, so that an append seldom changes its size: small at first, for series that stay small. */
const FIRST_STEP_BYTES = 16 << 10;
const LARGEST_STEP_BYTES = 1 << 20;

/** A file is mapped when it is this large and its last step was used up within so long: others gain nothing by it. */
const MAPPED_FROM_BYTES = 64 << 10;
const MAPPED_WITHIN_MS = 10_000;

/** Bytes of hot files that this process has mapped. */
let mappedBytes = 0;

/**
 * Appends records to a hot file: one write each, or, where the file grows fast and the system allows, a copy into its
 * end as memory. Both are in the page cache when `append` returns, so that a killed process loses nothing. `sync` makes
 * them durable; after a failed sync nothing more is written (`ERR_POISONED`).
 */
export class JournalWriter {
  readonly path: string;
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #file: DiskFile;
  #end: number;
  #sizeBytes: number;
  #rows: number;
  #synced = 0;
  #nameDurable = false;
  #marked = true;
  #failed: unknown;
  /** The end of the file as memory, from where the last step began. */
  #map: FileMap | undefined;
  #mapBytes = 0;
  #mayMap = true;
  /** Goes on where another file that grew fast was full. */
  #fast: boolean;
  #grownMs = performance.now();
  #syncing: Promise<void> | undefined;

  private constructor(
    disk: Disk,
    file: DiskFile,
    state: { directory: string; end: number; rows: number; sizeBytes: number; fast?: boolean },
  ) {
    this.#disk = disk;
    this.#file = file;
    this.path = file.path;
    this.#directory = state.directory;
    this.#end = state.end;
    this.#rows = state.rows;
    this.#sizeBytes = state.sizeBytes;
    this.#fast = state.fast ?? false;
  }

  /**
   * A new file that holds the header and, from the start, the records given (rows carried over from the segment
   * before): it takes its name when both are written, so that no reader and no recovery sees it without them.
   */
  static create(
    disk: Disk,
    place: { directory: string; name: string },
    header: JournalHeader,
    { carried = [], fast = false }: { carried?: readonly Uint8Array[]; fast?: boolean } = {},
  ): JournalWriter {
    const { directory, name } = place;
    const temporary = `${directory}/${name}.new`;
    const first = encodeJournalHeader(header);
    const records = carried.map((payload, ordinal) => recordOf(payload, ordinal));
    const bytes = Buffer.concat([first, ...records]);
    const file = disk.open(temporary, { access: "write", create: "may" });
    try {
      file.truncate(0);
      file.writeSync(bytes, 0);
      disk.rename(temporary, `${directory}/${name}`);
    } finally {
      file.close();
    }
    const state = {
      directory,
      end: bytes.byteLength,
      rows: carried.length,
      sizeBytes: bytes.byteLength,
      fast,
    };
    return new JournalWriter(disk, disk.open(`${directory}/${name}`, { access: "write" }), state);
  }

  /** Goes on with a file that was recovered up to `end`; what was torn behind it is cut off, what is zeros stays. */
  static resume(
    disk: Disk,
    place: { directory: string; name: string },
    state: { end: number; rows: number; torn: boolean },
  ): JournalWriter {
    const file = disk.open(`${place.directory}/${place.name}`, { access: "write" });
    if (state.torn) {
      file.truncate(state.end);
      // Torn bytes must not come back behind rows that are written in their place.
      file.syncSync();
    }
    const { end, rows } = state;
    const sizeBytes = file.sizeBytes();
    const writer = new JournalWriter(disk, file, { directory: place.directory, sizeBytes, end, rows });
    writer.#leaveSector();
    // What was read may only be in the page cache.
    writer.#marked = false;
    return writer;
  }

  /** Rows in the file. */
  get rows(): number {
    return this.#rows;
  }

  /** Rows known durable. */
  get synced(): number {
    return this.#synced;
  }

  get sizeBytes(): number {
    return this.#end;
  }

  /** Whether it grows fast enough to be mapped. */
  get mapped(): boolean {
    return this.#map !== undefined;
  }

  /**
   * Appends the record whose payload lies in `bytes` from `JOURNAL_RECORD_BYTES` to `end`; the bytes before it are
   * used for its header. On a failure the file is as before, and the same call may succeed later.
   * @throws ERR_DISK_FULL, ERR_IO, ERR_POISONED
   */
  append(
    bytes: Uint8Array,
    view: DataView,
    end: number,
    rows: number,
    kind: number = RECORD_KINDS.rows,
  ): void {
    if (this.#failed !== undefined) throw this.#poisoned();
    sealRecord(bytes, view, end, { rows, ordinal: this.#rows, synced: this.#synced, kind });
    const next = this.#end + end;
    if (next > this.#sizeBytes) this.#grow(next);
    if (this.#map === undefined || !this.#put(this.#map, view, end)) {
      this.#file.writeSync(bytes.subarray(0, end), this.#end);
    }
    this.#end = next;
    this.#rows += rows;
    this.#marked = false;
  }

  /** Makes everything appended so far durable. */
  async sync(): Promise<void> {
    while (this.#syncing !== undefined) await this.#syncing;
    if (this.#failed !== undefined) throw this.#poisoned();
    if (this.#marked) return;
    this.#syncing = this.#syncOnce().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  syncSync(): void {
    if (this.#failed !== undefined) throw this.#poisoned();
    if (this.#marked) return;
    const rows = this.#rows;
    this.#leaveSector();
    try {
      this.#file.syncSync();
      if (!this.#nameDurable) this.#disk.syncDirectory(this.#directory);
    } catch (error) {
      this.#failed = error;
      throw error;
    }
    this.#synced = rows;
    this.#nameDurable = true;
  }

  async #syncOnce(): Promise<void> {
    const rows = this.#rows;
    this.#leaveSector();
    try {
      await this.#file.sync();
      if (!this.#nameDurable) await this.#disk.syncDirectoryAsync(this.#directory);
    } catch (error) {
      this.#failed = error;
      throw error;
    }
    this.#synced = rows;
    this.#nameDurable = true;
    // Nothing came meanwhile to say it: without a mark, damage to the last rows could pass for a torn append.
    if (rows === this.#rows) this.#mark();
  }

  /**
   * What is appended next begins in a sector of its own: a power cut in the middle of writing it may leave garbage
   * there, and what a sync is about to promise must not lie beside it.
   */
  #leaveSector(): void {
    this.#end = Math.ceil(this.#end / SECTOR_BYTES) * SECTOR_BYTES;
  }

  #mark(): void {
    const mark = new Uint8Array(JOURNAL_RECORD_BYTES);
    this.append(mark, new DataView(mark.buffer), JOURNAL_RECORD_BYTES, 0, RECORD_KINDS.mark);
    this.#marked = true;
  }

  /** No rows will follow: lets go of memory. */
  fill(): void {
    this.#unmap();
    this.#mayMap = false;
  }

  /** Everything durable, a mark that says so, and no room left over. */
  async close(): Promise<void> {
    this.fill();
    try {
      if (this.#failed === undefined) {
        await this.sync();
        this.#file.truncate(this.#end);
        await this.#file.sync();
      }
    } finally {
      this.#file.close();
    }
  }

  /** Lets go of the file without another write, once no sync is in flight. */
  async release(): Promise<void> {
    this.#unmap();
    await this.#syncing?.catch(() => {});
    this.#file.close();
  }

  /** Where the system cannot provide a page, the file is written from there on. */
  #put(map: FileMap, source: DataView, sizeBytes: number): boolean {
    if (map.put(source, sizeBytes, this.#end)) return true;
    this.#unmap();
    this.#mayMap = false;
    return false;
  }

  #grow(needed: number): void {
    const nowMs = performance.now();
    const fast =
      this.#fast || (nowMs - this.#grownMs < MAPPED_WITHIN_MS && this.#sizeBytes >= MAPPED_FROM_BYTES);
    const least = this.#fast ? MAPPED_FROM_BYTES : FIRST_STEP_BYTES;
    const step = Math.min(LARGEST_STEP_BYTES, Math.max(least, this.#sizeBytes));
    const sizeBytes = Math.ceil(Math.max(needed, this.#sizeBytes + step) / PAGE_BYTES) * PAGE_BYTES;
    this.#fast = false;
    this.#grownMs = nowMs;
    this.#unmap();
    if (!fast || !this.#mapTo(sizeBytes)) this.#file.truncate(sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  #mapTo(sizeBytes: number): boolean {
    const wanted = sizeBytes - this.#end;
    if (!this.#mayMap || mappedBytes + wanted > SERIES_MAPPED_BYTES_MAX) return false;
    // Appends do not wait for a library to be loaded: until it is there, they are written.
    if (this.#file.readyToMap?.() === false) return false;
    this.#map = this.#file.map?.(this.#end, sizeBytes);
    if (this.#map === undefined) {
      this.#mayMap = false;
      return false;
    }
    this.#mapBytes = wanted;
    mappedBytes += wanted;
    return true;
  }

  #unmap(): void {
    this.#map?.close();
    this.#map = undefined;
    mappedBytes -= this.#mapBytes;
    this.#mapBytes = 0;
  }

  #poisoned(): StoreError {
    return new StoreError("ERR_POISONED", `${this.path}: a sync failed, nothing more is appended`, {
      context: { path: this.path },
      cause: this.#failed,
      hint: "Close the series and open it again: what was durable is there.",
    });
  }
}

function recordOf(payload: Uint8Array, ordinal: number): Uint8Array {
  const bytes = new Uint8Array(JOURNAL_RECORD_BYTES + payload.byteLength);
  bytes.set(payload, JOURNAL_RECORD_BYTES);
  const header = { rows: 1, ordinal, synced: 0, kind: RECORD_KINDS.rows };
  sealRecord(bytes, new DataView(bytes.buffer), bytes.byteLength, header);
  return bytes;
}
