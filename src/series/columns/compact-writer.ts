import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import { type Bin, binsFor, layBins } from "./bins.ts";
import type { ByteSink } from "./byte-sink.ts";
import {
  type ContextChoice,
  contextCount,
  GROUP_ROWS,
  laneRows,
  ownClasses,
  zigzag,
} from "./compact-format.ts";
import {
  binClasses,
  CONTEXTS_MAX,
  type ContextSource,
  classCount,
  SOURCES_MAX,
  writeContextSource,
} from "./contexts.ts";
import { costOf, packFrequencies, scaleCounts } from "./frequencies.ts";
import { needsBefore, type Prediction, type Spacing, type Start, startAt } from "./prediction.ts";

/** Shorter pages are one group: beginning anew costs about 60 bytes. */
const GROUPED_BYTES_MIN = 12_000;
/** Bits of a frequency's total in small tables, and how much of a stream's size with large ones they may cost. */
const TABLE_BITS_SMALL = 10;
const SMALL_TABLES_SHARE_MAX = 1.005;
/** Rows that contexts are compared on. */
const TRIAL_ROWS = 16_384;
/** A context must spare so many bits, and this share of what the page takes; another column also costs its decoding. */
const GAIN_BITS_MIN = 256;
const GAIN_SHARE_MIN = { self: 0.006, other: 0.018 };

export interface CompactPage {
  sink: (sink: ByteSink, dependencyOf: (column: number) => number) => void;
  contexts: ContextChoice;
  bins: number;
}

/** Classes of another column's rows of this page; the caller keeps them. */
export type ClassesOf = (source: ContextSource) => Uint8Array;

/**
 * Makes a page of the residuals at `residual`, with the integers still at `lattice` and their reference beside them.
 * `offered` are contexts that other columns can give.
 */
export function encodeCompact(
  kernels: ColumnKernels,
  prediction: Prediction,
  spacing: Spacing,
  count: number,
  offered: readonly ContextSource[],
  classesOf: ClassesOf,
): CompactPage {
  const { exports, memory, at } = kernels;
  const bins = binsFor(kernels, count);
  layBins(kernels, bins, undefined);
  exports.columnTokens(at.residual, count, bins.length, at.tokens);
  const choice =
    bins.length > 1
      ? chooseContexts(kernels, bins, count, offered, classesOf)
      : { sources: [], classes: undefined };
  layContexts(kernels, choice, count, classesOf);
  layBins(kernels, bins, choice.classes);
  const contexts = contextCount(choice);
  const grouped = estimateBytes(kernels, bins, contexts, count) >= GROUPED_BYTES_MIN;
  const groupRows = grouped ? GROUP_ROWS : 65_536;
  clearCounts(kernels, contexts);
  for (let row = 0; row < count; row += GROUP_ROWS) {
    const rows = Math.min(GROUP_ROWS, count - row);
    const lane = laneRows(rows, grouped ? rows : count);
    exports.columnCount(at.tokens + row, at.context + row, rows, choice.classes ? 1 : 0, lane);
  }
  const { bits, tables } = chooseTables(kernels, contexts, bins.length);
  tables.forEach((table, context) => {
    new Uint16Array(memory.buffer, at.frequencies + context * 512, bins.length).set(table);
  });
  exports.columnTables(contexts, bins.length, bits, 0);
  const groups = encodeGroups(kernels, prediction, choice, bits, count, groupRows, bins.length);
  return {
    contexts: choice,
    bins: bins.length,
    sink: (sink, dependencyOf) => {
      sink.varint64(zigzag(spacing.offset)).varint64(spacing.divisor);
      writeBins(sink, bins);
      if (bins.length > 1) {
        const hasClasses = choice.classes !== undefined;
        sink.u8((choice.sources.length << 1) | (hasClasses ? 1 : 0) | ((bits - 8) << 4));
        for (const source of choice.sources) writeContextSource(sink, source, dependencyOf(source.of));
        if (choice.classes) sink.bytes(choice.classes);
        sink.bytes(packFrequencies(tables));
      }
      sink.u8(grouped ? 1 : 0);
      for (const group of groups) {
        if (needsBefore(prediction.kind))
          sink.varint64(zigzag(group.start.before)).varint64(zigzag(group.start.step));
        sink.varint(group.stream.length).varint(group.rawBits);
      }
      for (const group of groups) sink.bytes(group.stream);
      for (const group of groups) sink.bytes(group.raw);
    },
  };
}

/**
 * The tables of what was counted. Small ones decode faster, since they stay in the nearest cache, and take less room where
 * rows are few; they are a little less exact.
 */
function chooseTables(
  { memory, at }: ColumnKernels,
  contexts: number,
  bins: number,
): { bits: number; tables: Uint16Array[] } {
  const counts = Array.from(
    { length: contexts },
    (_, context) => new Uint32Array(memory.buffer, at.counts + context * 1024, bins),
  );
  const [small, large] = [TABLE_BITS_SMALL, contexts <= 2 ? 12 : 11].map((bits) => {
    const tables = counts.map((own) => scaleCounts(own, bits));
    const stored = tables.reduce((sum, table, i) => sum + costOf(counts[i]!, table, bits), 0) / 8;
    return { bits, tables, sizeBytes: stored + packFrequencies(tables).length };
  });
  return small!.sizeBytes < large!.sizeBytes * SMALL_TABLES_SHARE_MAX ? small! : large!;
}

function clearCounts({ memory, at }: ColumnKernels, contexts: number): void {
  memory.fill(0, at.counts, at.counts + contexts * 1024);
}

interface Group {
  start: Start;
  stream: Uint8Array;
  rawBits: number;
  raw: Uint8Array;
}

