import { invariant } from "../assert.ts";
import { loadKernels } from "./kernels.ts";

/** What the column kernels export; addresses are byte offsets into their memory, i64 are bigints. */
export interface ColumnKernelExports {
  memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  columnsAddressOf(region: number): number;
  columnWiden(from: number, to: number, count: number, type: number): void;
  columnNarrow(from: number, to: number, count: number, type: number): void;
  columnToDecimal(
    from: number,
    to: number,
    count: number,
    scale: number,
    single: number,
    misfits: number,
    most: number,
  ): number;
  columnFromDecimal(from: number, to: number, count: number, scale: number, single: number): void;
  columnUlps(from: number, predicted: number, to: number, count: number): void;
  columnFromUlps(from: number, predicted: number, to: number, count: number): void;
  columnToMultiples(from: number, to: number, left: number, count: number, base: number): void;
  columnFromMultiples(from: number, left: number, to: number, count: number, base: number): void;
  columnFromAverage(
    from: number,
    x: number,
    to: number,
    count: number,
    alpha: number,
    beta: number,
    before: number,
  ): void;
  columnScale(
    from: number,
    to: number,
    count: number,
    multiplier: bigint,
    divisor: number,
    origin: bigint,
  ): void;
  columnPredict(
    kind: number,
    x: number,
    y: number,
    to: number,
    count: number,
    before: bigint,
    step: bigint,
  ): void;
  columnRestore(
    kind: number,
    r: number,
    y: number,
    x: number,
    count: number,
    before: bigint,
    step: bigint,
    first: number,
  ): void;
  columnDivisor(r: number, count: number): bigint;
  columnDivide(r: number, count: number, offset: bigint, divisor: bigint): void;
  columnSort(from: number, spare: number, count: number): number;
  columnCells(sorted: number, count: number, size: number, ends: number, most: number): number;
  columnCost(r: number, count: number, center: bigint, logs: number): number;
  columnTokens(r: number, count: number, bins: number, tokens: number): void;
  columnPutRaw(r: number, tokens: number, count: number, to: number): number;
  columnValues(
    tokens: number,
    count: number,
    from: number,
    bit: number,
    multiplier: bigint,
    widest: number,
    summed: number,
    before: bigint,
    to: number,
  ): number;
  columnRows(
    kind: number,
    tokens: number,
    count: number,
    raw: number,
    bit: number,
    widest: number,
    y: number,
    first: number,
    keep: number,
    made: number,
    width: number,
    to: number,
  ): number;
  columnMake(from: number, to: number, count: number, made: number): void;
  columnCount(tokens: number, context: number, count: number, byClass: number, lane: number): void;
  columnCountedCost(contexts: number, bins: number, logs: number): number;
  columnClasses(
    y: number,
    count: number,
    first: number,
    edge0: number,
    edge1: number,
    edge2: number,
    to: number,
  ): void;
  columnValueClasses(y: number, count: number, values: number, most: number, to: number): void;
  columnMixContexts(context: number, more: number, count: number, by: number): void;
  columnTables(contexts: number, bins: number, bits: number, decoding: number): number;
  columnEncode(
    tokens: number,
    context: number,
    count: number,
    bits: number,
    byClass: number,
    end: number,
  ): number;
  columnDecode(count: number, bits: number, mode: number, at: number, end: number): number;
  columnPlanBlock(r: number, count: number, spare: number, plan: number): void;
  columnPack(r: number, count: number, least: bigint, width: number, outliers: number, to: number): number;
  columnUnpackBlocks(
    table: number,
    packed: number,
    packedBytes: number,
    blocks: number,
    delta: number,
    multiplier: bigint,
    made: number,
    scale: number,
    to: number,
  ): number;
}

const REGIONS = [
  "source",
  "lattice",
  "reference",
  "residual",
  "spare",
  "packed",
  "tokens",
  "context",
  "bins",
  "frequencies",
  "counts",
  "logs",
  "rowsState",
  "kept",
  "end",
] as const;

/** Rows of a page: what the column kernels work on at once. */
export const PAGE_ROWS = 65_536;

/** The column kernels and their memory; one per thread. Regions last until the next call that writes them. */
export interface ColumnKernels {
  readonly exports: ColumnKernelExports;
  readonly memory: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly at: Readonly<Record<Exclude<(typeof REGIONS)[number], "logs">, number>>;
  /** Address of the table of n·log2(n) for n up to `PAGE_ROWS`; made when it is first asked for: only encoders do. */
  logs(): number;
}

const WASM_PAGE_BYTES = 65_536;

/** Loads them with memory of their own: about 38 MB, of which what is not touched costs nothing. */
export async function loadColumnKernels(): Promise<ColumnKernels> {
  const { exports: all, at: others } = await loadKernels();
  const exports = all as unknown as ColumnKernelExports;
  const { logs: logsAt, ...at } = Object.fromEntries(
    REGIONS.map((name, region) => [name, exports.columnsAddressOf(region)]),
  ) as Record<(typeof REGIONS)[number], number>;
  invariant(others.end <= at.source, "the column kernels' memory begins where that of the others ends");
  const missing = Math.ceil((at.end - exports.memory.buffer.byteLength) / WASM_PAGE_BYTES);
  if (missing > 0) exports.memory.grow(missing);
  const { buffer } = exports.memory;
  let made = false;
  const logs = () => {
    if (!made) fillLogs(new Float64Array(buffer, logsAt, PAGE_ROWS + 1));
    made = true;
    return logsAt;
  };
  return { exports, memory: new Uint8Array(buffer), view: new DataView(buffer), at, logs };
}

function fillLogs(logs: Float64Array): void {
  for (let n = 1; n < logs.length; n++) logs[n] = n * Math.log2(n);
}
