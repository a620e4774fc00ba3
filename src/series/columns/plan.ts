import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import { contextsOf } from "./contexts.ts";
import type { Page } from "./page-writer.ts";
import { bytesOf } from "./page-writer.ts";
import {
  ALONE,
  DELTA,
  DELTA_OF_DELTA,
  LAGGED_REFERENCE,
  layReference,
  NONE,
  type Prediction,
  REFERENCE,
  REFERENCE_DELTA,
  startAt,
} from "./prediction.ts";

/** Rows that predictions are compared on: runs of neighbours from all over the page. */
const SAMPLE_RUNS = 8;
const RUN_ROWS = 512;
/** In a wide table a column is compared with so many on either side; in a narrower one with all. */
const NEIGHBOURS = 5;
/** Columns that must be decoded, one after the other, before a column can be, at most. */
export const DEPTH_MAX = 8;
/** A reference must spare this share of what the column takes alone: it also costs decoding the other one. */
const GAIN_SHARE_MIN = 0.02;

/** Rows of the page, in a few runs. */
export function sampleOf(integers: BigInt64Array): BigInt64Array {
  if (integers.length <= SAMPLE_RUNS * RUN_ROWS) return integers;
  const sample = new BigInt64Array(SAMPLE_RUNS * RUN_ROWS);
  const stride = Math.floor((integers.length - RUN_ROWS) / (SAMPLE_RUNS - 1));
  for (let run = 0; run < SAMPLE_RUNS; run++) {
    sample.set(integers.subarray(run * stride, run * stride + RUN_ROWS), run * RUN_ROWS);
  }
  return sample;
}

interface Edge {
  column: number;
  prediction: Prediction;
  gain: number;
}

/**
 * Decides what each page is predicted from, and which contexts it is offered. Returns the order in which pages can be
 * encoded: whatever a page depends on comes before it.
 */
export function planPages(
  kernels: ColumnKernels,
  pages: readonly Page[],
  profile: "light" | "compact",
): number[] {
  const samples = pages.map(({ integers }) => sampleOf(integers));
  const alone = pages.map((page, i) => chooseAlone(kernels, page, samples[i]!, profile));
  if (profile === "light") return pages.map((_, i) => i);
  const edges: Edge[] = [];
  alone.forEach((bits, column) => {
    if (bits < 64) return;
    for (const other of neighboursOf(column, pages.length)) {
      edges.push(...referenceEdges(kernels, pages, samples, column, other, bits));
    }
  });
  edges.sort((a, b) => b.gain - a.gain || a.column - b.column);
  const parent = new Int32Array(pages.length).fill(-1);
  for (const { column, prediction } of edges) {
    if (parent[column] !== -1 || !mayHang(parent, column, prediction.of)) continue;
    parent[column] = prediction.of;
    pages[column]!.prediction = prediction;
    pages[prediction.of]!.isReference = true;
  }
  const order = orderOf(parent);
  offerContexts(pages, samples, order);
  return order;
}

function* neighboursOf(column: number, columns: number): Iterable<number> {
  const reach = columns > 16 ? NEIGHBOURS : columns;
  for (let other = Math.max(0, column - reach); other < Math.min(columns, column + reach + 1); other++) {
    if (other !== column) yield other;
  }
}

/** Bits that the sample takes by the best prediction from the column itself, which the page is given. */
function chooseAlone(
  kernels: ColumnKernels,
  page: Page,
  sample: BigInt64Array,
  profile: "light" | "compact",
): number {
  const kinds = profile === "light" ? [NONE, DELTA] : [NONE, DELTA, DELTA_OF_DELTA];
  let least = Number.POSITIVE_INFINITY;
  kernels.memory.set(bytesOf(sample), kernels.at.lattice);
  for (const kind of kinds) {
    const cost = costOf(kernels, kind, sample.length);
    if (cost >= least) continue;
    least = cost;
    page.prediction = { kind, ...ALONE };
  }
  return least;
}

