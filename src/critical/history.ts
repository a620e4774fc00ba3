import { invariant } from "../assert.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { isStoreError } from "../errors.ts";
import type { LogRecord } from "./change.ts";
import {
  BLOCK_RAW_BYTES_BUSY,
  encodeFileHeader,
  FILE_BYTES_TARGET,
  FILE_HEADER_BYTES,
  LINK_BYTES,
  NO_LINK,
  nextLink,
  nextSector,
} from "./history-format.ts";
import { type BlockPlace, blockPlaces, type PastRecord, wholePlaces } from "./history-reader.ts";
import { readHistoryStart, writeHistoryStart } from "./history-start.ts";
import { HistoryBlockWriter } from "./history-writer.ts";
import { pastRecord } from "./past-record.ts";
import { PendingBlocks } from "./pending-blocks.ts";
import { RecentRecords, type ReplayedRecords } from "./recent-records.ts";
import type { RecordPlace } from "./record-reader.ts";
import type { Reserve } from "./reserve.ts";
import type { HistoryPosition } from "./snapshot-writer.ts";
import type { State } from "./state.ts";

export interface HistoryOptions {
  /** Files whose last record is older are dropped. Default: 30 days. */
  keepMs?: number;
  /** Oldest files are dropped while all together take more. Default: 1 GiB. */
  keepBytes?: number;
}

export interface HistoryStats {
  /** Oldest LSN that can still be read, 0n when there is no record yet. */
  firstLsn: bigint;
  files: number;
  sizeBytes: number;
  /** Bytes written to them by this opening. */
  writtenBytes: number;
  /** Records that wait in memory for their block, and roughly what they hold. */
  pendingRecords: number;
  pendingBytes: number;
}

const KEEP_MS = 30 * 24 * 3600 * 1000;
const KEEP_BYTES = 2 ** 30;
/** Two files always stay: a snapshot's position lies in one of them. */
const FILES_MIN = 2;
/** The event loop is given back after this long. */
const SLICE_MS = 0.3;

interface HistoryFile {
  path: string;
  name: string;
  sizeBytes: number;
  /** Its blocks, once someone asked for them. */
  places: BlockPlace[] | undefined;
}

interface Boundary {
  lsn: number;
  resolve(position: HistoryPosition): void;
  reject(error: unknown): void;
}

/**
 * Keeps what the log will forget. A durable record is written, with what it replaced, into the block that is being
 * filled; a full block is compressed, linked to the block before and written. A boundary ends a block at an LSN and
 * makes everything up to it durable, so that a snapshot can name the place and the log can be trimmed.
 *
 * Blocks past the last snapshot's boundary are not trusted after a crash: they come again from the log, record by record
 * into blocks of the same extent, so that a head somebody noted stays one.
 */
export class History {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #keepUs: number;
  readonly #keepBytes: number;
  readonly #state: State;
  /** Replayed at opening: they wait for the first block's worth of commits. */
  #replayed: RecentRecords;
  /** Committed since. */
  #pending = new PendingBlocks();
  readonly #boundaries: Boundary[] = [];
  /** The sealing in progress. */
  #running: Promise<void> | undefined;
  #closing = false;
  #files: HistoryFile[] = [];
  #file: DiskFile | undefined;
  #link: Buffer = NO_LINK;
  #lastLsn = 0;
  /** Where blocks ended that the last snapshot does not cover: they come again with the same ends, and so the same links. */
  readonly #ends = new Set<number>();
  /** Files of such blocks; what has not come again by the next snapshot is removed. */
  #stale: string[] = [];
  /** Has records added that are durable and were not added yet. */
  catchUp: () => void = () => {};
  /** Where space comes from when the disk is full. */
  reserve: Reserve | undefined;
  #writtenBytes = 0;

  constructor(place: { disk: Disk; directory: string; state: State }, options: HistoryOptions = {}) {
    this.#disk = place.disk;
    this.#directory = place.directory;
    this.#state = place.state;
    this.#replayed = new RecentRecords(place.state);
    this.#keepUs = (options.keepMs ?? KEEP_MS) * 1000;
    this.#keepBytes = options.keepBytes ?? KEEP_BYTES;
  }

