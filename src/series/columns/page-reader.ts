import type { Codec } from "../../codec/codec.ts";
import { StoreError } from "../../errors.ts";
import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import type { ByteSource } from "./byte-source.ts";
import { type NumberType, numberWidth } from "./column.ts";
import { type CompactReader, readCompact } from "./compact-reader.ts";
import { classify } from "./contexts.ts";
import { fromLattice, type Lattice, placeMisfits, readLattice, TYPE_CODE } from "./lattice.ts";
import { BLOCK_ROWS, type LightReader, readLight } from "./light.ts";
import { BYTES, COMPACT, LIGHT } from "./page-format.ts";
import {
  ALONE,
  DELTA,
  LAGGED_REFERENCE,
  layReference,
  NONE,
  needsReference,
  type Prediction,
  readPrediction,
} from "./prediction.ts";

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
}

/** Where a page's dependencies come from. */
export interface Dependencies {
  /** Integers of a dependency's page; good until the next one is decoded. */
  integersOf(dependency: number): BigInt64Array;
  /** Grows when one is decoded. */
  readonly decoded: number;
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
  const knows = backend === COMPACT ? LAGGED_REFERENCE : backend === LIGHT ? DELTA : -1;
  if (kind > knows) throw page.corrupt(`unknown method ${method}`);
  const lattice = readLattice(source, type, count);
  const prediction = readPrediction(source, kind, dependencies);
  const read: PageReader = { source: page, type, count, lattice, prediction };
  if (backend === LIGHT) read.light = readLight(source, kind, count);
  else read.compact = readCompact(source, kind, count, dependencies);
  return read;
}

/** Which dependencies must be decoded first. */
export function dependenciesOf({ prediction, compact }: PageReader): number[] {
  const needed = new Set<number>();
  if (prediction.of >= 0) needed.add(prediction.of);
  for (const { of } of compact?.contexts ?? []) needed.add(of);
  return [...needed];
}

/** Decodes rows [from, to) into `out`, the bytes of as many numbers. */
export function decodePage(
  kernels: ColumnKernels,
  codec: Codec,
  page: PageReader,
  from: number,
  to: number,
  dependencies: Dependencies,
  out: Uint8Array,
): void {
  const { type, lattice } = page;
  const width = numberWidth(type);
  if (page.bytes) {
    const whole = from === 0 && to === page.count;
    const raw = whole ? out : new Uint8Array(page.count * width);
    decodeBytes(codec, page, raw);
    if (!whole) out.set(raw.subarray(from * width, to * width));
    return;
  }
  const { memory, at } = kernels;
  const isPlain = type === "i64" || type === "u64";
  if (page.light && (isPlain || (type === "f64" && lattice.exponent !== undefined))) {
    // Straight to the values: integers need no narrowing, and decimals are made block by block.
    const scale = isPlain ? 0 : 10 ** lattice.exponent!;
    page.light.decode(kernels, from, to, scale, at.source);
    const first = at.source + (from % BLOCK_ROWS) * 8;
    out.set(memory.subarray(first, first + (to - from) * 8));
    placeMisfits(type, lattice, from, to, out);
    return;
  }
  const first = decodeIntegers(kernels, codec, page, from, to, dependencies);
  memory.copyWithin(at.lattice, at.lattice + (from - first) * 8, at.lattice + (to - first) * 8);
  fromLattice(kernels, type, lattice, from, to, out);
}

function decodeBytes(codec: Codec, { bytes, type, source }: PageReader, out: Uint8Array): void {
  try {
    codec.decode({ ...bytes!, element: type, bases: [] }, out);
  } catch (error) {
    if (error instanceof StoreError) throw source.corrupt(error.message);
    throw error;
  }
}

/** Integers from some row at or before `from` on to `lattice`, through `to`; returns that row. */
export function decodeIntegers(
  kernels: ColumnKernels,
  codec: Codec,
  page: PageReader,
  from: number,
  to: number,
  dependencies: Dependencies,
): number {
  const { exports, memory, at } = kernels;
  const { prediction, compact, light, count } = page;
  if (light) {
    light.decode(kernels, from, to, 0, at.lattice);
    return from - (from % BLOCK_ROWS);
  }
  if (!compact) {
    decodeBytes(codec, page, memory.subarray(at.source, at.source + count * numberWidth(page.type)));
    exports.columnWiden(at.source, at.lattice, count, TYPE_CODE[page.type]);
    return 0;
  }
  const { groupRows } = compact;
  const first = Math.floor(from / groupRows);
  // Decoding others uses the same memory: they come first.
  const needed = obtain(dependenciesOf(page), dependencies);
  const classes = compact.contexts.map((context) => {
    memory.set(asBytes(needed.get(context.of)!), at.source);
    classify(kernels, context, at.source, count, at.spare);
    return memory.slice(at.spare, at.spare + count);
  });
  if (needsReference(prediction.kind)) {
    memory.set(asBytes(needed.get(prediction.of)!), at.source);
    layReference(kernels, prediction, at.source, count);
  }
  compact.prepare(kernels);
  for (let group = first; group * groupRows < to; group++) {
    const row = group * groupRows;
    const rows = Math.min(groupRows, count - row);
    const { before, step } = compact.decode(
      kernels,
      group,
      classes.map((all) => all.subarray(row, row + rows)),
    );
    const reference = at.reference + row * 8;
    const target = at.lattice + (row - first * groupRows) * 8;
    exports.columnRestore(
      prediction.kind,
      at.residual,
      reference,
      target,
      rows,
      before,
      step,
      row === 0 ? 1 : 0,
    );
  }
  return first * groupRows;
}

/** How often it is tried to find all dependencies decoded, before they are copied. */
const OBTAIN_TRIES = 3;

/** Integers of all dependencies at once: decoding one may write over another, which is then decoded again. */
function obtain(needed: readonly number[], dependencies: Dependencies): Map<number, BigInt64Array> {
  for (let attempt = 0; attempt < OBTAIN_TRIES; attempt++) {
    const before = dependencies.decoded;
    const found = new Map(needed.map((of) => [of, dependencies.integersOf(of)]));
    if (dependencies.decoded === before || needed.length === 1) return found;
  }
  return new Map(needed.map((of) => [of, dependencies.integersOf(of).slice()]));
}

const asBytes = (integers: BigInt64Array) =>
  new Uint8Array(integers.buffer, integers.byteOffset, integers.byteLength);
