import type { ByteSource } from "./byte-source.ts";
import type { NumberType } from "./column.ts";
import { type CompactReader, readCompact } from "./compact-reader.ts";
import { type Lattice, readLattice } from "./lattice.ts";
import { type LightReader, readLight } from "./light.ts";
import { BYTES, COMPACT, LIGHT, MULTIPLES } from "./page-format.ts";
import { ALONE, DELTA, LAGGED_REFERENCE, NONE, type Prediction, readPrediction } from "./prediction.ts";

/** A page, read but not decoded. */
export interface PageReader {
  source: ByteSource;
  type: NumberType;
  count: number;
  lattice: Lattice;
  prediction: Prediction;
  light?: LightReader;
  compact?: CompactReader;
  bytes?: { encoding: number; payload: Uint8Array };
  multiples?: { base: number; integers: PageReader; left: PageReader };
}

export function readPage(
  page: ByteSource,
  type: NumberType,
  count: number,
  dependencies: number,
): PageReader {
  const source = page.again();
  const method = source.u8();
  const backend = method >> 4;
  const kind = method & 15;
  const none: Lattice = { exponent: undefined, misfits: new Uint32Array(0), misfitBytes: new Uint8Array(0) };
  if (method === BYTES << 4) {
    const bytes = { encoding: source.u8(), payload: source.bytes(source.left) };
    return { source: page, type, count, lattice: none, prediction: { kind: NONE, ...ALONE }, bytes };
  }
  if (method === MULTIPLES << 4 && type === "f64") {
    const multiples = readMultiples(source, count);
    return { source: page, type, count, lattice: none, prediction: { kind: NONE, ...ALONE }, multiples };
  }
  const knows = backend === COMPACT ? LAGGED_REFERENCE : backend === LIGHT ? DELTA : -1;
  if (kind > knows) throw page.corrupt(`unknown method ${method}`);
  const lattice = readLattice(source, type, count);
  const prediction = readPrediction(source, kind, dependencies);
  const read: PageReader = { source: page, type, count, lattice, prediction };
  if (backend === LIGHT) read.light = readLight(source, kind, count);
  else read.compact = readCompact(source, kind, count, dependencies);
  return read;
}

function readMultiples(source: ByteSource, count: number): NonNullable<PageReader["multiples"]> {
  const base = new DataView(source.bytes(8).slice().buffer).getFloat64(0, true);
  const first = source.part(source.varint(source.left));
  const second = source.part(source.left);
  return { base, integers: readPage(first, "i64", count, 0), left: readPage(second, "i64", count, 0) };
}

/** Which dependencies must be decoded first. */
export function dependenciesOf({ prediction, compact }: PageReader): number[] {
  const needed = new Set<number>();
  if (prediction.of >= 0) needed.add(prediction.of);
  for (const { of } of compact?.contexts ?? []) needed.add(of);
  return [...needed];
}
