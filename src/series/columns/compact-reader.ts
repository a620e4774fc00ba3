import type { ColumnKernels } from "../../kernels/column-kernels.ts";
import { BINS_MAX, type Bin, binTable } from "./bins.ts";
import type { ByteSource } from "./byte-source.ts";
import { contextCount, GROUP_ROWS, ownClasses, unzigzag } from "./compact-format.ts";
import { CONTEXTS_MAX, type ContextSource, classCount, readContextSource, SOURCES_MAX } from "./contexts.ts";
import { unpackFrequencies } from "./frequencies.ts";
import { needsBefore, type Start } from "./prediction.ts";

/** A compact page, read but not decoded. */
export interface CompactReader {
  contexts: ContextSource[];
  groupRows: number;
  /** Lays the page's tables; to be called before its groups are decoded, with nothing else decoded in between. */
  prepare(kernels: ColumnKernels): void;
  /** Decodes the residuals of a group to `residual`; `rowClasses` are those of its rows, by context. */
  decode(kernels: ColumnKernels, group: number, rowClasses: readonly Uint8Array[]): Start;
}

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
  let frequencies = new Uint16Array(0);
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
    frequencies = new Uint16Array(total * 256);
    unpackFrequencies(source, total, bins.length, frequencies);
  }
  const grouped = source.u8();
  if (grouped > 1) throw source.corrupt(`groups ${grouped}`);
  const groupRows = grouped ? GROUP_ROWS : 65_536;
  const heads: { start: Start; streamBytes: number; rawBits: number }[] = [];
  for (let row = 0; row < count; row += groupRows) {
    const start = { before: 0n, step: 0n };
    if (needsBefore(kind)) {
      start.before = unzigzag(source.varint64());
      start.step = unzigzag(source.varint64());
    }
    heads.push({ start, streamBytes: source.varint(1 << 20), rawBits: source.varint(groupRows * 64) });
  }
  const streams = heads.map(({ streamBytes }) => source.part(streamBytes));
  const raws = heads.map(({ rawBits }) => source.part(Math.ceil(rawBits / 8)));
  source.finish();
  const table = binTable(bins, classes, spacing.offset, spacing.divisor);
  const plain = total === 1;
  const own = ownClasses(classes);
  const prepare = ({ exports, memory, at }: ColumnKernels) => {
    memory.set(table, at.bins);
    if (bins.length === 1) {
      memory.fill(0, at.tokens, at.tokens + Math.min(groupRows, count));
      return;
    }
    new Uint16Array(memory.buffer, at.frequencies, frequencies.length).set(frequencies);
    if (!exports.columnTables(total, bins.length, bits, 1)) {
      throw streams[0]!.corrupt("its frequencies do not add up");
    }
  };
  const decode: CompactReader["decode"] = (kernels, group, rowClasses) => {
    const { exports, memory, at } = kernels;
    const head = heads[group]!;
    const rows = Math.min(groupRows, count - group * groupRows);
    if (bins.length > 1) {
      if (!plain) layRowContexts(kernels, contexts, rowClasses, own, rows);
      const bytes = streams[group]!.rest();
      const end = at.packed + bytes.length;
      memory.set(bytes, at.packed);
      if (!exports.columnDecode(at.tokens, at.context, rows, bits, plain ? 1 : 0, at.packed, end)) {
        throw streams[group]!.corrupt("its stream of bins is none");
      }
    }
    memory.set(raws[group]!.rest(), at.packed);
    const read = exports.columnValues(at.tokens, rows, at.packed, 0, spacing.divisor, widest, at.residual);
    if (read !== head.rawBits) {
      throw raws[group]!.corrupt(`${head.rawBits} raw bits are named, ${read} are needed`);
    }
    return head.start;
  };
  return { contexts, groupRows, prepare, decode };
}

function layRowContexts(
  { exports, memory, at }: ColumnKernels,
  contexts: readonly ContextSource[],
  rowClasses: readonly Uint8Array[],
  own: number,
  rows: number,
): void {
  memory.fill(0, at.context, at.context + rows);
  contexts.forEach((context, i) => {
    memory.set(rowClasses[i]!, at.spare);
    exports.columnMixContexts(at.context, at.spare, rows, classCount(context));
  });
  if (own > 1) exports.columnMixContexts(at.context, 0, rows, own);
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
