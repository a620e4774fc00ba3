import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import { BINS_MAX, type Bin, binTable } from "./bins.ts";
import type { ByteSource } from "./byte-source.ts";
import { contextCount, GROUP_ROWS, LANES_MAX, ownClasses, unzigzag } from "./compact-format.ts";
import {
  CONTEXTS_MAX,
  type ContextSource,
  classCount,
  classify,
  readContextSource,
  SOURCES_MAX,
} from "./contexts.ts";
import { besideOf } from "./copying.ts";
import { unpackFrequencies } from "./frequencies.ts";
import { needsBefore, type Start } from "./prediction.ts";

/** A compact page, read but not decoded. */
export interface CompactReader {
  contexts: ContextSource[];
  groupRows: number;
  /** What raw bits are multiplied by, and how many a row may have. */
  divisor: bigint;
  widest: number;
  /** Where each group starts from. */
  starts: Start[];
  /** Lays the page's tables; to be called before its groups are decoded, with nothing else decoded in between. */
  prepare(kernels: ColumnKernels): void;
  /** Decodes the bins of a group to `tokens`; `columns` are the addresses of the contexts' integers, of all the page. */
  decodeBins(kernels: ColumnKernels, group: number, columns: readonly number[]): void;
  /** Lays the raw bits of a group where `packed` is; returns their address. */
  layRawBits(kernels: ColumnKernels, group: number): number;
  /** Refuses a group that took another number of raw bits, or more of them where only a part was read. */
  checkRawBits(group: number, read: number, whole: boolean): void;
}

/** Where the lanes of a stream begin. */
const STATES_BYTES_MAX = LANES_MAX * 4;
/** Modes of `columnDecode`. */
const MODE = { both: 0, plain: 1, classAlone: 2, othersAlone: 3 };

export function readCompact(
  source: ByteSource,
  kind: number,
  count: number,
  dependencies: number,
): CompactReader {
  const spacing = { offset: unzigzag(source.varint64()), divisor: BigInt.asIntN(64, source.varint64()) };
  const bins = readBins(source);
  const widest = Math.max(...bins.map(({ bits }) => bits));
  const contexts: ContextSource[] = [];
  let classes: Uint8Array | undefined;
  let bits = 0;
  let total = 1;
  let frequencies: Uint16Array = new Uint16Array(0);
  if (bins.length > 1) {
    const settings = source.u8();
    bits = (settings >> 4) + 8;
    const sources = (settings >> 1) & 7;
    if (bits > 12 || sources > SOURCES_MAX) throw source.corrupt(`settings ${settings}`);
    for (let i = 0; i < sources; i++) contexts.push(readContextSource(source, dependencies));
    if (settings & 1) {
      classes = source.bytes(bins.length);
      if (classes.some((own) => own >= 8)) throw source.corrupt("a class over 7");
    }
    total = contextCount({ sources: contexts, classes });
    if (total > CONTEXTS_MAX) throw source.corrupt(`${total} contexts`);
    frequencies = unpackFrequencies(source, total, bins.length);
  }
  const grouped = source.u8();
  if (grouped > 1) throw source.corrupt(`groups ${grouped}`);
  const groupRows = grouped ? GROUP_ROWS : 65_536;
  const heads: { streamBytes: number; rawBits: number }[] = [];
  const starts: Start[] = [];
  for (let row = 0; row < count; row += groupRows) {
    const start = { before: 0n, step: 0n };
    if (needsBefore(kind)) {
      start.before = unzigzag(source.varint64());
      start.step = unzigzag(source.varint64());
    }
    starts.push(start);
    // A row takes in at most a word: so far the kernels may read.
    const streamBytes = source.varint(STATES_BYTES_MAX + Math.min(groupRows, count - row) * 2);
    heads.push({ streamBytes, rawBits: source.varint(groupRows * 64) });
  }
  const streams = heads.map(({ streamBytes }) => source.part(streamBytes));
  const raws = heads.map(({ rawBits }) => source.part(Math.ceil(rawBits / 8)));
  source.finish();
  const table = binTable(bins, classes, spacing.offset, spacing.divisor);
  const own = ownClasses(classes);
  const isAlone = contexts.length === 0;
  const mode =
    total === 1 ? MODE.plain : isAlone ? MODE.classAlone : own === 1 ? MODE.othersAlone : MODE.both;
  const rowsOf = (group: number) => Math.min(groupRows, count - group * groupRows);
  return {
    contexts,
    groupRows,
    divisor: spacing.divisor,
    widest,
    starts,
    prepare({ exports, memory, at }) {
      memory.set(table, at.bins);
      if (bins.length === 1) {
        memory.fill(0, at.tokens, at.tokens + Math.min(groupRows, count));
        return;
      }
      const tables = new Uint16Array(memory.buffer, at.frequencies, total * 256);
      for (let context = 0; context < total; context++) {
        tables.set(frequencies.subarray(context * bins.length, (context + 1) * bins.length), context * 256);
      }
      if (!exports.columnTables(total, bins.length, bits, 1)) {
        throw streams[0]!.corrupt("its frequencies do not add up");
      }
    },
    decodeBins(kernels, group, columns) {
      if (bins.length === 1) return;
      const { exports, memory, at } = kernels;
      const rows = rowsOf(group);
      if (mode === MODE.both || mode === MODE.othersAlone) {
        layRowContexts(kernels, contexts, columns, group * groupRows, rows);
        if (own > 1) exports.columnMixContexts(at.context, 0, rows, own);
      }
      const bytes = streams[group]!.rest();
      const from = besideOf(at.packed, bytes);
      memory.set(bytes, from);
      if (!exports.columnDecode(rows, bits, mode, from, from + bytes.length)) {
        throw streams[group]!.corrupt("its stream of bins is none");
      }
    },
    layRawBits({ memory, at }, group) {
      const bytes = raws[group]!.rest();
      const to = besideOf(at.packed, bytes);
      memory.set(bytes, to);
      return to;
    },
    checkRawBits(group, read, whole) {
      const { rawBits } = heads[group]!;
      if (whole ? read === rawBits : read <= rawBits) return;
      throw raws[group]!.corrupt(`${rawBits} raw bits are named, ${read} are needed`);
    },
  };
}

/** Contexts of rows from `row` on, by the other columns alone, to `context`. */
function layRowContexts(
  kernels: ColumnKernels,
  contexts: readonly ContextSource[],
  columns: readonly number[],
  row: number,
  rows: number,
): void {
  const { exports, at } = kernels;
  contexts.forEach((context, i) => {
    const target = i === 0 ? at.context : at.spare;
    classify(kernels, context, columns[i]! + row * 8, rows, row === 0, target);
    if (i > 0) exports.columnMixContexts(at.context, at.spare, rows, classCount(context));
  });
}

function readBins(source: ByteSource): Bin[] {
  const count = source.u8();
  if (count === 0 || count > BINS_MAX) throw source.corrupt(`${count} bins`);
  const bins: Bin[] = [];
  let lower = 0n;
  for (let i = 0; i < count; i++) {
    const step = source.varint64();
    lower = BigInt.asIntN(64, i === 0 ? unzigzag(step) : lower + step);
    const bits = source.u8();
    if (bits > 64) throw source.corrupt(`a bin of ${bits} bits`);
    bins.push({ lower, bits });
  }
  return bins;
}
