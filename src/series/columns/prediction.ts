import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";

/** What a page's integers are predicted from, as the kernels number it. */
export const NONE = 0;
export const DELTA = 1;
export const DELTA_OF_DELTA = 2;
export const REFERENCE = 3;
export const REFERENCE_DELTA = 4;
export const LAGGED_REFERENCE = 5;

export interface Prediction {
  kind: number;
  /** The other column's place among the pages of the segment; -1 without one. */
  of: number;
  /** Its integers are brought to this column's unit by this power of ten. */
  power: number;
  /** What is taken off before a division. */
  origin: bigint;
}

export const ALONE = { of: -1, power: 0, origin: 0n };

export const needsReference = (kind: number) => kind >= REFERENCE;
/** Kinds that need the row before to begin somewhere else than at the first one. */
export const needsBefore = (kind: number) =>
  kind === DELTA || kind === DELTA_OF_DELTA || kind === REFERENCE_DELTA;

export function nameOf(prediction: Prediction, reference: string): string {
  switch (prediction.kind) {
    case NONE:
      return "";
    case DELTA:
      return "delta ";
    case DELTA_OF_DELTA:
      return "delta-of-delta ";
    case REFERENCE:
      return `from ${reference} `;
    case REFERENCE_DELTA:
      return `delta from ${reference} `;
    default:
      return `from previous ${reference} `;
  }
}

/** Brings the other column's integers, which lie at an address, to this column's unit, at `reference`. */
export function layReference(
  kernels: ColumnKernels,
  prediction: Prediction,
  from: number,
  count: number,
): void {
  const { power, origin } = prediction;
  if (power === 0) {
    kernels.memory.copyWithin(kernels.at.reference, from, from + count * 8);
    return;
  }
  const multiplier = power >= 0 ? 10n ** BigInt(power) : 1n;
  kernels.exports.columnScale(
    from,
    kernels.at.reference,
    count,
    multiplier,
    power < 0 ? 10 ** -power : 0,
    origin,
  );
}

/** What is divided away from residuals: r = offset + divisor * what is stored. */
export interface Spacing {
  offset: bigint;
  divisor: bigint;
}

/** x[-1] and the step to it, for kinds that need them. */
export interface Start {
  before: bigint;
  step: bigint;
}

/** x[row] of integers at an address, less the reference where the kind takes that off first. */
function seenAt(kernels: ColumnKernels, kind: number, row: number): bigint {
  const x = kernels.view.getBigInt64(kernels.at.lattice + row * 8, true);
  if (kind !== REFERENCE_DELTA) return x;
  return x - kernels.view.getBigInt64(kernels.at.reference + row * 8, true);
}

/** Where rows from `row` on go on from. Before the first row is what makes its residual like the second's. */
export function startAt(kernels: ColumnKernels, kind: number, row: number, count: number): Start {
  if (!needsBefore(kind)) return { before: 0n, step: 0n };
  const seen = (i: number) => seenAt(kernels, kind, i);
  if (row === 0) {
    const step = count > 1 ? seen(1) - seen(0) : 0n;
    return { before: wrap(seen(0) - step), step: wrap(step) };
  }
  // Rows begin anew at multiples of 1,024, so two rows lie before.
  const step = kind === DELTA_OF_DELTA ? seen(row - 1) - seen(row - 2) : 0n;
  return { before: wrap(seen(row - 1)), step: wrap(step) };
}

const wrap = (value: bigint) => BigInt.asIntN(64, value);

export function writePrediction(sink: ByteSink, prediction: Prediction, dependency: number): void {
  if (!needsReference(prediction.kind)) return;
  sink.varint(dependency).u8(prediction.power + 32);
  if (prediction.power < 0) sink.varint64(prediction.origin);
}

/** `of` is the number of the dependency here. */
export function readPrediction(source: ByteSource, kind: number, dependencies: number): Prediction {
  if (!needsReference(kind)) return { kind, ...ALONE };
  const of = source.varint(dependencies - 1);
  const power = source.u8() - 32;
  if (Math.abs(power) > 18) throw source.corrupt(`a unit of 10^${power}`);
  return { kind, of, power, origin: power < 0 ? BigInt.asIntN(64, source.varint64()) : 0n };
}
