import { type Element, elementCode, elementOf } from "../codec/element.ts";
import { CHUNK_BYTES_MAX, FRAME_BASES_MAX, JOB_BYTES } from "../limits.ts";
import { DIGEST_BYTES } from "./digest.ts";
import { frameHeaderBytes } from "./pack-format.ts";
import { type FrameToWrite, writeFrame } from "./pack-writer.ts";

/** A chunk to encode: how many raw bytes it has, what they are, and what it may resemble. */
export interface ChunkToEncode {
  rawBytes: number;
  element: Element;
  /** Digests of chunks to try as bases, the most promising first; of more than eight, the first eight. */
  bases: Uint8Array[];
}

const HEAD_BYTES = 8;
const ROW_BYTES = 64;
const DIGEST_AT = 16;
const FRAME_HEADER_BYTES_MAX = frameHeaderBytes(1, FRAME_BASES_MAX);
/** What the tables and headers of a usual run take: buffers of this size more are kept for the next runs. */
const TABLES_BYTES = 64 << 10;
export const RUN_BYTES = Math.max(JOB_BYTES, CHUNK_BYTES_MAX) + TABLES_BYTES;

/**
 * A run of chunks on its way to a worker thread and, encoded, back: one piece of memory that changes hands instead of
 * objects that are cloned. Thousands of small objects a gigabyte on the thread that saves cost it more time than its own
 * work, and more memory than the encoder.
 *
 *     run  = chunks u32 | end of what is used u32 | row{chunks} base digest{bases} frame{frames}
 *     row (64 bytes)
 *       0  4  raw bytes
 *       4  1  element code
 *       5  1  bases
 *       6  2  zero
 *       8  4  where its frame begins; 0 without one
 *      12  4  bytes of the frame
 *      16 32  its digest, once it is hashed
 *      48  4  where the digests of its bases begin
 *      52 12  zero
 *
 * A frame lies here as it will in the pack, but for the place that its checksums start from: see `placeFrame`.
 */
export class EncodeRun {
  readonly buffer: ArrayBuffer;
  readonly #words: DataView;
  readonly #bytes: Buffer;

  /** @param buffer as `EncodeRun.of` made it */
  constructor(buffer: ArrayBuffer) {
    this.buffer = buffer;
    this.#words = new DataView(buffer);
    this.#bytes = Buffer.from(buffer);
  }

  /** Lays out what is to be encoded; `allocate` gives memory of at least so many bytes. */
  static of(chunks: readonly ChunkToEncode[], allocate: (sizeBytes: number) => ArrayBuffer): EncodeRun {
    let sizeBytes = HEAD_BYTES;
    for (const { rawBytes, bases } of chunks) {
      sizeBytes += ROW_BYTES + Math.min(bases.length, FRAME_BASES_MAX) * DIGEST_BYTES;
      sizeBytes += FRAME_HEADER_BYTES_MAX + rawBytes;
    }
    const run = new EncodeRun(allocate(sizeBytes));
    run.#ask(chunks);
    return run;
  }

  #ask(chunks: readonly ChunkToEncode[]): void {
    const words = this.#words;
    let end = HEAD_BYTES + chunks.length * ROW_BYTES;
    this.#bytes.fill(0, 0, end);
    words.setUint32(0, chunks.length);
    chunks.forEach(({ rawBytes, element, bases }, i) => {
      const row = rowAt(i);
      const count = Math.min(bases.length, FRAME_BASES_MAX);
      words.setUint32(row, rawBytes);
      words.setUint8(row + 4, elementCode(element));
      words.setUint8(row + 5, count);
      words.setUint32(row + 48, end);
      for (let k = 0; k < count; k++, end += DIGEST_BYTES) this.#bytes.set(bases[k]!, end);
    });
    words.setUint32(4, end);
  }

  get count(): number {
    return this.#words.getUint32(0);
  }

  rawBytes(i: number): number {
    return this.#words.getUint32(rowAt(i));
  }

  element(i: number): Element {
    return elementOf(this.#words.getUint8(rowAt(i) + 4));
  }

  baseCount(i: number): number {
    return this.#words.getUint8(rowAt(i) + 5);
  }

  /** Views of this memory, made anew with each call. */
  bases(i: number): Uint8Array[] {
    const bases: Uint8Array[] = [];
    let at = this.#words.getUint32(rowAt(i) + 48);
    for (let k = this.baseCount(i); k > 0; k--, at += DIGEST_BYTES) {
      bases.push(this.#bytes.subarray(at, at + DIGEST_BYTES));
    }
    return bases;
  }

  /** A view of this memory. */
  digest(i: number): Uint8Array {
    const at = rowAt(i) + DIGEST_AT;
    return this.#bytes.subarray(at, at + DIGEST_BYTES);
  }

  setDigest(i: number, digest: Uint8Array): void {
    this.#bytes.set(digest, rowAt(i) + DIGEST_AT);
  }

  /** The chunk's frame, still without its place, as a view of this memory; `undefined` when the store has the chunk. */
  frame(i: number): Uint8Array | undefined {
    const at = this.#words.getUint32(rowAt(i) + 8);
    return at === 0 ? undefined : this.#bytes.subarray(at, at + this.#words.getUint32(rowAt(i) + 12));
  }

  /** Writes the chunk's frame behind the others. No payload is larger than its chunk, so there is room for each. */
  addFrame(i: number, frame: FrameToWrite): void {
    const at = this.#words.getUint32(4);
    const end = writeFrame(this.#bytes, at, frame);
    this.#words.setUint32(rowAt(i) + 8, at);
    this.#words.setUint32(rowAt(i) + 12, end - at);
    this.#words.setUint32(4, end);
  }
}

function rowAt(i: number): number {
  return HEAD_BYTES + i * ROW_BYTES;
}
