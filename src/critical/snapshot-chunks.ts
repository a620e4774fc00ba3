import { crc32c } from "@node-rs/crc32";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { CHUNK_HEADER_BYTES, HEADER_BYTES, type SnapshotHeader } from "./snapshot-format.ts";

/** A slot in the kernel's memory all of whose chunks are what was written. */
export interface CheckedSnapshot {
  /** The chunks lie as far behind it as in the file; what stands here, where the file has its header, counts for nothing. */
  at: number;
  sizeBytes: number;
  /** Beginnings and ends of the chunks' payloads, from `at`. */
  bounds: readonly number[];
}

/** Checks chunk after chunk of a slot, as far as they are there. */
export class ChunkCheck {
  readonly #kernel: RecoveryKernel;
  readonly #header: SnapshotHeader;
  readonly #at: number;
  readonly #bounds: number[] = [];
  /** One behind the other, the chunks' checksums have the one that a chain over them has. */
  readonly #crcs: Buffer;
  #chunk = 0;
  /** Chunks before it, in the file, are whole. */
  position = HEADER_BYTES;

  constructor(kernel: RecoveryKernel, header: SnapshotHeader, at: number) {
    this.#kernel = kernel;
    this.#header = header;
    this.#at = at;
    this.#crcs = Buffer.allocUnsafeSlow(header.chunks * 4);
  }

  /** Goes on as far as it can; returns what is wrong there, `undefined` when all is well. */
  run(): string | undefined {
    const { chunks, number, chunksCrc, bodyBytes } = this.#header;
    const { buffer } = this.#kernel.memory;
    const file = this.#at;
    const view = new DataView(buffer, file, HEADER_BYTES + bodyBytes);
    const crcs = new DataView(this.#crcs.buffer, this.#crcs.byteOffset, this.#crcs.byteLength);
    const end = HEADER_BYTES + bodyBytes;
    for (; this.#chunk < chunks; this.#chunk++) {
      const { position } = this;
      if (end - position < CHUNK_HEADER_BYTES) return "it ends early";
      const length = view.getUint32(position, true);
      const start = position + CHUNK_HEADER_BYTES;
      if (length > end - start) return "a chunk is too long";
      const crc = crc32c(new Uint8Array(buffer, file + start, length), number);
      if (crc !== view.getUint32(position + 4, true)) return "a chunk's checksum fails";
      crcs.setUint32(this.#chunk * 4, crc, true);
      this.position = start + length;
      this.#bounds.push(start, this.position);
    }
    if (crc32c(this.#crcs, 0) !== chunksCrc || this.position !== end) return "its chunks do not add up";
    return undefined;
  }

  /** Once `run` has found nothing wrong. */
  checked(): CheckedSnapshot {
    return { at: this.#at, sizeBytes: HEADER_BYTES + this.#header.bodyBytes, bounds: this.#bounds };
  }
}

/** So long nothing may come from another thread before it is thought to bring no more. */
const WAIT_MS = 20;
const sleep = new Int32Array(new SharedArrayBuffer(4));

/**
 * Waits for chunks that another thread is bringing to `at` (as in `CheckedSnapshot`); `undefined` when they do not come, or
 * are not what was written.
 */
export function awaitChunks(
  kernel: RecoveryKernel,
  header: SnapshotHeader,
  at: number,
): CheckedSnapshot | undefined {
  const check = new ChunkCheck(kernel, header, at);
  for (let leftMs = WAIT_MS; leftMs > 0; leftMs--) {
    const before = check.position;
    if (check.run() === undefined) return check.checked();
    if (check.position > before) leftMs = WAIT_MS;
    Atomics.wait(sleep, 0, 0, 1);
  }
  return undefined;
}
