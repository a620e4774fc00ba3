import { readFile } from "node:fs/promises";
import { builtFile } from "../built.ts";
import { CHUNK_BYTES_MAX } from "../limits.ts";

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
interface KernelExports {
  memory: WebAssemblyMemory;
  heapBase(): number;
  xorInto(target: number, a: number, b: number, sizeBytes: number): void;
  splitPlanes(source: number, target: number, count: number, width: number): void;
  joinPlanes(source: number, target: number, count: number, width: number): void;
  cutScan(at: number, end: number, mask: number): number;
  cutReset(): void;
  cutWarm(at: number, end: number): void;
  gearAt(index: number): number;
}

/** Bytes past a region that a kernel may read or write when it works 16 bytes at a time. */
const SLACK_BYTES = 256;
const REGION_BYTES = CHUNK_BYTES_MAX + SLACK_BYTES;

/**
 * The kernels and the memory they work in: fixed regions that each hold a chunk of the largest size. One per thread.
 *
 * A region's contents last until the next call that names the region as its target; nothing else is promised.
 */
export interface Kernels {
  readonly exports: KernelExports;
  /** The whole memory; it never grows after loading, so views of it stay valid. */
  readonly memory: Uint8Array;
  /** Addresses of the regions, each CHUNK_BYTES_MAX and some slack long. */
  readonly at: {
    readonly input: number;
    readonly base: number;
    readonly work: number;
    readonly output: number;
  };
}

const REGIONS = ["input", "base", "work", "output"] as const;
const PAGE_BYTES = 65_536;

export async function loadKernels(): Promise<Kernels> {
  const module = await WebAssembly.compile(
    await readFile(new URL(builtFile(import.meta.url, "kernels.wasm"))),
  );
  const instance = await WebAssembly.instantiate(module, { env: { abort: aborted } });
  const exports = instance.exports as KernelExports;
  const firstAddress = Math.ceil(exports.heapBase() / 64) * 64;
  const at = { input: 0, base: 0, work: 0, output: 0 };
  REGIONS.forEach((name, i) => {
    at[name] = firstAddress + i * REGION_BYTES;
  });
  const neededBytes = firstAddress + REGIONS.length * REGION_BYTES;
  const missingPages = Math.ceil((neededBytes - exports.memory.buffer.byteLength) / PAGE_BYTES);
  if (missingPages > 0) exports.memory.grow(missingPages);
  return { exports, memory: new Uint8Array(exports.memory.buffer), at };
}

function aborted(): never {
  throw new WebAssembly.RuntimeError("kernel aborted");
}
