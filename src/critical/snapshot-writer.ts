import { crc32c } from "@node-rs/crc32";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import type { Histogram } from "../histogram.ts";
import { SNAPSHOT_BYTES_MAX } from "../limits.ts";
import { ByteWriter } from "./byte-writer.ts";
import type { Entry } from "./entry.ts";
import type { RowRun, SteadyLeaf } from "./ordered-slots.ts";
import { FENCE_KINDS } from "./record-format.ts";
import type { Fence } from "./sequence.ts";
import type { Slot } from "./slot.ts";
import {
  CHUNK_BYTES_TARGET,
  CHUNK_CATALOG,
  CHUNK_ENTRIES,
  CHUNK_HEADER_BYTES,
  CHUNK_HISTORY,
  CHUNK_IDEMPOTENCY,
  COLUMN_EXPIRY,
  COLUMN_ONE_VERSION,
  chainCrc,
  encodeHeader,
  HEADER_BYTES,
  type SnapshotHeader,
  tooLarge,
} from "./snapshot-format.ts";
import { verifySnapshot } from "./snapshot-verify.ts";
import type { State } from "./state.ts";
import type { Preserver, Table } from "./table.ts";

/** Where the sealed history ended when the snapshot was taken. */
export interface HistoryPosition {
  /** Name of the newest history file; empty when there is none. */
  file: string;
  sizeBytes: number;
  /** Head of the audit chain. */
  head: Buffer;
}

/** The event loop is given back after this long, a quarter of what is promised: a chunk may still follow. */
const SLICE_MS = 0.25;
const WRITE_BYTES = 512 << 10;
/** Encoded without a pause: well under a slice. */
const CHUNK_ENTRIES_MAX = 128;

/** Snapshots and backups begun by this process. */
let marks = 0;

/**
 * Takes a snapshot of `state` as it is at the moment of construction, while commits go on: before a slot changes
 * the table calls `preserve`, which keeps what the slot held. Work is done in slices of under half a millisecond;
 * for the constructor to be as short, cold leaves are filled before (`warmUp`).
 */
export class SnapshotWriter implements Preserver {
  readonly mark = ++marks;
  readonly number: number;
  readonly lsn: number;
  readonly #timeUs: number;
  readonly #state: State;
  readonly #tables: { table: Table; leaves: readonly SteadyLeaf[] }[];
  readonly #catalog: Buffer;
  /** What slots held that have changed since. */
  readonly #preserved = new Map<Slot, Entry>();
  /** What cold rows held that have become slots since. */
  readonly #preservedRows = new Map<Table, Map<number, Entry>>();
  readonly #out = new ByteWriter(WRITE_BYTES + CHUNK_BYTES_TARGET, SNAPSHOT_BYTES_MAX);
  /** Entries of the chunk that is being gathered, in the same arrays for every chunk. */
  readonly #run: Run = { keys: [], entries: [], sizeBytes: 0 };
  #file: DiskFile | undefined;
  #written = HEADER_BYTES;
  #chunks = 0;
  #chunksCrc = 0;
  #sliceEndMs = 0;
  #sliceBeganMs = 0;
  /** How long each of its turns of the event loop took, in microseconds; the constructor's is the first. */
  readonly #slicesUs: Histogram | undefined;
  /** On a full disk a slot keeps what it has beyond its end: the next snapshot may need it. */
  keepSpace = false;
  /** Entries that had expired, met on the way. */
  readonly expired: { table: Table; key: string }[] = [];

  /** `copy`: what a copy of the store says instead of this one. */
  constructor(
    state: State,
    number: number,
    { copy, slicesUs }: { copy?: { fence: Fence; logBase: number }; slicesUs?: Histogram } = {},
  ) {
    this.#slicesUs = slicesUs;
    this.#beginSlice();
    this.#state = state;
    this.number = number;
    this.lsn = state.lsn;
    this.#timeUs = state.timeUs;
    this.#tables = state.tables().map((table) => ({ table, leaves: table.order.leavesOrRows() }));
    this.#catalog = encodeCatalog(state, copy);
    state.preserver = this;
    this.#endSlice();
  }

