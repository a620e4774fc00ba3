import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { SNAPSHOT_BYTES_MAX } from "../limits.ts";
import { ByteReader } from "./byte-reader.ts";
import type { KernelState } from "./kernel-state.ts";
import { FENCE_KINDS } from "./record-format.ts";
import { awaitChunks, type CheckedSnapshot, ChunkCheck } from "./snapshot-chunks.ts";
import {
  CHUNK_CATALOG,
  CHUNK_ENTRIES,
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
 * Fills an empty `state` from a slot, checking every chunk before any is used. Entries go to the kernel's memory, and
 * the file's bytes stay there.
 *
 * @param begun where in the kernel's memory another thread is reading the slot to, if one is
 * @throws ERR_STORE_CORRUPT naming the byte; `state` is then half filled and must be reset
 */
export function readSnapshot(
  disk: Disk,
  path: string,
  state: State,
  entries: KernelState,
  begun?: number,
): HistoryPosition | undefined {
  const header = readSnapshotHeader(disk, path);
  if (header === undefined) throw damaged(path, 0, "its header is not whole");
  if (HEADER_BYTES + header.bodyBytes > SNAPSHOT_BYTES_MAX) throw tooLarge(HEADER_BYTES + header.bodyBytes);
  const { kernel } = entries;
  const brought = begun === undefined ? undefined : awaitChunks(kernel, header, begun);
  const chunks = brought ?? readChunks(disk, path, header, kernel);
  const load = new SnapshotLoad(state, path, chunks, entries);
  load.run();
  state.lsn = header.lsn;
  state.timeUs = header.timeUs;
  return load.history;
}

/** @throws ERR_STORE_CORRUPT naming the byte */
function readChunks(
  disk: Disk,
  path: string,
  header: SnapshotHeader,
  kernel: RecoveryKernel,
): CheckedSnapshot {
  const sizeBytes = HEADER_BYTES + header.bodyBytes;
  const file = disk.open(path, { access: "read" });
  let at: number;
  try {
    if (file.sizeBytes() < sizeBytes) throw damaged(path, 0, "it ends early");
    at = kernel.take(sizeBytes);
    const body = kernel.memory.subarray(at + HEADER_BYTES, at + sizeBytes);
    if (file.readSync(body, HEADER_BYTES) !== body.byteLength) {
      throw damaged(path, 0, "it is shorter than it was");
    }
  } finally {
    file.close();
  }
  const check = new ChunkCheck(kernel, header, at);
  const fault = check.run();
  if (fault !== undefined) throw damaged(path, check.position, fault);
  return check.checked();
}

class SnapshotLoad {
  history: HistoryPosition | undefined;
  readonly #state: State;
  readonly #path: string;
  readonly #chunks: CheckedSnapshot;
  readonly #in: ByteReader;
  readonly #entries: KernelState;

  constructor(state: State, path: string, chunks: CheckedSnapshot, entries: KernelState) {
    this.#state = state;
    this.#entries = entries;
    this.#path = path;
    this.#chunks = chunks;
    this.#in = new ByteReader(`snapshot ${path}`, this.#bytes());
  }

  /** The file's bytes: the kernel's memory moves when rows are added. */
  #bytes(): Buffer {
    const { at, sizeBytes } = this.#chunks;
    return this.#entries.kernel.memory.subarray(at, at + sizeBytes);
  }

  run(): void {
    const { at, bounds } = this.#chunks;
    const { exports } = this.#entries.kernel;
    /** Chunks of entries: how many rows there are must be known before they are made. */
    const runs: number[] = [];
    for (let chunk = 0; chunk < bounds.length; chunk += 2) {
      const [start, end] = [bounds[chunk]!, bounds[chunk + 1]!];
      if (exports.countRows(at + start, at + end) !== 0) {
        runs.push(start, end);
        continue;
      }
      this.#in.reuse(this.#bytes(), start, end);
      this.#chunk();
      if (this.#in.position !== this.#in.end) throw this.#in.corrupt("bytes after the chunk's end");
    }
    for (let run = 0; run < runs.length; run += 2) {
      if (exports.loadRows(at + runs[run]!, at + runs[run + 1]!) !== 0) continue;
      throw damaged(this.#path, runs[run]!, "a chunk of entries makes no sense");
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
