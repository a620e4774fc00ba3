import type { ColumnKernels } from "../../kernels/column-kernels.ts";

/** A bin holds residuals [lower, lower + 2^bits). */
export interface Bin {
  lower: bigint;
  bits: number;
}

/** Bins of a page: what a token of eight bits can name. */
export const BINS_MAX = 255;
/** Cells that residuals are cut into before bins are made of them. */
const CELLS = 200;
const CELLS_MAX = 1024;
/** What a bin costs beside its residuals: its place, its width and its frequencies. */
const BIN_BITS = 40;

let log2: Float64Array | undefined;

/** Of whole numbers up to the rows of a page; made when it is first asked for: only encoders do. */
function logarithms(): Float64Array {
  log2 ??= Float64Array.from({ length: 65_537 }, (_, n) => (n === 0 ? 0 : Math.log2(n)));
  return log2;
}

/**
 * The bins that make the residuals at `residual` take least, sorted by their lowest values. The residuals stay.
 * Cells of about equal counts are joined where that costs less, by dynamic programming over where bins end; the idea
 * is pcodec's (M. Loncaric, "Pcodec: Better Compression for Numerical Sequences", arXiv:2502.06112).
 */
export function binsFor(kernels: ColumnKernels, count: number): Bin[] {
  const { exports, memory, at } = kernels;
  memory.copyWithin(at.source, at.residual, at.residual + count * 8);
  const sorted = new BigInt64Array(memory.buffer, exports.columnSort(at.source, at.spare, count), count);
  for (let cells = CELLS; ; cells >>= 1) {
    const size = Math.max(Math.ceil(count / cells), 1);
    const found = exports.columnCells(sorted.byteOffset, count, size, at.packed, CELLS_MAX);
    const ends = withFineTails(new Uint32Array(memory.buffer, at.packed, found), sorted);
    const bins = joinCells(sorted, ends);
    if (bins.length <= BINS_MAX) return bins;
  }
}

/** Cuts the first and last cells finer towards the ends: what lies far out must not widen many. */
function withFineTails(ends: Uint32Array, sorted: BigInt64Array): number[] {
  const count = sorted.length;
  const cut = new Set<number>(ends);
  const first = ends[0]!;
  for (let size = 1; size < first; size *= 2) cut.add(size);
  const last = ends.length > 1 ? ends[ends.length - 2]! : 0;
  for (let size = 1; size < count - last; size *= 2) cut.add(count - size);
  // Never within a run of equal ones.
  return [...cut].sort((a, b) => a - b).filter((end) => end === count || sorted[end] !== sorted[end - 1]);
}

function joinCells(sorted: BigInt64Array, ends: number[]): Bin[] {
  const count = sorted.length;
  const lowest = sorted[0]!;
  const cells = ends.length;
  const lows = new Float64Array(cells);
  const highs = new Float64Array(cells);
  ends.forEach((end, i) => {
    lows[i] = Number(sorted[i === 0 ? 0 : ends[i - 1]!]! - lowest);
    highs[i] = Number(sorted[end - 1]! - lowest);
  });
  // cost[j]: least bits of all residuals in the first j cells; from[j]: where the last bin of those begins.
  const cost = new Float64Array(cells + 1).fill(Number.POSITIVE_INFINITY);
  const from = new Uint16Array(cells + 1);
  cost[0] = 0;
  const log2 = logarithms();
  const total = log2[count]!;
  for (let j = 1; j <= cells; j++) {
    const end = ends[j - 1]!;
    for (let i = j - 1; i >= 0; i--) {
      const held = end - (i === 0 ? 0 : ends[i - 1]!);
      const bits = cost[i]! + held * (total - log2[held]! + widthOf(highs[j - 1]! - lows[i]!)) + BIN_BITS;
      if (bits < cost[j]!) {
        cost[j] = bits;
        from[j] = i;
      }
    }
  }
  const bins: Bin[] = [];
  for (let j = cells; j > 0; j = from[j]!) {
    const lower = sorted[from[j] === 0 ? 0 : ends[from[j]! - 1]!]!;
    const span = BigInt.asUintN(64, sorted[ends[j - 1]! - 1]! - lower);
    bins.push({ lower, bits: span === 0n ? 0 : span.toString(2).length });
  }
  return bins.reverse();
}

/** Bits of an integer that is given as a double. */
function widthOf(span: number): number {
  if (span < 4294967296) return 32 - Math.clz32(span);
  return Math.min(64 - Math.clz32(Math.floor(span / 4294967296)), 64);
}

/**
 * Bins as the kernels read them, 32 bytes each: lowest values times `divisor` plus `offset`, i64; mask of the raw bits, u64;
 * how many these are, u8; class u8.
 */
export function binTable(
  bins: readonly Bin[],
  classes: Uint8Array | undefined,
  offset = 0n,
  divisor = 1n,
): Uint8Array {
  const words = new BigInt64Array(bins.length * 4);
  const halves = new Uint32Array(words.buffer);
  const bytes = new Uint8Array(words.buffer);
  const isPlain = offset === 0n && divisor === 1n;
  bins.forEach(({ lower, bits }, i) => {
    // The array keeps 64 bits of what it is given.
    words[4 * i] = isPlain ? lower : offset + lower * divisor;
    halves[8 * i + 2] = maskOf(bits);
    halves[8 * i + 3] = maskOf(bits - 32);
    bytes[32 * i + 16] = bits;
    bytes[32 * i + 17] = classes?.[i] ?? 0;
  });
  return bytes;
}

const maskOf = (bits: number) => (bits >= 32 ? 0xffffffff : bits <= 0 ? 0 : (1 << bits) - 1);

/** Puts bins where the kernels look for them. */
export function layBins(
  { memory, at }: ColumnKernels,
  bins: readonly Bin[],
  classes: Uint8Array | undefined,
): void {
  memory.set(binTable(bins, classes), at.bins);
}
