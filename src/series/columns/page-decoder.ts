import type { Codec } from "../../codec/codec.ts";
import { StoreError } from "../../errors.ts";
import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import { bytesOf, numberWidth } from "./column.ts";
import { besideOf } from "./copying.ts";
import { madeOf, placeMisfits, TYPE_CODE } from "./lattice.ts";
import { BLOCK_ROWS, MADE_DECIMALS, MADE_INTEGERS, MADE_ORDERED } from "./light.ts";
import { fromMultiples } from "./multiples.ts";
import { dependenciesOf, type PageReader } from "./page-reader.ts";

/** Where a page's dependencies come from. */
export interface Dependencies {
  /** Address of a dependency's integers, those of its whole page; good until the next one is decoded. */
  integersOf(dependency: number): number;
  /** Grows when one is decoded. */
  readonly decoded: number;
}

/** Of pages without dependencies: they name none, as their reader has seen to. */
export const INDEPENDENT: Dependencies = { integersOf: () => 0, decoded: 0 };

/** Rows that are decoded before they are copied out: they stay in the nearer caches. */
const STRETCH_ROWS = 8192;

/**
 * Decodes rows [from, to) into `out`, the bytes of as many numbers. With `reserve`, all integers of the page are decoded to
 * the address that it gives as well; it is called once the dependencies are at hand.
 */
export function decodePage(
  kernels: ColumnKernels,
  codec: Codec,
  page: PageReader,
  from: number,
  to: number,
  dependencies: Dependencies,
  out: Uint8Array,
  reserve?: () => number,
): void {
  if (page.compact) decodeCompact(kernels, page, from, to, dependencies, out, reserve);
  else if (page.light) decodeLight(kernels, page, from, to, out);
  else if (page.multiples) decodeMultiples(kernels, codec, page, from, to, out);
  else {
    const whole = from === 0 && to === page.count;
    const width = numberWidth(page.type);
    const raw = whole ? out : new Uint8Array(page.count * width);
    decodeBytes(codec, page, raw);
    if (!whole) out.set(raw.subarray(from * width, to * width));
  }
  placeMisfits(page.type, page.lattice, from, to, out);
}

/** Decodes all integers of a page to the address that `reserve` gives. */
export function decodeIntegers(
  kernels: ColumnKernels,
  codec: Codec,
  page: PageReader,
  dependencies: Dependencies,
  reserve: () => number,
): void {
  const { exports, memory, at } = kernels;
  const { compact, light, count, type } = page;
  if (compact) decodeCompact(kernels, page, 0, count, dependencies, undefined, reserve);
  else if (light) {
    light.unpack(kernels, 0, Math.ceil(count / BLOCK_ROWS), MADE_INTEGERS, 0, at.lattice);
    memory.copyWithin(reserve(), at.lattice, at.lattice + count * 8);
  } else {
    const raw = memory.subarray(at.source, at.source + count * numberWidth(type));
    if (page.multiples) decodeMultiples(kernels, codec, page, 0, count, raw);
    else decodeBytes(codec, page, raw);
    exports.columnWiden(at.source, reserve(), count, TYPE_CODE[type]);
  }
}

/** Puts numbers of the integers at an address, those of rows [from, to), into `out`, their bytes. */
export function makeNumbers(
  kernels: ColumnKernels,
  { type, lattice }: PageReader,
  integers: number,
  from: number,
  to: number,
  out: Uint8Array,
): void {
  const { exports, memory, at } = kernels;
  const width = numberWidth(type);
  const made = madeOf(type, lattice);
  if (made === 0) {
    out.set(memory.subarray(integers, integers + (to - from) * 8));
    return;
  }
  const staging = besideOf(at.source, out);
  layScale(kernels, lattice.exponent);
  for (let row = from; row < to; row += STRETCH_ROWS) {
    const rows = Math.min(STRETCH_ROWS, to - row);
    exports.columnMake(integers + (row - from) * 8, staging, rows, made);
    out.set(memory.subarray(staging, staging + rows * width), (row - from) * width);
  }
  placeMisfits(type, lattice, from, to, out);
}

function decodeLight(
  kernels: ColumnKernels,
  { type, light, lattice }: PageReader,
  from: number,
  to: number,
  out: Uint8Array,
): void {
  const { exports, memory, at } = kernels;
  const width = numberWidth(type);
  const direct =
    type === "f64" ? (lattice.exponent === undefined ? MADE_ORDERED : MADE_DECIMALS) : MADE_INTEGERS;
  const made = madeOf(type, lattice);
  const scale = 10 ** (lattice.exponent ?? 0);
  if (made !== 0) layScale(kernels, lattice.exponent);
  const isDirect = made === 0 || type === "f64";
  const staging = besideOf(at.source, out);
  const blocksAtOnce = STRETCH_ROWS / BLOCK_ROWS;
  const end = Math.ceil(to / BLOCK_ROWS);
  for (let block = Math.floor(from / BLOCK_ROWS); block < end; block += blocksAtOnce) {
    const until = Math.min(block + blocksAtOnce, end);
    const row = block * BLOCK_ROWS;
    light!.unpack(kernels, block, until, direct, scale, isDirect ? staging : at.lattice);
    if (!isDirect) exports.columnMake(at.lattice, staging, (until - block) * BLOCK_ROWS, made);
    copyRows(memory, staging, row, until * BLOCK_ROWS, from, to, width, out);
  }
}

