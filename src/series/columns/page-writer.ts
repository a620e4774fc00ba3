import { type Codec, encodingName } from "../../codec/codec.ts";
import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import { ByteSink } from "./byte-sink.ts";
import { type NumberType, numberWidth } from "./column.ts";
import { encodeCompact } from "./compact-writer.ts";
import type { ContextSource } from "./contexts.ts";
import { type Lattice, writeLattice } from "./lattice.ts";
import { encodeLight } from "./light.ts";
import { BYTES, COMPACT, LIGHT } from "./page-format.ts";
import {
  layReference,
  nameOf,
  needsReference,
  type Prediction,
  type Spacing,
  startAt,
  writePrediction,
} from "./prediction.ts";

/** One column's numbers of one page, as the plan has looked at them. */
export interface Page {
  name: string;
  type: NumberType;
  count: number;
  /** The values as they are. */
  raw: Uint8Array;
  lattice: Lattice;
  integers: BigInt64Array;
  prediction: Prediction;
  /** Contexts that columns before this one can give. */
  offered: ContextSource[];
  /** Whether another page is predicted from this one: then it keeps its integers. */
  isReference: boolean;
}

export interface EncodedPage {
  encoding: string;
  bytes: Uint8Array;
  /** Places of the columns that it depends on. */
  dependencies: number[];
  /** Whether it can be asked for its integers. */
  hasIntegers: boolean;
}

/** Compressed to less than this share, a page is not tried as bytes. */
const BYTES_TRIED_SHARE = 0.35;
const TRIAL_BYTES = 32_768;
/** Bytes decode several times slower than light pages, and only whole: they must be worth it. */
const BYTES_SHARE_MAX = { light: 0.5, compact: 1 };

export function encodePage(
  kernels: ColumnKernels,
  codec: Codec,
  page: Page,
  profile: "light" | "compact",
  pages: readonly Page[],
  classesOf: (source: ContextSource) => Uint8Array,
  numberOf: (column: number) => number,
): EncodedPage {
  const { count, prediction, lattice, type } = page;
  const { exports, memory, at } = kernels;
  memory.set(bytesOf(page.integers), at.lattice);
  if (needsReference(prediction.kind)) {
    memory.set(bytesOf(pages[prediction.of]!.integers), at.source);
    layReference(kernels, prediction, at.source, count);
  }
  const start = startAt(kernels, prediction.kind, 0, count);
  exports.columnPredict(
    prediction.kind,
    at.lattice,
    at.reference,
    at.residual,
    count,
    start.before,
    start.step,
  );
  const spacing = divideResiduals(kernels, count);
  const dependencies: number[] = needsReference(prediction.kind) ? [prediction.of] : [];
  const sink = new ByteSink();
  sink.u8(prediction.kind | ((profile === "light" ? LIGHT : COMPACT) << 4));
  writeLattice(sink, type, lattice);
  if (needsReference(prediction.kind)) writePrediction(sink, prediction, numberOf(prediction.of));
  let said = latticeName(lattice, type) + nameOf(prediction, pages[prediction.of]?.name ?? "");
  if (spacing.divisor > 1n) said += `/${spacing.divisor} `;
  if (profile === "light") {
    encodeLight(kernels, prediction.kind, spacing, count)(sink);
    said += "light";
  } else {
    const coded = encodeCompact(kernels, prediction, spacing, count, page.offered, classesOf);
    coded.sink(sink, numberOf);
    const { sources, classes } = coded.contexts;
    dependencies.push(...sources.map(({ of }) => of));
    const given = [...sources.map(({ of }) => pages[of]!.name), ...(classes ? ["itself"] : [])];
    said += coded.bins === 1 ? "constant" : "compact";
    if (given.length > 0) said += ` given ${given.join(", ")}`;
  }
  const bytes = asBytes(codec, page, profile, sink.length);
  return bytes ?? { encoding: said, bytes: sink.finish(), dependencies, hasIntegers: true };
}

function latticeName({ exponent, misfits }: Lattice, type: NumberType): string {
  if (exponent === undefined) return type === "f64" || type === "f32" ? "ordered " : "";
  return `decimal(${exponent}${misfits.length > 0 ? `, ${misfits.length} misfits` : ""}) `;
}

/** Takes off what all residuals have in common. */
function divideResiduals({ exports, view, at }: ColumnKernels, count: number): Spacing {
  if (count === 0) return { offset: 0n, divisor: 1n };
  const offset = view.getBigInt64(at.residual, true);
  const found = BigInt.asIntN(64, exports.columnDivisor(at.residual, count));
  const divisor = found > 1n ? found : 1n;
  exports.columnDivide(at.residual, count, offset, divisor);
  return { offset, divisor };
}

/** The page as byte planes, or what else the chunk codec makes of it, where that is less than `limitBytes`. */
function asBytes(
  codec: Codec,
  { raw, type, count, lattice, isReference }: Page,
  profile: "light" | "compact",
  limitBytes: number,
): EncodedPage | undefined {
  const isDecimal = lattice.exponent !== undefined;
  if (limitBytes < raw.length * BYTES_TRIED_SHARE || count === 0 || (isReference && isDecimal))
    return undefined;
  const settings = { element: type, bases: [], profile: profile === "light" ? "fast" : "compact" } as const;
  if (raw.length > 2 * TRIAL_BYTES && limitBytes < raw.length) {
    const middle = Math.floor((raw.length - TRIAL_BYTES) / 2 / numberWidth(type)) * numberWidth(type);
    const trial = codec.encode({ bytes: raw.subarray(middle, middle + TRIAL_BYTES), ...settings, bases: [] });
    if (trial.payload.length / TRIAL_BYTES > (limitBytes / raw.length) * BYTES_SHARE_MAX[profile])
      return undefined;
  }
  const { encoding, payload } = codec.encode({ bytes: raw, ...settings, bases: [] });
  if (payload.length + 2 >= limitBytes * BYTES_SHARE_MAX[profile]) return undefined;
  const sink = new ByteSink()
    .u8(BYTES << 4)
    .u8(encoding)
    .bytes(payload);
  return {
    encoding: encodingName(encoding),
    bytes: sink.finish(),
    dependencies: [],
    hasIntegers: !isDecimal,
  };
}

export function bytesOf(integers: BigInt64Array): Uint8Array {
  return new Uint8Array(integers.buffer, integers.byteOffset, integers.byteLength);
}
