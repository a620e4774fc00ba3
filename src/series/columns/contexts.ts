import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import type { ByteSink } from "./byte-sink.ts";
import type { ByteSource } from "./byte-source.ts";

/**
 * What a bin's frequencies may hang on, beside the bin before: another column's row, in classes by the size of its
 * change or by its value.
 */
export interface ContextSource {
  /** The other column's place among the pages of the segment; when read, the number of the dependency. */
  of: number;
  /** Sizes of a change in bits (of its zigzag) past which the next class begins. */
  edges?: [number, number, number];
  /** Values by class. */
  values?: bigint[];
}

/** Tables of frequencies a page may have, as the kernels have room for. */
export const CONTEXTS_MAX = 32;
/** Other columns one page may hang on by its contexts. */
export const SOURCES_MAX = 2;
const VALUES_MAX = 8;
/** Classes of the bin before. */
const CLASSES_MAX = 5;

const CHANGE = 0;
const VALUE = 1;

export const classCount = (source: ContextSource) => source.values?.length ?? 4;

/** Classes of `count` rows of integers at an address, to another; before the page's `first` rows lie none. */
export function classify(
  kernels: ColumnKernels,
  source: ContextSource,
  from: number,
  count: number,
  first: boolean,
  to: number,
): void {
  const { exports, memory, at } = kernels;
  if (source.edges) {
    exports.columnClasses(from, count, first ? 1 : 0, ...source.edges, to);
    return;
  }
  const values = source.values!;
  new BigInt64Array(memory.buffer, at.counts, values.length).set(values);
  exports.columnValueClasses(from, count, at.counts, values.length, to);
}

export function writeContextSource(sink: ByteSink, source: ContextSource, dependency: number): void {
  sink.varint(dependency).u8(source.edges ? CHANGE : VALUE);
  if (source.edges) {
    for (const edge of source.edges) sink.u8(edge);
    return;
  }
  sink.u8(source.values!.length);
  for (const value of source.values!) sink.varint64(value);
}

export function readContextSource(source: ByteSource, dependencies: number): ContextSource {
  const of = source.varint(dependencies - 1);
  const kind = source.u8();
  if (kind === CHANGE) return { of, edges: [source.u8(), source.u8(), source.u8()] };
  if (kind !== VALUE) throw source.corrupt(`unknown context ${kind}`);
  const count = source.u8();
  if (count < 1 || count > VALUES_MAX) throw source.corrupt(`a context of ${count} values`);
  return { of, values: Array.from({ length: count }, () => BigInt.asIntN(64, source.varint64())) };
}

/** Rows of the sample that classes are made from. */
const SAMPLE_ROWS = 2048;

/** The ways in which a column may serve as a context, from a sample of its integers. */
export function contextsOf(of: number, sample: BigInt64Array): ContextSource[] {
  const values = new Set<bigint>();
  const sizes: number[] = [];
  const rows = Math.min(sample.length, SAMPLE_ROWS);
  const words = new Int32Array(sample.buffer, sample.byteOffset, rows * 2);
  for (let i = 1; i < rows; i++) {
    if (words[2 * i] === words[2 * i - 2] && words[2 * i + 1] === words[2 * i - 1]) continue;
    if (values.size <= VALUES_MAX) values.add(sample[i - 1]!).add(sample[i]!);
    const change = BigInt.asIntN(64, sample[i]! - sample[i - 1]!);
    sizes.push(Math.floor(Math.log2(Math.abs(Number(change)))) + 2);
  }
  const sources: ContextSource[] = [];
  if (sizes.length === 0) return sources;
  sizes.sort((a, b) => a - b);
  const edge = (share: number) => Math.min(sizes[Math.floor((sizes.length - 1) * share)]!, 64);
  const unchanged = rows - 1 - sizes.length;
  if (unchanged > 4) sources.push({ of, edges: [0, edge(0.33), edge(0.66)] });
  if (unchanged < rows / 8) sources.push({ of, edges: [edge(0.25), edge(0.5), edge(0.75)] });
  if (values.size <= VALUES_MAX) sources.push({ of, values: [...values] });
  return sources;
}

/**
 * Classes of bins for the bin after: by how far they lie from 0, in equal shares; few bins are a class each. `counts`
 * says how often each occurs.
 */
export function binClasses(middles: readonly number[], counts: Uint32Array): Uint8Array {
  const classes = new Uint8Array(middles.length);
  if (middles.length <= CLASSES_MAX) return classes.map((_, i) => i);
  const order = middles.map((_, i) => i).sort((a, b) => Math.abs(middles[a]!) - Math.abs(middles[b]!));
  let total = 0;
  for (const i of order) total += counts[i]!;
  const share = total / CLASSES_MAX;
  let current = 0;
  let held = 0;
  for (const i of order) {
    if (held > 0 && held + counts[i]! / 2 > share && current < CLASSES_MAX - 1) {
      current++;
      held = 0;
    }
    classes[i] = current;
    held += counts[i]!;
  }
  return classes;
}
