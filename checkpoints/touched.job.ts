import { PIECE_FIELDS, SEGMENT_FIELDS } from "../src/capture/capture-plan.ts";
import { finishPiece, NEXT_PIECE, STOP } from "../src/capture/drain.job.ts";
import { DIGEST_BYTES, digestOf } from "../src/chunks/digest.ts";
import { encodePatch, type PatchRun } from "../src/codec/encodings/patch.ts";
import { CHUNK_BYTES_MAX } from "../src/limits.ts";
import type { Job } from "../src/workers/job.ts";
import { type RowSet, UNTOUCHED, WHOLE } from "./touched-rows.ts";

/**
 * Captures touched chunks: each is copied to memory of this thread's own, hashed, and what its rows hold now becomes a
 * patch. Runs on every worker at once, each taking chunk after chunk.
 */
export const touchedJob: Job = { url: import.meta.url, name: "captureTouched" };

export interface TouchedRequest {
  /** A capture plan whose pieces are the chunks. */
  table: Float64Array;
  buffers: SharedArrayBuffer[];
  control: Int32Array;
  rows: RowSet[];
  chunks: Uint8Array;
}

/** Answers laid end to end: thousands of small arrays would take longer to send than to make. */
export interface PackedAnswers {
  /** Chunk, payload bytes, and 1 if whole, of each. */
  rows: Uint32Array;
  digests: Uint8Array;
  payloads: Uint8Array;
}

export interface TouchedAnswer {
  chunk: number;
  digest: Uint8Array;
  /** A patch's payload, or the whole chunk. */
  payload: Uint8Array;
  whole: boolean;
}

let scratch = new Uint8Array(0);

export function captureTouched(
  request: TouchedRequest,
  report: (parts: number[]) => void = () => {},
): PackedAnswers {
  const { control, chunks, table } = request;
  if (scratch.byteLength === 0) scratch = new Uint8Array(CHUNK_BYTES_MAX);
  const answers: TouchedAnswer[] = [];
  for (;;) {
    const chunk = Atomics.add(control, NEXT_PIECE, 1);
    if (chunk >= chunks.length || Atomics.load(control, STOP) !== 0) return packAnswers(answers);
    const piece = table.subarray(chunk * PIECE_FIELDS, (chunk + 1) * PIECE_FIELDS);
    const parts: number[] = [];
    const raw = copyChunk(request, piece, parts, chunks[chunk] !== UNTOUCHED);
    if (raw !== undefined) {
      finishPiece(control, parts, report);
      answers.push(answerFor(request, chunk, piece[0]!, raw));
    } else {
      finishPiece(control, parts, report);
    }
  }
}

function packAnswers(answers: TouchedAnswer[]): PackedAnswers {
  const payloads = new Uint8Array(answers.reduce((sum, { payload }) => sum + payload.byteLength, 0));
  const digests = new Uint8Array(answers.length * DIGEST_BYTES);
  const rows = new Uint32Array(answers.length * 3);
  let at = 0;
  answers.forEach(({ chunk, digest, payload, whole }, i) => {
    rows.set([chunk, payload.byteLength, whole ? 1 : 0], i * 3);
    digests.set(digest, i * DIGEST_BYTES);
    payloads.set(payload, at);
    at += payload.byteLength;
  });
  return { rows, digests, payloads };
}

export function unpackAnswers({ rows, digests, payloads }: PackedAnswers): TouchedAnswer[] {
  const answers: TouchedAnswer[] = [];
  let at = 0;
  for (let i = 0; i * 3 < rows.length; i++) {
    const sizeBytes = rows[i * 3 + 1]!;
    answers.push({
      chunk: rows[i * 3]!,
      digest: digests.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES),
      payload: payloads.subarray(at, at + sizeBytes),
      whole: rows[i * 3 + 2] === 1,
    });
    at += sizeBytes;
  }
  return answers;
}

function copyChunk(
  { table, buffers, chunks }: TouchedRequest,
  piece: Float64Array,
  parts: number[],
  wanted: boolean,
): Uint8Array | undefined {
  const [, rawBytes, first, count] = piece;
  const segments = table.subarray(chunks.length * PIECE_FIELDS + first! * SEGMENT_FIELDS);
  let at = 0;
  for (let i = 0; i < count!; i++) {
    const [buffer, offset, sizeBytes, part] = segments.subarray(i * SEGMENT_FIELDS, (i + 1) * SEGMENT_FIELDS);
    if (part! >= 0) parts.push(part!);
    if (wanted) scratch.set(new Uint8Array(buffers[buffer!]!, offset!, sizeBytes!), at);
    at += sizeBytes!;
  }
  return wanted ? scratch.subarray(0, rawBytes!) : undefined;
}

function answerFor(request: TouchedRequest, chunk: number, offset: number, raw: Uint8Array): TouchedAnswer {
  const digest = new Uint8Array(digestOf(raw));
  if (request.chunks[chunk] === WHOLE) return { chunk, digest, payload: raw.slice(), whole: true };
  const { unit, runs } = runsIn(request.rows, offset, raw.byteLength);
  const payload = encodePatch(raw, unit, runs);
  if (payload.byteLength >= raw.byteLength / 2) return { chunk, digest, payload: raw.slice(), whole: true };
  // A slice: what is sent must not drag the memory around it along.
  return { chunk, digest, payload: payload.slice(), whole: false };
}

/** Touched rows that lie in a chunk, as runs of units that fit all of them. */
function runsIn(sets: RowSet[], offset: number, rawBytes: number): { unit: number; runs: PatchRun[] } {
  const ranges: [number, number][] = [];
  let unit = 0;
  for (const set of sets) {
    const firstRow = Math.max(0, Math.floor((offset - set.offset) / set.rowBytes));
    const end = Math.min(set.bits.length * 32, Math.ceil((offset + rawBytes - set.offset) / set.rowBytes));
    for (let row = nextBit(set.bits, firstRow, end); row < end; row = nextBit(set.bits, row + 1, end)) {
      const start = set.offset + row * set.rowBytes - offset;
      const from = Math.max(0, start);
      const to = Math.min(rawBytes, start + set.rowBytes);
      const last = ranges.at(-1);
      if (last !== undefined && last[1] === from) last[1] = to;
      else ranges.push([from, to]);
      unit = gcd(gcd(unit, from), to);
    }
  }
  ranges.sort((a, b) => a[0] - b[0]);
  return {
    unit: unit || 1,
    runs: ranges.map(([from, to]) => ({ from: from / unit, units: (to - from) / unit })),
  };
}

function gcd(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

/** The first set bit from `from` on, or `end`. */
function nextBit(bits: Uint32Array, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const word = bits[at >>> 5]! >>> (at & 31);
    if (word !== 0) return Math.min(end, at + 31 - Math.clz32(word & -word));
    at = (at | 31) + 1;
  }
  return end;
}
