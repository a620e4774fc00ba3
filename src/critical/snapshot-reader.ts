import { crc32c } from "@node-rs/crc32";
import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { SNAPSHOT_BYTES_MAX } from "../limits.ts";
import { ByteReader } from "./byte-reader.ts";
import type { KernelState } from "./kernel-state.ts";
import { FENCE_KINDS } from "./record-format.ts";
import {
  CHUNK_CATALOG,
  CHUNK_ENTRIES,
  CHUNK_HEADER_BYTES,
  CHUNK_HISTORY,
  CHUNK_IDEMPOTENCY,
  decodeHeader,
  HEADER_BYTES,
  headerVersion,
  SNAPSHOT_VERSION,
  type SnapshotHeader,
  tooLarge,
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
    if (HEADER_BYTES + bodyBytes > SNAPSHOT_BYTES_MAX) throw tooLarge(HEADER_BYTES + bodyBytes);
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
    const { kernel } = this.#entries;
    const end = HEADER_BYTES + bodyBytes;
    // One behind the other, they have the checksum that a chain over them has.
    const crcs = Buffer.allocUnsafeSlow(chunks * 4);
    /** Beginnings and ends of chunks of entries: how many rows there are must be known before they are made. */
    const runs: number[] = [];
    let position = HEADER_BYTES;
    let buffer = this.#bytes();
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (end - position < CHUNK_HEADER_BYTES) throw damaged(this.#path, position, "it ends early");
      const length = buffer.readUInt32LE(position);
      const start = position + CHUNK_HEADER_BYTES;
      if (length > end - start) throw damaged(this.#path, position, "a chunk is too long");
      const crc = crc32c(buffer.subarray(start, start + length), number);
      if (crc !== buffer.readUInt32LE(position + 4)) {
        throw damaged(this.#path, position, "a chunk's checksum fails");
      }
      crcs.writeUInt32LE(crc, chunk * 4);
      position = start + length;
      if (kernel.exports.countRows(this.#at + start, this.#at + position) !== 0) {
        runs.push(start, position);
        continue;
      }
      this.#in.reuse(buffer, start, position);
      this.#chunk();
      if (this.#in.position !== this.#in.end) throw this.#in.corrupt("bytes after the chunk's end");
      buffer = this.#bytes();
    }
    if (crc32c(crcs, 0) !== chunksCrc || position !== end)
      throw damaged(this.#path, position, "its chunks do not add up");
    for (let at = 0; at < runs.length; at += 2) {
      if (kernel.exports.loadRows(this.#at + runs[at]!, this.#at + runs[at + 1]!) !== 0) continue;
      throw damaged(this.#path, runs[at]!, "a chunk of entries makes no sense");
    }
  }

  #chunk(): void {
    const type = this.#in.u8();
    switch (type) {
      case CHUNK_CATALOG:
        this.#catalog();
        return;
      case CHUNK_ENTRIES:
        throw this.#in.corrupt("entries of an undefined map");
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
      this.#entries.table(table);
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
