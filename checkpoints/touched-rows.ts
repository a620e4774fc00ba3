import type { TensorSpan } from "../formats/layout.ts";
import { StoreError } from "../src/errors.ts";
import type { PlannedChunk } from "./chunk-plan.ts";
import type { TensorSource } from "./tensor-source.ts";

/** What a learner says it has changed since its last save: rows of tensors, along the first axis. */
export interface Touched {
  tensor: string;
  /** Row numbers, in any order, repeated or not. */
  rows: ArrayLike<number>;
}

/** One tensor's touched rows, as the worker threads see them. */
export interface RowSet {
  /** First byte of the tensor in the file. */
  offset: number;
  rowBytes: number;
  /** One bit a row, in shared memory. */
  bits: Uint32Array;
}

export interface TouchedRows {
  rows: RowSet[];
  /** One byte a chunk, in shared memory: `TOUCHED`, or 0. */
  chunks: Uint8Array;
  /** At most this many bytes of rows. */
  sizeBytes: number;
}

export const UNTOUCHED = 0;
export const TOUCHED = 1;
/** A chunk whose run of patches is long enough: it is stored whole. */
export const WHOLE = 2;

/**
 * Marks rows, and the chunks they lie in.
 * @throws `ERR_INVALID_ARGUMENT` for a tensor or a row that there is not
 */
export function markTouched(source: TensorSource, touched: readonly Touched[]): TouchedRows {
  const chunks = new Uint8Array(new SharedArrayBuffer(source.chunks.length));
  const rows: RowSet[] = [];
  let sizeBytes = 0;
  for (const { tensor, rows: numbers } of touched) {
    const part = source.partOf.get(tensor);
    const span = part === undefined ? undefined : source.file.layout!.spans[part]!;
    if (span === undefined) throw invalid(tensor, "is not among the tensors of this save");
    // A set or an iterator has none, and would name no row at all.
    if (!Number.isSafeInteger(numbers?.length))
      throw invalid(tensor, "needs its rows as an array of numbers");
    if (numbers.length === 0) continue;
    const count = span.shape[0] ?? 1;
    const rowBytes = span.sizeBytes / count;
    const bits = markBits(tensor, numbers, count);
    if (rowBytes === 0) continue;
    const set = { offset: span.offset, rowBytes, bits };
    markChunks(source.chunks, span, set, numbers, chunks);
    const known = rows.find(({ offset }) => offset === span.offset);
    if (known === undefined) rows.push(set);
    else for (let i = 0; i < bits.length; i++) known.bits[i]! |= bits[i]!;
    sizeBytes += numbers.length * rowBytes;
  }
  return { rows, chunks, sizeBytes };
}

function markBits(tensor: string, numbers: ArrayLike<number>, count: number): Uint32Array {
  const bits = new Uint32Array(Math.ceil(count / 32));
  for (let i = 0; i < numbers.length; i++) {
    const row = numbers[i]!;
    if (!(row >= 0 && row < count && Math.floor(row) === row)) {
      throw invalid(tensor, `has rows 0 to ${count - 1}, and no row ${row}`);
    }
    bits[row >>> 5]! |= 1 << (row & 31);
  }
  // Set in memory of this thread's own, which is quicker, then shared.
  const shared = new Uint32Array(new SharedArrayBuffer(bits.byteLength));
  shared.set(bits);
  return shared;
}

function markChunks(
  planned: PlannedChunk[],
  span: TensorSpan,
  { rowBytes }: RowSet,
  numbers: ArrayLike<number>,
  chunks: Uint8Array,
): void {
  const first = chunkAt(planned, span.offset);
  // A tensor that fills chunks of its own is cut into equal ones; any other lies in a single chunk.
  const { offset, rawBytes } = planned[first]!;
  const skipped = span.offset - offset;
  const mine = new Uint8Array(chunks.length);
  for (let i = 0; i < numbers.length; i++) {
    const from = skipped + numbers[i]! * rowBytes;
    const last = Math.floor((from + rowBytes - 1) / rawBytes);
    for (let at = Math.floor(from / rawBytes); at <= last; at++) mine[first + at] = TOUCHED;
  }
  for (let chunk = 0; chunk < mine.length; chunk++) if (mine[chunk] === TOUCHED) chunks[chunk] = TOUCHED;
}

/** The chunk that holds the byte at `offset` of the file. */
export function chunkAt(planned: readonly PlannedChunk[], offset: number): number {
  let low = 0;
  let high = planned.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (planned[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

function invalid(tensor: string, problem: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", `touched: tensor ${JSON.stringify(tensor)} ${problem}`, {
    context: { tensor },
    hint: "Name each tensor whose rows have changed since the ref's last save, with their numbers along the first axis.",
  });
}