function referenceEdges(
  kernels: ColumnKernels,
  pages: readonly Page[],
  samples: readonly BigInt64Array[],
  column: number,
  other: number,
  alone: number,
): Edge[] {
  const power = powerBetween(pages[column]!, samples[column]!, pages[other]!, samples[other]!);
  const sample = samples[column]!;
  if (power === undefined || sample.length < 8) return [];
  const { memory, at } = kernels;
  const unit = power < 0 ? 10n ** BigInt(-power) : 1n;
  const first = samples[other]![0]!;
  const origin = power < 0 ? BigInt.asIntN(64, first - (((first % unit) + unit) % unit)) : 0n;
  const prediction = { kind: REFERENCE, of: other, power, origin };
  memory.set(bytesOf(sample), at.lattice);
  memory.set(bytesOf(samples[other]!), at.source);
  layReference(kernels, prediction, at.source, sample.length);
  let best: Edge | undefined;
  for (const kind of [REFERENCE, REFERENCE_DELTA, LAGGED_REFERENCE]) {
    const gain = alone - costOf(kernels, kind, sample.length);
    if (gain < alone * GAIN_SHARE_MIN || gain < 64 || (best && gain <= best.gain)) continue;
    best = { column, prediction: { ...prediction, kind }, gain };
  }
  return best ? [best] : [];
}

/** By which power of ten the other column's unit differs, as far as that can be known; undefined if it cannot. */
function powerBetween(a: Page, sampleA: BigInt64Array, b: Page, sampleB: BigInt64Array): number | undefined {
  const isFloat = (page: Page) => page.type === "f64" || page.type === "f32";
  if (isFloat(a) !== isFloat(b)) return undefined;
  const [ea, eb] = [a.lattice.exponent, b.lattice.exponent];
  if (isFloat(a)) {
    if ((ea === undefined) !== (eb === undefined)) return undefined;
    if (ea === undefined && a.type !== b.type) return undefined;
    return (ea ?? 0) - (eb ?? 0);
  }
  const sizeOf = (sample: BigInt64Array) => Math.abs(Number(sample[sample.length >> 1] ?? 0n));
  const [sa, sb] = [sizeOf(sampleA), sizeOf(sampleB)];
  // Only moments in time are that large and comparable; others share their unit or have none.
  if (sa < 1e8 || sb < 1e8) return 0;
  const power = Math.round(Math.log10(sa / sb));
  return Math.abs(power) <= 12 ? power : undefined;
}

/** Bits of the sample, whose integers lie at `lattice` and whose reference beside them. */
function costOf(kernels: ColumnKernels, kind: number, count: number): number {
  const { exports, memory, at } = kernels;
  if (count === 0) return 0;
  const { before, step } = startAt(kernels, kind, 0, count);
  exports.columnPredict(kind, at.lattice, at.reference, at.residual, count, before, step);
  const few = new BigInt64Array(9);
  const residuals = new BigInt64Array(memory.buffer, at.residual, count);
  for (let i = 0; i < 9; i++) few[i] = residuals[Math.floor((count * (i + 0.5)) / 9)]!;
  return exports.columnCost(at.residual, count, few.sort()[4]!, kernels.logs());
}

/** Whether `column` may be predicted from `of` without a circle or too long a chain. */
function mayHang(parent: Int32Array, column: number, of: number): boolean {
  let above = 1;
  for (let at = of; at !== -1; at = parent[at]!) {
    if (at === column) return false;
    above++;
  }
  const below = (at: number): number => {
    let deepest = 0;
    for (let child = 0; child < parent.length; child++) {
      if (parent[child] === at) deepest = Math.max(deepest, 1 + below(child));
    }
    return deepest;
  };
  return above + below(column) <= DEPTH_MAX;
}

function orderOf(parent: Int32Array): number[] {
  const order: number[] = [];
  const done = new Uint8Array(parent.length);
  const visit = (column: number) => {
    if (done[column]) return;
    done[column] = 1;
    if (parent[column] !== -1) visit(parent[column]!);
    order.push(column);
  };
  for (let column = 0; column < parent.length; column++) visit(column);
  return order;
}

/** Offers each page the contexts of those before it that are near. */
function offerContexts(
  pages: readonly Page[],
  samples: readonly BigInt64Array[],
  order: readonly number[],
): void {
  const reach = pages.length > 16 ? NEIGHBOURS : pages.length;
  const given = pages.map((_, i) => contextsOf(i, samples[i]!));
  order.forEach((column, place) => {
    const page = pages[column]!;
    for (const other of order.slice(0, place)) {
      if (Math.abs(other - column) <= reach || other === page.prediction.of)
        page.offered.push(...given[other]!);
    }
  });
}