function encodeGroups(
  kernels: ColumnKernels,
  prediction: Prediction,
  choice: ContextChoice,
  bits: number,
  count: number,
  groupRows: number,
  bins: number,
): Group[] {
  const { exports, memory, at } = kernels;
  const groups: Group[] = [];
  for (let row = 0; row < count; row += groupRows) {
    const rows = Math.min(groupRows, count - row);
    const start = startAt(kernels, prediction.kind, row, count);
    const byClass = choice.classes ? 1 : 0;
    const end = at.tokens & ~1;
    const stream =
      bins > 1
        ? memory.slice(exports.columnEncode(at.tokens + row, at.context + row, rows, bits, byClass, end), end)
        : new Uint8Array(0);
    const rawBits = exports.columnPutRaw(at.residual + row * 8, at.tokens + row, rows, at.packed);
    const raw = memory.slice(at.packed, at.packed + Math.ceil(rawBits / 8));
    groups.push({ start, stream, rawBits, raw });
  }
  return groups;
}

function estimateBytes(
  kernels: ColumnKernels,
  bins: readonly Bin[],
  contexts: number,
  count: number,
): number {
  const { exports, memory, at } = kernels;
  clearCounts(kernels, contexts);
  exports.columnCount(at.tokens, at.context, count, 0, count);
  let raw = 0;
  for (let context = 0; context < contexts; context++) {
    const counts = new Uint32Array(memory.buffer, at.counts + context * 1024, bins.length);
    bins.forEach((bin, i) => {
      raw += bin.bits * counts[i]!;
    });
  }
  return (raw + exports.columnCountedCost(contexts, bins.length, kernels.logs())) / 8;
}

/** Each row's context, but for the bin before. */
function layContexts(
  kernels: ColumnKernels,
  { sources, classes }: ContextChoice,
  count: number,
  classesOf: ClassesOf,
): void {
  const { exports, memory, at } = kernels;
  memory.fill(0, at.context, at.context + count);
  for (const source of sources) {
    memory.set(classesOf(source), at.spare);
    exports.columnMixContexts(at.context, at.spare, count, classCount(source));
  }
  if (classes) exports.columnMixContexts(at.context, 0, count, ownClasses(classes));
}

/** Takes, one after the other, the context that spares most while it spares enough. */
function chooseContexts(
  kernels: ColumnKernels,
  bins: readonly Bin[],
  count: number,
  offered: readonly ContextSource[],
  classesOf: ClassesOf,
): ContextChoice {
  const { exports, memory, at } = kernels;
  const rows = Math.min(count, TRIAL_ROWS);
  const scale = count / rows;
  const classes = classesFor(kernels, bins, count);
  layBins(kernels, bins, classes);
  const cost = (choice: ContextChoice) => {
    const contexts = contextCount(choice);
    layContexts(kernels, choice, rows, classesOf);
    clearCounts(kernels, contexts);
    exports.columnCount(at.tokens, at.context, rows, choice.classes ? 1 : 0, rows);
    // The tables cost the same however many rows there are.
    const tables = contexts * bins.length * 5;
    return (
      Math.max(exports.columnCountedCost(contexts, bins.length, kernels.logs()) - tables, 0) * scale + tables
    );
  };
  let best: ContextChoice = { sources: [], classes: undefined };
  let least = cost(best);
  const least0 = least + rawBitsOf(kernels, bins, memory, rows) * scale;
  for (;;) {
    let next: { choice: ContextChoice; bits: number } | undefined;
    const consider = (choice: ContextChoice, share: number) => {
      if (contextCount(choice) > CONTEXTS_MAX) return;
      const bits = cost(choice);
      if (least - bits < Math.max(GAIN_BITS_MIN, least0 * share)) return;
      if (next === undefined || bits < next.bits) next = { choice, bits };
    };
    if (best.classes === undefined) consider({ ...best, classes }, GAIN_SHARE_MIN.self);
    if (best.sources.length < SOURCES_MAX) {
      for (const source of offered) {
        if (best.sources.some(({ of }) => of === source.of)) continue;
        consider({ ...best, sources: [...best.sources, source] }, GAIN_SHARE_MIN.other);
      }
    }
    if (next === undefined) return best;
    best = (next as { choice: ContextChoice }).choice;
    least = (next as { bits: number }).bits;
  }
}

function rawBitsOf({ at }: ColumnKernels, bins: readonly Bin[], memory: Uint8Array, rows: number): number {
  let bits = 0;
  for (let i = 0; i < rows; i++) bits += bins[memory[at.tokens + i]!]!.bits;
  return bits;
}

function classesFor(kernels: ColumnKernels, bins: readonly Bin[], count: number): Uint8Array {
  const { exports, memory, at } = kernels;
  memory.fill(0, at.context, at.context + count);
  clearCounts(kernels, 1);
  exports.columnCount(at.tokens, at.context, count, 0, count);
  const counts = new Uint32Array(memory.buffer, at.counts, bins.length).slice();
  // Bins count from the most frequent one: residuals have no other middle, once offsets are taken off.
  let mode = 0;
  counts.forEach((n, i) => {
    if (n > counts[mode]!) mode = i;
  });
  const middles = bins.map(({ lower, bits }) => Number(lower - bins[mode]!.lower) + 2 ** bits / 2);
  return binClasses(middles, counts);
}

function writeBins(sink: ByteSink, bins: readonly Bin[]): void {
  sink.u8(bins.length);
  let last = 0n;
  bins.forEach(({ lower, bits }, i) => {
    sink.varint64(i === 0 ? zigzag(lower) : lower - last).u8(bits);
    last = lower;
  });
}