  #beginSlice(): void {
    this.#sliceBeganMs = performance.now();
    this.#sliceEndMs = this.#sliceBeganMs + SLICE_MS;
  }

  #endSlice(): void {
    this.#slicesUs?.record((performance.now() - this.#sliceBeganMs) * 1000);
  }

  preserve(slot: Slot): void {
    slot.snapshot = this.mark;
    this.#preserved.set(slot, slot.entry);
  }

  preserveRow(table: Table, row: number, entry: Entry): void {
    let rows = this.#preservedRows.get(table);
    if (rows === undefined) {
      rows = new Map();
      this.#preservedRows.set(table, rows);
    }
    rows.set(row, entry);
  }

  /**
   * Writes the slot at `path`, syncs it, reads it back. Only then does the promise resolve.
   *
   * @throws ERR_DISK_FULL, ERR_IO, ERR_ABORTED
   */
  async write(
    disk: Disk,
    path: string,
    history: () => Promise<HistoryPosition | undefined>,
    signal?: AbortSignal,
  ): Promise<SnapshotHeader> {
    const file = disk.open(path, { access: "write", create: "may" });
    this.#file = file;
    try {
      await file.write(Buffer.alloc(HEADER_BYTES), 0);
      await file.sync();
      await this.#body(history, signal);
      // Cutting a large file can block for milliseconds, and what lies beyond the body counts for nothing.
      if (!this.keepSpace && file.sizeBytes() > this.#written * 2) file.truncate(this.#written);
      await file.sync();
      const header: SnapshotHeader = {
        number: this.number,
        lsn: this.lsn,
        timeUs: this.#timeUs,
        bodyBytes: this.#written - HEADER_BYTES,
        chunks: this.#chunks,
        chunksCrc: this.#chunksCrc,
      };
      await file.write(encodeHeader(header), 0);
      await file.sync();
      await verifySnapshot(file, path);
      return header;
    } finally {
      this.stop();
      file.close();
    }
  }

  /** Bytes of the slot written so far. */
  get bytesWritten(): number {
    return this.#written;
  }

  /** Lets the state change freely again. */
  stop(): void {
    if (this.#state.preserver === this) this.#state.preserver = undefined;
    this.#preserved.clear();
    this.#preservedRows.clear();
  }

  async #body(history: () => Promise<HistoryPosition | undefined>, signal?: AbortSignal): Promise<void> {
    this.#beginSlice();
    await this.#chunk(CHUNK_CATALOG, () => this.#out.bytes(this.#catalog));
    for (const { table, leaves } of this.#tables) await this.#table(table, leaves, signal);
    if (this.#state.preserver === this) this.#state.preserver = undefined;
    await this.#idempotency();
    this.#endSlice();
    const position = await history();
    this.#beginSlice();
    if (position !== undefined) {
      await this.#chunk(CHUNK_HISTORY, () => {
        this.#out.text16(position.file);
        this.#out.u64(position.sizeBytes);
        this.#out.bytes(position.head);
      });
    }
    await this.#flush();
  }

  async #table(table: Table, leaves: readonly SteadyLeaf[], signal?: AbortSignal): Promise<void> {
    for (const leaf of leaves) {
      if (signal?.aborted) throw new StoreError("ERR_ABORTED", "the snapshot was aborted");
      if ("cold" in leaf) {
        if (await this.#writeRows(table, leaf)) continue;
        for (let row = leaf.fromRow; row < leaf.toRow; row++) {
          const entry = leaf.cold.isTaken(row)
            ? this.#preservedRows.get(table)!.get(row)!
            : leaf.cold.peek(row);
          if (this.#gather(table, leaf.cold.key(row), entry)) await this.#writeRun(table);
        }
      } else {
        for (const slot of leaf) {
          // Taken care of already: it has changed, and what it held is kept here.
          const entry = slot.snapshot === this.mark ? this.#preserved.get(slot)! : slot.entry;
          slot.snapshot = this.mark;
          if (this.#gather(table, slot.key, entry)) await this.#writeRun(table);
        }
      }
    }
    if (this.#run.keys.length > 0) await this.#writeRun(table);
  }

  /** Writes a leaf of rows that nobody has touched as a chunk of its own; `false`, and nothing written, for others. */
  async #writeRows(table: Table, { cold, fromRow, toRow }: RowRun): Promise<boolean> {
    if (this.#run.keys.length > 0) await this.#writeRun(table);
    if (!cold.isWhole(fromRow)) return false;
    const out = this.#out;
    const start = out.position;
    const chunk = this.#beginChunk(CHUNK_ENTRIES);
    out.varint(table.id);
    if (cold.writeColumns(out, fromRow, toRow, CHUNK_BYTES_TARGET)) {
      await this.#endChunk(chunk);
      return true;
    }
    out.position = start;
    return false;
  }

  /** Adds an entry to the chunk; returns whether it is full. */
  #gather(table: Table, key: string, entry: Entry): boolean {
    const run = this.#run;
    if (!entry.liveAt(this.#timeUs)) this.expired.push({ table, key });
    run.keys.push(key);
    run.entries.push(entry);
    run.sizeBytes += entry.lengthBytes + key.length;
    return run.keys.length >= CHUNK_ENTRIES_MAX || run.sizeBytes >= CHUNK_BYTES_TARGET;
  }

  #writeRun(table: Table): Promise<void> {
    const run = this.#run;
    return this.#chunk(CHUNK_ENTRIES, () => {
      encodeRun(this.#out, table.id, run);
      run.keys.length = 0;
      run.entries.length = 0;
      run.sizeBytes = 0;
    });
  }

  async #idempotency(): Promise<void> {
    let rows: [string, { lsn: number; timeUs: number; valueBytes: string }][] = [];
    const flush = () => {
      const batch = rows;
      rows = [];
      return this.#chunk(CHUNK_IDEMPOTENCY, () => {
        const out = this.#out;
        out.varint(batch.length);
        for (const [key, commit] of batch) {
          out.text16(key);
          out.u64(commit.lsn);
          out.u64(commit.timeUs);
          out.varint(commit.valueBytes.length);
          out.latin1(commit.valueBytes);
        }
      });
    };
    for (const row of this.#state.idempotency.entries()) {
      if (row[1].lsn > this.lsn) break;
      rows.push(row);
      if (rows.length >= CHUNK_ENTRIES_MAX) await flush();
    }
    if (rows.length > 0) await flush();
  }

  /** Adds one chunk; gives the event loop back, and writes what has gathered, when it is time. */
  async #chunk(type: number, encode: () => void): Promise<void> {
    const start = this.#beginChunk(type);
    encode();
    await this.#endChunk(start);
  }

  #beginChunk(type: number): number {
    const out = this.#out;
    const start = out.position;
    out.ensure(CHUNK_HEADER_BYTES);
    out.position += CHUNK_HEADER_BYTES;
    out.u8(type);
    return start;
  }

  async #endChunk(start: number): Promise<void> {
    const out = this.#out;
    const payload = out.buffer.subarray(start + CHUNK_HEADER_BYTES, out.position);
    const crc = crc32c(payload, this.number);
    out.buffer.writeUInt32LE(payload.byteLength, start);
    out.buffer.writeUInt32LE(crc, start + 4);
    this.#chunks++;
    this.#chunksCrc = chainCrc(this.#chunksCrc, crc);
    if (out.position >= WRITE_BYTES) {
      await this.#flush();
      this.#beginSlice();
    } else if (performance.now() > this.#sliceEndMs) {
      this.#endSlice();
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.#beginSlice();
    }
  }

  async #flush(): Promise<void> {
    const out = this.#out;
    if (out.position === 0) return;
    if (this.#written + out.position > SNAPSHOT_BYTES_MAX) throw tooLarge(SNAPSHOT_BYTES_MAX + 1);
    const written = this.#file!.write(out.buffer.subarray(0, out.position), this.#written);
    this.#endSlice();
    await written;
    this.#written += out.position;
    out.position = 0;
  }
}

