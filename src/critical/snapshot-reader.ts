import { crc32c } from "@node-rs/crc32";
import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { ByteReader } from "./byte-reader.ts";
import type { KernelState } from "./kernel-state.ts";
import { FENCE_KINDS } from "./record-format.ts";
import {
  CHUNK_CATALOG,
  CHUNK_ENTRIES,
  CHUNK_HEADER_BYTES,
  CHUNK_HISTORY,
  CHUNK_IDEMPOTENCY,
  COLUMN_EXPIRY,
  COLUMN_ONE_VERSION,
  chainCrc,
  decodeHeader,
  HEADER_BYTES,
  headerVersion,
  SNAPSHOT_VERSION,
  type SnapshotHeader,
} from "./snapshot-format.ts";
import { damaged } from "./snapshot-verify.ts";
import type { HistoryPosition } from "./snapshot-writer.ts";
import type { State } from "./state.ts";

/** The header of a slot, or `undefined` when the slot is absent or was being written. */
export function readSnapshotHeader(disk: Disk, path: string): SnapshotHeader | undefined {
  if (disk.stat(path) === undefined) return undefined;
  const file = disk.open(path, { access: "read" });
  try {
    const page = Buffer.alloc(HEADER_BYTES);
    if (file.readSync(page, 0) < HEADER_BYTES) return undefined;
    const version = headerVersion(page) ?? SNAPSHOT_VERSION;
    if (version > SNAPSHOT_VERSION) {
      throw new StoreError("ERR_STORE_VERSION", `snapshot ${path} has format version ${version}`, {
        context: { path, version, supported: SNAPSHOT_VERSION },
        hint: "Open the store with the varve that wrote it, or a later one.",
      });
    }
    return decodeHeader(page);
  } finally {
    file.close();
  }
}

/**
 * Fills an empty `state` from a slot, checking every chunk before it is used. Entries go to the kernel's memory, and
 * the file's bytes stay there.
 *
 * @throws ERR_STORE_CORRUPT naming the byte; `state` is then half filled and must be reset
 */
export function readSnapshot(
  disk: Disk,
  path: string,
  state: State,
  entries: KernelState,
): HistoryPosition | undefined {
  const file = disk.open(path, { access: "read" });
  let buffer: Buffer;
  let at: number;
  try {
    const page = Buffer.alloc(HEADER_BYTES);
    file.readSync(page, 0);
    const bodyBytes = decodeHeader(page)?.bodyBytes;
    if (bodyBytes === undefined) throw damaged(path, 0, "its header is not whole");
    const sizeBytes = Math.min(file.sizeBytes(), HEADER_BYTES + bodyBytes);
    at = entries.kernel.take(sizeBytes);
    buffer = entries.kernel.memory.subarray(at, at + sizeBytes);
    if (file.readSync(buffer, 0) !== buffer.byteLength) throw damaged(path, 0, "it is shorter than it was");
  } finally {
    file.close();
  }
  const header = decodeHeader(buffer);
  if (header === undefined) throw damaged(path, 0, "its header is not whole");
  if (HEADER_BYTES + header.bodyBytes > buffer.byteLength) throw damaged(path, 0, "it ends early");
  const load = new SnapshotLoad(state, path, { at, sizeBytes: buffer.byteLength }, header, entries);
  load.run();
  state.lsn = header.lsn;
  state.timeUs = header.timeUs;
  return load.history;
}

class SnapshotLoad {
  history: HistoryPosition | undefined;
  readonly #state: State;
  readonly #path: string;
  /** Where the file's bytes lie in the kernel's memory. */
  readonly #at: number;
  readonly #sizeBytes: number;
  readonly #header: SnapshotHeader;
  readonly #in: ByteReader;
  readonly #entries: KernelState;

  constructor(
    state: State,
    path: string,
    file: { at: number; sizeBytes: number },
    header: SnapshotHeader,
    entries: KernelState,
  ) {
    this.#state = state;
    this.#entries = entries;
    this.#at = file.at;
    this.#sizeBytes = file.sizeBytes;
    this.#path = path;
    this.#header = header;
    this.#in = new ByteReader(`snapshot ${path}`, this.#bytes());
  }

