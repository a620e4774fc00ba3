import type { Codec } from "../../codec/codec.ts";
import { type ColumnKernels, PAGE_ROWS } from "../../kernels/column-kernels.ts";
import { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";
import { bytesOf, type NumberArray, type NumberType, numberWidth } from "./column.ts";
import { type ContextSource, classify } from "./contexts.ts";
import type { IntegerRing } from "./integer-ring.ts";
import { toLattice } from "./lattice.ts";
import { baseOf, toMultiples } from "./multiples.ts";
import { MULTIPLES } from "./page-format.ts";
import { type EncodedPage, encodePage, bytesOf as integerBytes, type Page } from "./page-writer.ts";
import { DEPTH_MAX, planPages } from "./plan.ts";
import { ALONE, NONE } from "./prediction.ts";

/** What encoding and decoding work with; one per thread. */
export interface Workbench {
  kernels: ColumnKernels;
  codec: Codec;
  kept: IntegerRing;
}

/** Numbers of a column, or of a part of one: nulls, lengths of texts. */
export interface NumberRun {
  name: string;
  type: NumberType;
  values: NumberArray;
}

export interface EncodedRun {
  /** How its first page is stored. */
  encoding: string;
  pages: Uint8Array[];
  /** Places in `runs` of those it depends on, as its pages number them. */
  dependencies: number[];
}

/**
 * Encodes runs, page by page. Runs of one length may be stored against each other: `dependencies` of their pages are
 * places in `runs`.
 */
export function encodeRuns(
  workbench: Workbench,
  runs: readonly NumberRun[],
  profile: "light" | "compact",
): EncodedRun[] {
  const encoded: EncodedRun[] = runs.map(() => ({ encoding: "empty", pages: [], dependencies: [] }));
  const count = runs[0]?.values.length ?? 0;
  for (let from = 0; from < count; from += PAGE_ROWS) {
    const pages = runs.map((run) => pageOf(workbench, run, from, Math.min(from + PAGE_ROWS, count)));
    encodePages(workbench, pages, profile, encoded);
  }
  return encoded;
}

function pageOf({ kernels }: Workbench, run: NumberRun, from: number, to: number): Page {
  const { memory, at } = kernels;
  const raw = bytesOf(run.values.subarray(from, to));
  memory.set(raw, at.source);
  const lattice = toLattice(kernels, run.type, to - from);
  const integers = new BigInt64Array(memory.buffer, at.lattice, to - from).slice();
  const { name, type } = run;
  return {
    name,
    type,
    count: to - from,
    raw,
    lattice,
    integers,
    prediction: { kind: NONE, ...ALONE },
    offered: [],
    isReference: false,
  };
}

function encodePages(
  workbench: Workbench,
  pages: Page[],
  profile: "light" | "compact",
  runs: EncodedRun[],
): void {
  const { kernels, codec } = workbench;
  const order = planPages(kernels, pages, profile);
  const depths = new Uint32Array(pages.length);
  const encoded = new Array<EncodedPage>(pages.length);
  const known = new Map<ContextSource, Uint8Array>();
  const classesOf = (source: ContextSource) => {
    const classes = known.get(source) ?? classesIn(kernels, pages[source.of]!, source);
    known.set(source, classes);
    return classes;
  };
  for (const column of order) {
    const page = pages[column]!;
    page.offered = page.offered.filter(({ of }) => depths[of]! < DEPTH_MAX && encoded[of]!.hasIntegers);
    const run = runs[column]!;
    const numberOf = (of: number) => {
      if (!run.dependencies.includes(of)) run.dependencies.push(of);
      return run.dependencies.indexOf(of);
    };
    const direct = encodePage(kernels, codec, page, profile, pages, classesOf, numberOf);
    encoded[column] = encodeMultiples(workbench, page, profile, direct.bytes.length) ?? direct;
    const { dependencies } = encoded[column]!;
    depths[column] = dependencies.reduce((deepest, of) => Math.max(deepest, depths[of]! + 1), 0);
  }
  encoded.forEach(({ encoding, bytes }, column) => {
    const run = runs[column]!;
    if (run.pages.length === 0) run.encoding = encoding;
    run.pages.push(bytes);
  });
}

/** Where multiples of a base take less than this of the page they replace: they are decoded in two steps. */
const MULTIPLES_SHARE_MAX = 0.9;
/** A page that takes less than this of its raw size is not tried as multiples. */
const MULTIPLES_TRIED_SHARE = 0.2;

/** A page of floats that are no decimals as multiples of a base, where that is well below `limitBytes`. */
function encodeMultiples(
  workbench: Workbench,
  { name, type, raw, count, lattice }: Page,
  profile: "light" | "compact",
  limitBytes: number,
): EncodedPage | undefined {
  if (type !== "f64" || lattice.exponent !== undefined) return undefined;
  if (limitBytes < raw.length * MULTIPLES_TRIED_SHARE) return undefined;
  const values = new Float64Array(raw.buffer, raw.byteOffset, count);
  const base = baseOf(values);
  if (base === undefined) return undefined;
  const { integers, left } = toMultiples(workbench.kernels, values, base);
  const part = (own: BigInt64Array) =>
    encodeRuns(workbench, [{ name, type: "i64", values: own }], profile)[0]!;
  const [first, second] = [part(integers), part(left)];
  const sink = new ByteSink().u8(MULTIPLES << 4).f64(base);
  sink.varint(first.pages[0]!.length).bytes(first.pages[0]!).bytes(second.pages[0]!);
  if (sink.length > limitBytes * MULTIPLES_SHARE_MAX) return undefined;
  const encoding = `multiples(${base}) ${first.encoding}, rest ${second.encoding}`;
  return { encoding, bytes: sink.finish(), dependencies: [], hasIntegers: true };
}

function classesIn(kernels: ColumnKernels, page: Page, source: ContextSource): Uint8Array {
  const { memory, at } = kernels;
  memory.set(integerBytes(page.integers), at.source);
  classify(kernels, source, at.source, page.count, true, at.spare);
  return memory.slice(at.spare, at.spare + page.count);
}

export function writeRun(sink: ByteSink, { pages }: EncodedRun): void {
  for (const page of pages) sink.varint(page.length);
  for (const page of pages) sink.bytes(page);
}

/** Where the pages of `count` numbers lie. */
export function numberPages(source: ByteSource, type: NumberType, count: number): ByteSource[] {
  const sizes: number[] = [];
  for (let from = 0; from < count; from += PAGE_ROWS)
    sizes.push(source.varint(PAGE_ROWS * numberWidth(type) * 2 + 65_536));
  return sizes.map((sizeBytes) => source.part(sizeBytes));
}