  /**
   * Starts at a snapshot's position. What lies beyond it is looked away from, but for where its blocks ended; the writer
   * writes over it.
   * Returns what is wrong with the files, if anything: the state does not depend on them.
   */
  open(position: HistoryPosition | undefined, lsn: number, writable: boolean): string | undefined {
    this.#replayed = new RecentRecords(this.#state);
    this.#pending = new PendingBlocks();
    this.#files = [];
    this.#link = position?.head ?? NO_LINK;
    this.#lastLsn = lsn;
    this.#ends.clear();
    this.#stale = [];
    let problem = position === undefined || position.file === "" ? undefined : `${position.file} is missing`;
    for (const name of this.#disk.list(this.#directory)) {
      const path = `${this.#directory}/${name}`;
      if (!/^\d{16}\.hist$/.test(name)) continue;
      if (position === undefined || name > position.file) {
        this.#noteEnds(path, lsn);
        this.#stale.push(path);
        continue;
      }
      let sizeBytes = this.#disk.stat(path)?.sizeBytes ?? 0;
      if (name === position.file) {
        problem =
          sizeBytes < position.sizeBytes
            ? `${name} has ${sizeBytes} bytes, not ${position.sizeBytes}`
            : undefined;
        if (sizeBytes > position.sizeBytes) this.#noteEnds(path, lsn);
        sizeBytes = Math.min(sizeBytes, position.sizeBytes);
      }
      this.#files.push({ path, name, sizeBytes, places: undefined });
    }
    if (writable && problem === undefined && this.#files.length > 0) {
      this.#file = this.#disk.open(this.#files.at(-1)!.path, { access: "write" });
    }
    return problem;
  }