function decodeMultiples(
  kernels: ColumnKernels,
  codec: Codec,
  { multiples }: PageReader,
  from: number,
  to: number,
  out: Uint8Array,
): void {
  const { base, integers, left } = multiples!;
  const decoded = (page: PageReader) => {
    const values = new BigInt64Array(to - from);
    decodePage(kernels, codec, page, from, to, INDEPENDENT, bytesOf(values));
    return values;
  };
  fromMultiples(kernels, { base, integers: decoded(integers), left: decoded(left) }, out);
}

/** Copies those of rows [row, end), which lie at an address, that are among [from, to). */
function copyRows(
  memory: Uint8Array,
  address: number,
  row: number,
  end: number,
  from: number,
  to: number,
  width: number,
  out: Uint8Array,
): void {
  const first = Math.max(row, from);
  const last = Math.min(end, to);
  if (first >= last) return;
  const start = address + (first - row) * width;
  out.set(memory.subarray(start, start + (last - first) * width), (first - from) * width);
}

function decodeCompact(
  kernels: ColumnKernels,
  page: PageReader,
  from: number,
  to: number,
  dependencies: Dependencies,
  out: Uint8Array | undefined,
  reserve: (() => number) | undefined,
): void {
  const { exports, memory, at } = kernels;
  const { type, prediction, count, lattice } = page;
  const compact = page.compact!;
  const { groupRows } = compact;
  // Decoding others uses the same memory: they come first.
  const needed = obtain(kernels, page, dependencies);
  const columns = compact.contexts.map(({ of }) => needed.get(of)!);
  const reference = needed.get(prediction.of) ?? 0;
  const keep = reserve?.() ?? 0;
  const made = madeOf(type, lattice);
  const width = numberWidth(type);
  const staging = out ? besideOf(at.source, out) : at.source;
  compact.prepare(kernels);
  layRowsState(kernels, page);
  // What is kept is decoded whole.
  const firstGroup = keep === 0 ? Math.floor(from / groupRows) : 0;
  const end = keep === 0 ? to : count;
  for (let group = firstGroup; group * groupRows < end; group++) {
    compact.decodeBins(kernels, group, columns);
    const raw = compact.layRawBits(kernels, group);
    const { before, step } = compact.starts[group]!;
    kernels.view.setBigInt64(at.rowsState, before, true);
    kernels.view.setBigInt64(at.rowsState + 8, step, true);
    const groupEnd = Math.min((group + 1) * groupRows, count);
    let bit = 0;
    let row = group * groupRows;
    while (row < Math.min(groupEnd, end)) {
      const rows = Math.min(STRETCH_ROWS, groupEnd - row);
      bit = exports.columnRows(
        prediction.kind,
        at.tokens + row - group * groupRows,
        rows,
        raw,
        bit,
        compact.widest,
        reference === 0 ? 0 : reference + row * 8,
        row === 0 ? 1 : 0,
        keep === 0 ? 0 : keep + row * 8,
        made,
        width,
        out || keep === 0 ? staging : 0,
      );
      const lies = made === 0 && keep !== 0 ? keep + row * 8 : staging;
      if (out) copyRows(memory, lies, row, row + rows, from, to, width, out);
      row += rows;
    }
    compact.checkRawBits(group, bit, row === groupEnd);
  }
}

/** What `columnRows` and `columnMake` need to know, as columns-rows.ts lays it out. */
function layRowsState(kernels: ColumnKernels, { prediction, compact, lattice }: PageReader): void {
  const { view, at } = kernels;
  const { power, origin } = prediction;
  view.setBigInt64(at.rowsState + 16, compact!.divisor, true);
  view.setBigInt64(at.rowsState + 24, power > 0 ? 10n ** BigInt(power) : 1n, true);
  view.setFloat64(at.rowsState + 32, power < 0 ? 10 ** -power : 0, true);
  view.setBigInt64(at.rowsState + 40, origin, true);
  layScale(kernels, lattice.exponent);
}

function layScale({ view, at }: ColumnKernels, exponent: number | undefined): void {
  view.setFloat64(at.rowsState + 48, 10 ** (exponent ?? 0), true);
}

function decodeBytes(codec: Codec, { bytes, type, source }: PageReader, out: Uint8Array): void {
  try {
    codec.decode({ ...bytes!, element: type, bases: [] }, out);
  } catch (error) {
    if (error instanceof StoreError) throw source.corrupt(error.message);
    throw error;
  }
}

/** How often it is tried to find all dependencies decoded, before they are copied. */
const OBTAIN_TRIES = 3;

/** Addresses of all dependencies at once: decoding one may write over another, which is then decoded again. */
function obtain(
  { memory, at }: ColumnKernels,
  page: PageReader,
  dependencies: Dependencies,
): Map<number, number> {
  const needed = dependenciesOf(page);
  for (let attempt = 0; attempt < OBTAIN_TRIES; attempt++) {
    const before = dependencies.decoded;
    const found = new Map(needed.map((of) => [of, dependencies.integersOf(of)]));
    if (dependencies.decoded === before || needed.length === 1) return found;
  }
  // At most three: what this page is predicted from, and two contexts. Nothing else is decoded from here on.
  const copies = needed.map((of) => {
    const address = dependencies.integersOf(of);
    return memory.slice(address, address + page.count * 8);
  });
  const rooms = [at.lattice, at.reference, at.residual];
  return new Map(
    needed.map((of, i) => {
      memory.set(copies[i]!, rooms[i]!);
      return [of, rooms[i]!];
    }),
  );
}
