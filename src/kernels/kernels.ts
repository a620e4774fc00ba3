import { readFile } from "node:fs/promises";
import { builtFile } from "../built.ts";

/** The part of the platform's WebAssembly that is used here: the ES library has no types for it. */
interface WebAssemblyMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    compile(bytes: Uint8Array): Promise<object>;
    instantiate(module: object, imports: object): Promise<{ exports: object }>;
    RuntimeError: ErrorConstructor;
  };
};

/** What the WebAssembly module exports; addresses are byte offsets into its memory. */
export interface KernelExports {
  memory: WebAssemblyMemory;
  addressOf(region: number): number;
  xorInto(target: number, a: number, b: number, sizeBytes: number): void;
  splitPlanes(source: number, target: number, count: number, width: number): void;
  joinPlanes(source: number, target: number, count: number, width: number): void;
  cutScan(at: number, end: number, mask: number): number;
  cutReset(): void;
  cutWarm(at: number, end: number): void;
  gearAt(index: number): number;
  histogram(plane: number, count: number): number;
  frequencyTable(): number;
  useFrequencies(decoding: number): number;
  bytesEncode(plane: number, count: number): number;
  bytesDecode(plane: number, count: number, sizeBytes: number): number;
  sparseList(plane: number, count: number, value: number, values: number): number;
  sparseFill(plane: number, count: number, value: number, gapCount: number, valueCount: number): number;
  huffmanLengths(): number;
  huffmanPlan(counts: number): number;
  huffmanUse(decoding: number): number;
  huffmanEncode(from: number, count: number, out: number): number;
  huffmanDecode(
    plane: number,
    count: number,
    at: number,
    a: number,
    b: number,
    c: number,
    sizeBytes: number,
  ): number;
  streamEnd(): number;
  turn(sizeBytes: number, width: number): void;
  turnBack(sizeBytes: number, width: number): void;
  differ(sizeBytes: number, width: number, float: number): void;
  addBack(sizeBytes: number, width: number, float: number): void;
  packedSetup(float: number, mantissa: number, exponents: number): void;
  packedTop(): number;
  packedSetTop(exponent: number): void;
  packedPlan(count: number, width: number): void;
  packedLowBytes(): number;
  packedMapped(): number;
  packedUnchanged(): number;
  packedWidths(): number;
  packedWrite(count: number, width: number, low: number, mapped: number): number;
  packedBits(): number;
  packedChanged(): number;
  packedGaps(): number;
  packedGapBytes(): number;
  packedHighs(): number;
  packedHighBytes(): number;
  packedLanes(): number;
  packedLaneBytes(): number;
  packedCountPatches(at: number, sizeBytes: number): number;
  packedCountLanes(at: number, count: number): number;
  packedRead(
    count: number,
    width: number,
    low: number,
    mapped: number,
    bits: number,
    sizeBytes: number,
  ): number;
  packedPatch(
    count: number,
    width: number,
    low: number,
    at: number,
    gapBytes: number,
    patches: number,
  ): number;
  residualSetup(float: number, mantissa: number, exponents: number, drift: number): void;
  residualExponent(count: number, width: number): void;
  mapChanged(count: number, width: number): number;
  coderSetup(threshold: number, relative: number, zeros: number, width: number): void;
  sampleMark(count: number, width: number, mapped: number, most: number): void;
  samplePrepare(count: number, width: number): void;
  sampleThreshold(width: number, relative: number): number;
  sampleCost(width: number): number;
  residualEncode(count: number, width: number, mapped: number): void;
  encodedTables(): number;
  encodedTablesBytes(): number;
  encodedStream(): number;
  encodedStreamBytes(): number;
  encodedRawBits(): number;
  residualDecode(count: number, width: number, mapped: number, coded: number, codedBytes: number): number;
}

/**
 * The kernels and the memory they work in: fixed regions that each hold a chunk of the largest size. One per thread.
 *
 * A region's contents last until the next call that names the region as its target; nothing else is promised.
 */
export interface Kernels {
  readonly exports: KernelExports;
  /** The whole memory; it never grows after loading, so views of it stay valid. */
  readonly memory: Uint8Array<ArrayBuffer>;
  /** Addresses of the regions. `bits` holds raw low bits, every other one a chunk of CHUNK_BYTES_MAX and some slack. */
  readonly at: Readonly<Record<(typeof REGIONS)[number], number>>;
}

const REGIONS = ["input", "base", "base2", "work", "output", "bits", "end"] as const;
const PAGE_BYTES = 65_536;

export async function loadKernels(): Promise<Kernels> {
  compiling ??= compile();
  const instance = await WebAssembly.instantiate(await compiling, { env: { abort: aborted } });
  const exports = instance.exports as KernelExports;
  const at = Object.fromEntries(
    REGIONS.map((name, region) => [name, exports.addressOf(region)]),
  ) as Kernels["at"];
  const missingPages = Math.ceil((at.end - exports.memory.buffer.byteLength) / PAGE_BYTES);
  if (missingPages > 0) exports.memory.grow(missingPages);
  return { exports, memory: new Uint8Array(exports.memory.buffer), at };
}

/** Compiled once a thread, however many memories it works in. */
let compiling: Promise<object> | undefined;

async function compile(): Promise<object> {
  try {
    return await WebAssembly.compile(await readFile(new URL(builtFile(import.meta.url, "kernels.wasm"))));
  } catch (error) {
    // What hindered it (too many open files) may be over by the next time.
    compiling = undefined;
    throw error;
  }
}

function aborted(): never {
  throw new WebAssembly.RuntimeError("kernel aborted");
}