  /** As far as its blocks are whole: a power cut may have left anything. */
  #noteEnds(path: string, afterLsn: number): void {
    for (const { lastLsn } of wholePlaces(this.#disk, path)) if (lastLsn > afterLsn) this.#ends.add(lastLsn);
  }

  /** Takes a record replayed at opening, whose bytes must not change any more. Sealing waits for commits: an opening has better things to do. */
  addReplayed(place: RecordPlace, { changes }: LogRecord): void {
    this.#replayed.add(place, changes);
  }

  /** The same of all records at once, before any other. */
  addAllReplayed(replayed: ReplayedRecords): void {
    this.#replayed.addReplayed(replayed);
  }

  /** Takes a durable record that has been applied. */
  add(record: LogRecord): void {
    this.#pending.add(record);
    if (this.#pending.first !== undefined) this.#start();
  }

  /**
   * Resolves once every record added so far is durable in the files, ending with a block of its own. `lsn` is the
   * last of them.
   */
  boundary(lsn: number): Promise<HistoryPosition> {
    return new Promise((resolve, reject) => {
      this.catchUp();
      invariant((this.#pending.lastLsn ?? 0) <= lsn, `history has gone past its boundary at LSN ${lsn}`);
      this.#pending.end();
      this.#boundaries.push({ lsn, resolve, reject });
      this.#start();
    });
  }

  #start(): void {
    if (this.#running !== undefined || this.#closing) return;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    try {
      // Sealing starts in a turn of its own, never inside a commit.
      await new Promise<void>((resolve) => setImmediate(resolve));
      while (!this.#closing) {
        const boundary = this.#boundaries[0];
        const nextLsn = this.#nextLsn();
        if (boundary !== undefined && (nextLsn === undefined || nextLsn > boundary.lsn)) {
          const position = await this.#settle();
          this.#boundaries.shift();
          boundary.resolve(position);
        } else if (this.#replayed.count > 0 && (boundary ?? this.#pending.first) !== undefined) {
          await this.#sealReplayed(boundary?.lsn ?? Number.POSITIVE_INFINITY);
        } else if (this.#pending.first !== undefined) {
          await this.#write(this.#pending.first, () => this.#pending.drop());
        } else {
          return;
        }
      }
    } catch (error) {
      // Nothing is lost: the records stay pending and the log keeps them until a snapshot gets through.
      for (const boundary of this.#boundaries.splice(0)) boundary.reject(error);
    } finally {
      // In the same turn as the decision to stop, so that nobody waits for a loop that has ended.
      this.#running = undefined;
    }
  }

  /** Writes one block of replayed records up to `lastLsn`. */
  async #sealReplayed(lastLsn: number): Promise<void> {
    const writer = new HistoryBlockWriter();
    const replayed = this.#replayed;
    let sealed = 0;
    for (let sliceEndMs = performance.now() + SLICE_MS; !writer.isFull(BLOCK_RAW_BYTES_BUSY); sealed++) {
      if (sealed === replayed.count || replayed.lsnOf(sealed) > lastLsn) break;
      if (sealed > 0 && this.#ends.has(replayed.lsnOf(sealed) - 1)) break;
      replayed.seal(sealed, writer);
      if (performance.now() < sliceEndMs) continue;
      await new Promise<void>((resolve) => setImmediate(resolve));
      sliceEndMs = performance.now() + SLICE_MS;
    }
    await this.#write(writer, () => replayed.drop(sealed));
  }

  /** Compresses a block and writes it behind the last one; `written` in the turn in which it is there. */
  async #write(writer: HistoryBlockWriter, written: () => void): Promise<void> {
    const { block, header } = await writer.finish(this.#link);
    const current = this.#files.at(-1);
    if (this.#file === undefined || current === undefined || current.sizeBytes >= FILE_BYTES_TARGET) {
      await this.#nextFile(header.firstLsn);
    }
    const offset = await this.#append(block, header.firstLsn);
    const file = this.#files.at(-1)!;
    this.#writtenBytes += block.byteLength;
    file.places?.push({ path: file.path, offset, ...header });
    file.sizeBytes = offset + block.byteLength;
    this.#link = header.link;
    this.#lastLsn = header.lastLsn;
    written();
    if (this.#state.values.isWasteful) await this.#state.values.move(this.#state.tables());
  }

  /** Appends a block; on a full disk to a new file of reserved space. Returns where it lies. */
  async #append(block: Buffer, firstLsn: number): Promise<number> {
    const offset = nextSector(this.#files.at(-1)!.sizeBytes);
    try {
      await this.#file!.write(block, offset);
      return offset;
    } catch (error) {
      if (!isStoreError(error, "ERR_DISK_FULL") || this.reserve === undefined) throw error;
      if (this.#files.at(-1)!.sizeBytes > FILE_HEADER_BYTES) await this.#nextFile(firstLsn);
      else await this.#openReserved(this.#files.at(-1)!.path, firstLsn, error);
      const first = nextSector(FILE_HEADER_BYTES);
      await this.#file!.write(block, first);
      return first;
    }
  }

  #nextLsn(): number | undefined {
    return this.#replayed.count > 0 ? this.#replayed.lsnOf(0) : this.#pending.firstLsn;
  }

  async #nextFile(firstLsn: number): Promise<void> {
    if (this.#file !== undefined) {
      // Reserved space and what a full disk cut short end with the last whole block.
      this.#file.truncate(this.#files.at(-1)!.sizeBytes);
      await this.#file.sync();
      this.#file.close();
      this.#file = undefined;
    }
    const name = `${String(firstLsn).padStart(16, "0")}.hist`;
    const path = `${this.#directory}/${name}`;
    makeDurableDirectory(this.#disk, this.#directory);
    this.#disk.remove(path);
    try {
      const file = this.#disk.open(path, { access: "write", create: "must" });
      this.#file = file;
      await file.write(encodeFileHeader(firstLsn, this.#link), 0);
    } catch (error) {
      await this.#openReserved(path, firstLsn, error);
    }
    this.#files.push({ path, name, sizeBytes: FILE_HEADER_BYTES, places: [] });
    this.#disk.syncDirectory(this.#directory);
  }

  /** Begins a file in reserved space, if `cause` is a full disk and there is some. */
  async #openReserved(path: string, firstLsn: number, cause: unknown): Promise<void> {
    this.#file?.close();
    this.#file = undefined;
    if (!isStoreError(cause, "ERR_DISK_FULL") || this.reserve?.give("history", path) !== true) throw cause;
    const file = this.#disk.open(path, { access: "write" });
    this.#file = file;
    await file.write(encodeFileHeader(firstLsn, this.#link), 0);
  }

  async #settle(): Promise<HistoryPosition> {
    await this.#file?.sync();
    for (const path of this.#stale)
      if (!this.#files.some((file) => file.path === path)) this.#disk.remove(path);
    this.#stale = [];
    this.#drop();
    const last = this.#files.at(-1);
    return {
      file: last?.name ?? "",
      sizeBytes: last?.sizeBytes ?? 0,
      head: Buffer.from(this.#link.subarray(0, LINK_BYTES)),
    };
  }

  /** Removes whole files that are beyond age or size. */
  #drop(): void {
    let total = this.#files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const oldestUs = Date.now() * 1000 - this.#keepUs;
    while (this.#files.length > FILES_MIN) {
      const oldest = this.#files[0]!;
      const tooMuch = total > this.#keepBytes;
      if (!tooMuch && this.#lastTimeOf(oldest) >= oldestUs) break;
      const start = Number(this.#files[1]!.name.slice(0, 16));
      if (!writeHistoryStart(this.#disk, this.#directory, start)) break;
      this.#disk.remove(oldest.path);
      total -= oldest.sizeBytes;
      this.#files.shift();
    }
  }

  /** A file that does not read is kept while there is room: snapshots go on beside damage. */
  #lastTimeOf(file: HistoryFile): number {
    try {
      return this.#placesOf(file).at(-1)?.lastTimeUs ?? 0;
    } catch (error) {
      if (!isStoreError(error)) throw error;
      return Number.POSITIVE_INFINITY;
    }
  }

  #placesOf(file: HistoryFile): BlockPlace[] {
    file.places ??= blockPlaces(this.#disk, file.path, file.sizeBytes);
    return file.places;
  }

  /** Every sealed block from the one that holds `fromLsn` on. */
  places(fromLsn: number): BlockPlace[] {
    const found: BlockPlace[] = [];
    for (const [index, file] of this.#files.entries()) {
      const next = this.#files[index + 1];
      // A file's name is its first LSN: files before the wanted one are not even opened.
      if (next !== undefined && Number(next.name.slice(0, 16)) <= fromLsn) continue;
      for (const place of this.#placesOf(file)) if (place.lastLsn >= fromLsn) found.push(place);
    }
    return found;
  }

  /** Records not sealed yet, oldest first. */
  pending(): Iterable<PastRecord> {
    this.catchUp();
    const replayed = this.#replayed.copy();
    const pending = this.#pending.past();
    return (function* () {
      for (let index = 0; index < replayed.count; index++) yield pastRecord(replayed.record(index));
      yield* pending;
    })();
  }

  /** The links of the blocks that come again from the log, as far as somebody may have seen them. */
  *replayedLinks(): Generator<{ link: Buffer; lastLsn: number }> {
    const lastEnd = Math.max(0, ...this.#ends);
    const replayed = this.#replayed.copy();
    let writer = new HistoryBlockWriter();
    let link = this.#link;
    for (let index = 0; index < replayed.count && replayed.lsnOf(index) <= lastEnd; index++) {
      replayed.seal(index, writer);
      const lastLsn = replayed.lsnOf(index);
      if (!this.#ends.has(lastLsn)) continue;
      link = nextLink(link, writer.raw());
      yield { link, lastLsn };
      writer = new HistoryBlockWriter();
    }
  }

  /** The oldest LSN kept; one past the last record when nothing is. */
  get firstLsn(): number {
    const first = this.#files[0];
    if (first !== undefined) return Number(first.name.slice(0, 16));
    return this.#nextLsn() ?? this.#lastLsn + 1;
  }

  /** The oldest LSN that must be there; `undefined` when that is not known. */
  get startLsn(): number | undefined {
    return readHistoryStart(this.#disk, this.#directory);
  }

  /** The last link of the chain. */
  get head(): Buffer {
    return this.#link;
  }

  /** Paths and sizes of the files, oldest first. */
  get files(): readonly { path: string; name: string; sizeBytes: number }[] {
    return this.#files;
  }

  get disk(): Disk {
    return this.#disk;
  }

  stats(): HistoryStats {
    this.catchUp();
    return {
      firstLsn: this.#files.length === 0 && this.#nextLsn() === undefined ? 0n : BigInt(this.firstLsn),
      files: this.#files.length,
      sizeBytes: this.#files.reduce((sum, file) => sum + file.sizeBytes, 0),
      writtenBytes: this.#writtenBytes,
      pendingRecords: this.#replayed.count + this.#pending.records,
      pendingBytes: this.#pending.sizeBytes,
    };
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#running;
    this.#file?.close();
    this.#file = undefined;
  }
}
