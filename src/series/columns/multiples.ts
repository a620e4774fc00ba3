import { type ColumnKernels, PAGE_ROWS } from "../../kernels/column-kernels.ts";

/** A float as an integer times a base, and how many units of the last place it is off. */
export interface Multiples {
  base: number;
  integers: BigInt64Array;
  left: BigInt64Array;
}

/** Rows that bases are compared on: runs of neighbours, since integers will be predicted from those before. */
const RUNS = 8;
const RUN_ROWS = 32;
/** Digits after the point that are tried. */
const DIGITS_MAX = 12;
/** What computed values are off by, of the largest: a few last places. */
const ERROR = 2 ** -50;
/** Integers this large are no better than the float's own bits. */
const INTEGER_MAX = 2 ** 46;
/** Digits of a base that somebody has chosen. */
const SHORT_DIGITS = 12;
/** What a value counts that is no multiple at all. */
const MISFIT_BITS = 128;
/** Bits a value must spare by the sample, for the whole page to be tried. */
const GAIN_BITS_MIN = 3;

/**
 * The base of which nearly all values are multiples, but for a few last places: what averages, products and sums of
 * decimals are. Undefined where a sample shows none. After pcodec's float-mult (M. Loncaric, arXiv:2502.06112).
 */
export function baseOf(values: Float64Array): number | undefined {
  const runs = sampleRuns(values);
  if (runs.flat().length < RUN_ROWS) return undefined;
  const alone = cost(runs, undefined);
  let best: { base: number; bits: number } | undefined;
  for (const base of candidates(runs)) {
    const bits = cost(runs, base);
    if (bits < alone - GAIN_BITS_MIN && (best === undefined || bits < best.bits)) best = { base, bits };
  }
  return best?.base;
}

/** Splits a page by its base. */
export function toMultiples(
  { exports, memory, at }: ColumnKernels,
  values: Float64Array,
  base: number,
): Multiples {
  const count = values.length;
  new Float64Array(memory.buffer, at.source, count).set(values);
  exports.columnToMultiples(at.source, at.lattice, at.residual, count, base);
  const taken = (address: number) => new BigInt64Array(memory.buffer, address, count).slice();
  return { base, integers: taken(at.lattice), left: taken(at.residual) };
}

/** Puts a page's floats, at most PAGE_ROWS, together again, into `out`, their bytes. */
export function fromMultiples(
  { exports, memory, at }: ColumnKernels,
  { base, integers, left }: Multiples,
  out: Uint8Array,
): void {
  const count = Math.min(integers.length, PAGE_ROWS);
  new BigInt64Array(memory.buffer, at.lattice, count).set(integers);
  new BigInt64Array(memory.buffer, at.residual, count).set(left);
  exports.columnFromMultiples(at.lattice, at.residual, at.source, count, base);
  out.set(memory.subarray(at.source, at.source + count * 8));
}

/** Runs of finite values from all over the page. */
function sampleRuns(values: Float64Array): number[][] {
  const stride = Math.floor((values.length - RUN_ROWS) / (RUNS - 1));
  if (stride < RUN_ROWS) return [[...values].filter(Number.isFinite)];
  return Array.from({ length: RUNS }, (_, run) =>
    [...values.subarray(run * stride, run * stride + RUN_ROWS)].filter(Number.isFinite),
  ).filter((run) => run.length > 1);
}

function* candidates(runs: readonly (readonly number[])[]): Iterable<number> {
  for (let digits = 0; digits <= DIGITS_MAX; digits++) yield Number(`1e-${digits}`);
  for (const run of runs) {
    // Not the largest, which may be anything.
    const large = run.map(Math.abs).sort((a, b) => a - b)[Math.floor(run.length * 0.75)]!;
    const changes = new Set(run.map((value, i) => Math.abs(value - (run[i - 1] ?? value))));
    changes.delete(0);
    const [a, b] = changes;
    if (a === undefined || b === undefined) continue;
    const divisor = commonDivisor(Math.max(a, b), Math.min(a, b), large * ERROR);
    if (divisor === undefined) continue;
    // Of a large value, or of one, the nearest part is nearer to the base than what Euclid's steps have left.
    const base = large / Math.round(large / divisor);
    yield base;
    yield Number(base.toPrecision(SHORT_DIGITS));
    if (divisor < 1) yield 1 / Math.round(1 / divisor);
  }
}

/** What both are multiples of, about, each being off by up to `error`; undefined if that cannot be told from nothing. */
function commonDivisor(a: number, b: number, error: number): number | undefined {
  // With every step what they are off by grows as they shrink.
  const nothing = (divisor: number) => error * 4 * (a / divisor);
  let [larger, smaller] = [a, b];
  while (smaller > nothing(larger)) {
    const rest = larger % smaller;
    // Just below a multiple is a multiple too.
    [larger, smaller] = [smaller, Math.min(rest, smaller - rest)];
  }
  return nothing(larger) < larger / 8 ? larger : undefined;
}

/** Bits a value takes about: of changes of its integer and of what is left, or of its own bits in their order. */
function cost(runs: readonly (readonly number[])[], base: number | undefined): number {
  let bits = 0;
  let rows = 0;
  for (const run of runs) {
    let last: number | undefined;
    for (const value of run) {
      const integer = base === undefined ? ordered(value) : Math.round(value / base);
      rows++;
      if (base !== undefined && Math.abs(integer) > INTEGER_MAX) {
        bits += MISFIT_BITS;
        continue;
      }
      if (last !== undefined) bits += Math.log2(1 + Math.abs(integer - last));
      if (base !== undefined) bits += 2 * Math.log2(1 + Math.abs(ordered(value) - ordered(integer * base)));
      last = integer;
    }
  }
  return rows === 0 ? Number.POSITIVE_INFINITY : bits / rows;
}

const float = new Float64Array(1);
const bits = new BigInt64Array(float.buffer);

/** A float's place in the order of all, about. */
function ordered(value: number): number {
  float[0] = value;
  const own = bits[0]!;
  return Number(own < 0n ? own ^ 0x7fffffffffffffffn : own);
}
