import { DIGEST_BYTES } from "../src/chunks/digest.ts";
import { digestOfPatch, payloadOfPatch } from "../src/chunks/patch-frame.ts";

/** What one thread captured, in the order of the chunks: two pieces of memory or three, not thousands. */
export interface CapturedChunks {
  /** Of each: the chunk, in which block it is, where it begins there, where it ends, and 1 if whole. */
  rows: Uint32Array;
  /** Frames of patches, which await their base and their place; a whole chunk is its digest and its bytes. */
  blocks: ArrayBuffer[];
}

const CAPTURED_FIELDS = 5;

/** Touched chunks as they were captured, in file order; what is handed out are views. */
export class TouchedChunks {
  readonly count: number;
  /** Bytes of rows and whole chunks, with what describes them. */
  readonly sizeBytes: number;
  readonly #blocks: Buffer[];
  readonly #rows: Uint32Array;

  constructor(parts: readonly CapturedChunks[]) {
    this.#blocks = parts.flatMap(({ blocks }) => blocks.map((block) => Buffer.from(block)));
    this.#rows = inFileOrder(parts);
    this.count = this.#rows.length / CAPTURED_FIELDS;
    let sizeBytes = 0;
    for (let i = 0; i < this.count; i++) sizeBytes += this.#bytes(i).byteLength;
    this.sizeBytes = sizeBytes;
  }

  /** Which chunk of the file it is. */
  chunk(i: number): number {
    return this.#rows[i * CAPTURED_FIELDS]!;
  }

  /** Whether all of the chunk was captured, not its touched rows alone. */
  isWhole(i: number): boolean {
    return this.#rows[i * CAPTURED_FIELDS + 4] === 1;
  }

  digest(i: number): Uint8Array {
    return this.isWhole(i) ? this.#bytes(i).subarray(0, DIGEST_BYTES) : digestOfPatch(this.#bytes(i));
  }

  /** The frame of a patch. */
  frame(i: number): Buffer {
    return this.#bytes(i);
  }

  /** The payload of a patch, or the bytes of a whole chunk. */
  payload(i: number): Uint8Array {
    return this.isWhole(i) ? this.#bytes(i).subarray(DIGEST_BYTES) : payloadOfPatch(this.#bytes(i));
  }

  #bytes(i: number): Buffer {
    const at = i * CAPTURED_FIELDS;
    return this.#blocks[this.#rows[at + 1]!]!.subarray(this.#rows[at + 2]!, this.#rows[at + 3]!);
  }
}

/** The rows of all threads by chunk; blocks are counted through. */
function inFileOrder(parts: readonly CapturedChunks[]): Uint32Array {
  const all = new Uint32Array(parts.reduce((sum, { rows }) => sum + rows.length, 0));
  const next = parts.map(() => 0);
  for (let at = 0; at < all.length; at += CAPTURED_FIELDS) {
    let best = -1;
    let firstBlock = 0;
    let blocks = 0;
    parts.forEach((part, i) => {
      const chunk = part.rows[next[i]!];
      if (chunk !== undefined && (best < 0 || chunk < parts[best]!.rows[next[best]!]!)) {
        best = i;
        firstBlock = blocks;
      }
      blocks += part.blocks.length;
    });
    const from = next[best]!;
    all.set(parts[best]!.rows.subarray(from, from + CAPTURED_FIELDS), at);
    all[at + 1]! += firstBlock;
    next[best] = from + CAPTURED_FIELDS;
  }
  return all;
}
