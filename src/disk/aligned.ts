import { StoreError } from "../errors.ts";
import { PAGE_BYTES } from "./disk.ts";

/** The part of the engine's WebAssembly interface used here; the ECMAScript typings do not have it. */
declare const WebAssembly: {
  Memory: new (options: { initial: number; maximum: number; shared: boolean }) => PageMemory;
};

/** A WebAssembly memory that never grows. A shared one can be sent to other threads, and kernels can work in it. */
export interface PageMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
}

/** Pages of WebAssembly memory come in this size. */
const WASM_PAGE_BYTES = 65_536;

/**
 * Zeroed memory that starts on a page boundary, which O_DIRECT demands: the engine maps a WebAssembly memory on
 * pages of its own, so no native code is needed. Untouched pages take no memory.
 *
 * @param options.shared memory that worker threads see too.
 */
export function allocatePages(sizeBytes: number, options: { shared?: boolean } = {}): Uint8Array {
  const pages = Math.max(1, Math.ceil(sizeBytes / WASM_PAGE_BYTES));
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: options.shared ?? false });
  if (options.shared) memories.set(memory.buffer, memory);
  return new Uint8Array(memory.buffer, 0, sizeBytes);
}

const memories = new WeakMap<ArrayBufferLike, PageMemory>();

/** The shared memory behind a view that `allocatePages` of this thread made; `undefined` for any other. */
export function pageMemoryOf(buffer: ArrayBufferLike): PageMemory | undefined {
  return memories.get(buffer);
}

/** What every durable file checks before a write, so that a mistake shows on every file system alike. */
export function checkAligned(path: string, memory: Uint8Array, position: number): void {
  if (
    memory.byteOffset % PAGE_BYTES === 0 &&
    memory.byteLength % PAGE_BYTES === 0 &&
    position % PAGE_BYTES === 0
  )
    return;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `write ${path}: a durable write must cover whole pages of ${PAGE_BYTES} bytes from page-aligned memory`,
    { context: { path, position, sizeBytes: memory.byteLength, memoryOffset: memory.byteOffset } },
  );
}