/**
 * Fills cold leaves that were touched, a short slice at a time, so that the snapshot itself can begin at once. Commits
 * touch others meanwhile, so it looks again until it comes through all without a pause.
 */
export async function warmUp(state: State): Promise<void> {
  for (let isWarm = false; !isWarm; ) {
    isWarm = true;
    let sliceEndMs = performance.now() + SLICE_MS;
    for (const table of state.tables()) {
      for (let next = table.order.warmNext(0); next >= 0; next = table.order.warmNext(next)) {
        if (performance.now() < sliceEndMs) continue;
        isWarm = false;
        await new Promise<void>((resolve) => setImmediate(resolve));
        sliceEndMs = performance.now() + SLICE_MS;
      }
    }
  }
}

interface Run {
  keys: string[];
  entries: Entry[];
  sizeBytes: number;
}

function encodeRun(out: ByteWriter, tableId: number, { keys, entries }: Run): void {
  const count = keys.length;
  const first = entries[0]!.schemaVersion;
  let columns = COLUMN_ONE_VERSION;
  for (const entry of entries) {
    if (entry.expiresAtUs !== 0) columns |= COLUMN_EXPIRY;
    if (entry.schemaVersion !== first) columns &= ~COLUMN_ONE_VERSION;
  }
  out.varint(tableId);
  out.varint(count);
  out.u8(columns);
  // The keys' lengths in bytes are known once the keys are written, behind the other columns.
  const lengthsAt = out.position;
  out.ensure(count * 2);
  out.position += count * 2;
  for (const entry of entries) out.u32(entry.lengthBytes);
  for (const entry of entries) out.u64(entry.lsn);
  if ((columns & COLUMN_EXPIRY) !== 0) for (const entry of entries) out.u64(entry.expiresAtUs);
  if ((columns & COLUMN_ONE_VERSION) !== 0) out.varint(first);
  else for (const entry of entries) out.u16(entry.schemaVersion);
  for (let index = 0; index < count; index++) {
    const start = out.position;
    out.text(keys[index]!);
    out.buffer.writeUInt16LE(out.position - start, lengthsAt + index * 2);
  }
  for (const entry of entries) {
    out.ensure(entry.lengthBytes);
    entry.copyTo(out.buffer, out.position);
    out.position += entry.lengthBytes;
  }
}

function encodeCatalog(state: State, copy?: { fence: Fence; logBase: number }): Buffer {
  const out = new ByteWriter(4096, 8 << 20);
  const tables = state.tables();
  out.varint(tables.length);
  for (const table of tables) {
    out.varint(table.id);
    out.text16(table.name);
    out.varint(table.storedVersion);
  }
  const sequences = state.sequences();
  out.varint(sequences.length);
  for (const sequence of sequences) {
    out.varint(sequence.id);
    out.text16(sequence.name);
    out.i64(sequence.durableNext);
    out.varint(sequence.adoptedFence);
  }
  const fence = copy?.fence ?? state.fence;
  out.u64(copy?.logBase ?? state.logBase);
  out.varint(copy?.fence.number ?? state.fences);
  out.u8(fence === undefined ? 0 : FENCE_KINDS.indexOf(fence.kind) + 1);
  out.text16(fence?.detail ?? "");
  return Buffer.from(out.written());
}
