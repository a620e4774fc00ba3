import { PIECE_FIELDS, SEGMENT_FIELDS } from "../src/capture/capture-plan.ts";
import { finishPiece, NEXT_PIECE, STOP } from "../src/capture/drain.job.ts";
import { DIGEST_BYTES, digestOf } from "../src/chunks/digest.ts";
import { PATCH_HEADER_BYTES, patchFrameBytesMax, writePatchFrame } from "../src/chunks/patch-frame.ts";
import { CHUNK_BYTES_MAX } from "../src/limits.ts";
import { type Job, Moving } from "../src/workers/job.ts";
import type { CapturedChunks } from "./touched-chunks.ts";
import { type RowSet, UNTOUCHED, WHOLE } from "./touched-rows.ts";
import { touchedRuns } from "./touched-runs.ts";

/**
 * Captures touched chunks: each is copied to memory of this thread's own, hashed, and what its rows hold now becomes the
 * frame of a patch. Runs on every worker at once, each taking a few neighbours after the other.
 */
export const touchedJob: Job = { url: import.meta.url, name: "captureTouched" };

export interface TouchedRequest {
  /** A capture plan whose pieces are the chunks. */
  table: Float64Array;
  buffers: SharedArrayBuffer[];
  control: Int32Array;
  rows: RowSet[];
  /** By chunk: whether it was touched, and what its elements are. */
  chunks: Uint8Array;
  elements: Uint8Array;
}

let scratch = new Uint8Array(0);

export function captureTouched(
  request: TouchedRequest,
  report: (parts: number[]) => void = () => {},
): Moving<CapturedChunks> {
  const { control, chunks } = request;
  if (scratch.byteLength === 0) scratch = new Uint8Array(CHUNK_BYTES_MAX);
  const captured = new Captured();
  for (;;) {
    const first = Atomics.add(control, NEXT_PIECE, NEIGHBOURS);
    const end = Math.min(chunks.length, first + NEIGHBOURS);
    for (let chunk = first; chunk < end; chunk++) {
      if (Atomics.load(control, STOP) !== 0) return captured.moved();
      const parts: number[] = [];
      const raw = copyChunk(request, chunk, parts);
      finishPiece(control, parts, report);
      if (raw !== undefined) capture(request, chunk, raw, captured);
    }
    if (end === chunks.length) return captured.moved();
  }
}

/** Chunks that a thread takes at once: what is claimed one by one is claimed too often. */
const NEIGHBOURS = 8;

function copyChunk(
  { table, buffers, chunks }: TouchedRequest,
  chunk: number,
  parts: number[],
): Uint8Array | undefined {
  const at = chunk * PIECE_FIELDS;
  const [rawBytes, first, count] = [table[at + 1]!, table[at + 2]!, table[at + 3]!];
  const wanted = chunks[chunk] !== UNTOUCHED;
  let segment = chunks.length * PIECE_FIELDS + first * SEGMENT_FIELDS;
  let end = 0;
  for (let i = 0; i < count; i++, segment += SEGMENT_FIELDS) {
    const sizeBytes = table[segment + 2]!;
    const part = table[segment + 3]!;
    if (part >= 0) parts.push(part);
    if (wanted) scratch.set(new Uint8Array(buffers[table[segment]!]!, table[segment + 1]!, sizeBytes), end);
    end += sizeBytes;
  }
  return wanted ? scratch.subarray(0, rawBytes) : undefined;
}

function capture(request: TouchedRequest, chunk: number, raw: Uint8Array, captured: Captured): void {
  const digest = digestOf(raw);
  if (request.chunks[chunk] === WHOLE) {
    captured.addWhole(chunk, digest, raw);
    return;
  }
  const runs = touchedRuns(request.rows, request.table[chunk * PIECE_FIELDS]!, raw.byteLength);
  const toPatch = { raw, digest, element: request.elements[chunk]!, runs };
  const sizeBytes = patchFrameBytesMax(toPatch);
  if (sizeBytes - PATCH_HEADER_BYTES >= raw.byteLength / 2) captured.addWhole(chunk, digest, raw);
  else captured.add(chunk, sizeBytes, false, (target, at) => writePatchFrame(target, at, toPatch));
}

/** Memory taken at once for what is captured. */
const BLOCK_BYTES = 1 << 20;

class Captured {
  readonly #rows: number[] = [];
  readonly #blocks: ArrayBuffer[] = [];
  #block = Buffer.alloc(0);
  #end = 0;

  /** Adds a chunk for which `write` needs at most `sizeBytes`; it returns where what it wrote ends. */
  add(chunk: number, sizeBytes: number, whole: boolean, write: (target: Buffer, at: number) => number): void {
    if (this.#end + sizeBytes > this.#block.byteLength) {
      const memory = new ArrayBuffer(Math.max(BLOCK_BYTES, sizeBytes));
      this.#blocks.push(memory);
      this.#block = Buffer.from(memory);
      this.#end = 0;
    }
    const at = this.#end;
    this.#end = write(this.#block, at);
    this.#rows.push(chunk, this.#blocks.length - 1, at, this.#end, whole ? 1 : 0);
  }

  addWhole(chunk: number, digest: Uint8Array, raw: Uint8Array): void {
    this.add(chunk, DIGEST_BYTES + raw.byteLength, true, (target, at) => {
      target.set(digest, at);
      target.set(raw, at + DIGEST_BYTES);
      return at + DIGEST_BYTES + raw.byteLength;
    });
  }

  moved(): Moving<CapturedChunks> {
    const rows = new Uint32Array(this.#rows);
    return new Moving({ rows, blocks: this.#blocks }, [rows.buffer, ...this.#blocks]);
  }
}