  /** The file's bytes: the kernel's memory moves when rows are added. */
  #bytes(): Buffer {
    return this.#entries.kernel.memory.subarray(this.#at, this.#at + this.#sizeBytes);
  }

  run(): void {
    const { chunks, number, chunksCrc, bodyBytes } = this.#header;
    const end = HEADER_BYTES + bodyBytes;
    let position = HEADER_BYTES;
    let chain = 0;
    for (let chunk = 0; chunk < chunks; chunk++) {
      const buffer = this.#bytes();
      if (end - position < CHUNK_HEADER_BYTES) throw damaged(this.#path, position, "it ends early");
      const length = buffer.readUInt32LE(position);
      const start = position + CHUNK_HEADER_BYTES;
      if (length > end - start) throw damaged(this.#path, position, "a chunk is too long");
      const crc = crc32c(buffer.subarray(start, start + length), number);
      if (crc !== buffer.readUInt32LE(position + 4)) {
        throw damaged(this.#path, position, "a chunk's checksum fails");
      }
      chain = chainCrc(chain, crc);
      this.#in.reuse(buffer, start, start + length);
      this.#chunk();
      if (this.#in.position !== this.#in.end) throw this.#in.corrupt("bytes after the chunk's end");
      position = start + length;
    }
    if (chain !== chunksCrc || position !== end)
      throw damaged(this.#path, position, "its chunks do not add up");
  }

  #chunk(): void {
    const type = this.#in.u8();
    switch (type) {
      case CHUNK_CATALOG:
        this.#catalog();
        return;
      case CHUNK_ENTRIES:
        this.#run();
        return;
      case CHUNK_IDEMPOTENCY:
        this.#idempotency();
        return;
      case CHUNK_HISTORY:
        this.history = {
          file: this.#in.text16(),
          sizeBytes: this.#in.u64(),
          head: Buffer.from(this.#in.bytes(32)),
        };
        return;
      default:
        throw this.#in.corrupt(`unknown chunk type ${type}`);
    }
  }

  #catalog(): void {
    const input = this.#in;
    const state = this.#state;
    for (let count = input.varint(); count > 0; count--) {
      const id = input.varint();
      const table = state.table(input.text16());
      if (id !== state.nextTableId || table.id !== 0) throw input.corrupt("maps out of order");
      state.defineTable(table);
      table.storedVersion = input.varint();
    }
    for (let count = input.varint(); count > 0; count--) {
      const id = input.varint();
      const sequence = state.sequence(input.text16());
      if (id !== state.nextSequenceId || sequence.id !== 0) throw input.corrupt("sequences out of order");
      state.defineSequence(sequence);
      sequence.recovered(input.i64());
      sequence.adoptedFence = input.varint();
    }
    state.logBase = input.u64();
    state.fences = input.varint();
    const fenceKind = input.u8();
    const detail = input.text16();
    if (fenceKind === 0) return;
    const kind = FENCE_KINDS[fenceKind - 1];
    if (kind === undefined) throw input.corrupt("an unknown kind of fence");
    state.fence = { number: state.fences, kind, detail };
  }

  #run(): void {
    const input = this.#in;
    const table = this.#state.tableById(input.varint());
    if (table === undefined) throw input.corrupt("entries of an undefined map");
    const count = input.varint();
    const columns = input.u8();
    const keyLengthsAt = skip(input, count * 2);
    const valueLengthsAt = skip(input, count * 4);
    const lsnsAt = skip(input, count * 8);
    const expiriesAt = (columns & COLUMN_EXPIRY) !== 0 ? skip(input, count * 8) : -1;
    const oneVersion = (columns & COLUMN_ONE_VERSION) !== 0;
    const schemaVersion = oneVersion ? input.varint() : 0;
    const versionsAt = oneVersion ? -1 : skip(input, count * 2);
    const { exports } = this.#entries.kernel;
    const to = this.#entries.table(table);
    const from = this.#at;
    const keysAt = skip(input, exports.sumLengths(from + keyLengthsAt, count) >>> 0);
    const valuesAt = input.position;
    const end = exports.addRun(
      to,
      count,
      from + keyLengthsAt,
      from + valueLengthsAt,
      from + lsnsAt,
      expiriesAt < 0 ? 0 : from + expiriesAt,
      versionsAt < 0 ? 0 : from + versionsAt,
      schemaVersion,
      from + keysAt,
      from + valuesAt,
    );
    input.buffer = this.#bytes();
    skip(input, end - from - valuesAt);
  }

  #idempotency(): void {
    const input = this.#in;
    for (let count = input.varint(); count > 0; count--) {
      const key = input.text16();
      const lsn = input.u64();
      const timeUs = input.u64();
      this.#state.idempotency.remember(key, { lsn, timeUs, valueBytes: input.latin1(input.length()) });
    }
  }
}

function skip(input: ByteReader, sizeBytes: number): number {
  input.need(sizeBytes);
  const at = input.position;
  input.position += sizeBytes;
  return at;
}
