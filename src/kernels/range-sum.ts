import { readFile } from "node:fs/promises";
import { invariant } from "../assert.ts";
import { builtFile } from "../built.ts";
import { allocatePages, type PageMemory, pageMemoryOf } from "../disk/aligned.ts";

/** Longest range whose sums stay exact, and what its length is a multiple of. */
export const RANGE_SUM_BYTES_MAX = 1 << 20;
const RANGE_SUM_STEP_BYTES = 32;

/** The part of the platform's WebAssembly that is used here: the ES library has no types for it. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    compile(bytes: Uint8Array): Promise<object>;
    Instance: new (
      module: object,
      imports: object,
    ) => { exports: { rangeSum(at: number, bytes: number): bigint } };
  };
};

/**
 * A checksum of 64 bits at nearly the speed of memory: exact Fletcher sums of 32-bit words in eight lanes, mixed (see
 * assembly/range-sum). A change confined to two words of a lane, such as any flipped bit, two words that changed places
 * or a torn page's edge, is found for certain; any other with all but 2^-64 of certainty. Not against forgery.
 */
export class RangeSums {
  readonly #module: object;
  readonly #instances = new WeakMap<PageMemory, (at: number, bytes: number) => bigint>();
  #own: Uint8Array | undefined;

  private constructor(module: object) {
    this.#module = module;
  }

  /** Loaded once a thread. */
  static load(): Promise<RangeSums> {
    loading ??= readFile(new URL(builtFile(import.meta.url, "range-sum.wasm")))
      .then((bytes) => WebAssembly.compile(bytes))
      .then((module) => new RangeSums(module));
    return loading;
  }

  /**
   * The sum of whole steps of 32 bytes, where they lie if that is memory of `allocatePages`, else from a copy.
   * @param memory the memory that `bytes` is a view of, on a thread that has not allocated it
   */
  sum(bytes: Uint8Array, memory: PageMemory | undefined = pageMemoryOf(bytes.buffer)): bigint {
    invariant(
      bytes.byteLength % RANGE_SUM_STEP_BYTES === 0 && bytes.byteLength <= RANGE_SUM_BYTES_MAX,
      "a range is summed in whole steps, and is no longer than its sums are exact for",
    );
    if (memory !== undefined) return this.#sumIn(memory, bytes.byteOffset, bytes.byteLength);
    this.#own ??= allocatePages(RANGE_SUM_BYTES_MAX, { shared: true });
    this.#own.set(bytes);
    return this.#sumIn(pageMemoryOf(this.#own.buffer)!, 0, bytes.byteLength);
  }

  #sumIn(memory: PageMemory, at: number, sizeBytes: number): bigint {
    let sum = this.#instances.get(memory);
    if (sum === undefined) {
      sum = new WebAssembly.Instance(this.#module, { env: { memory } }).exports.rangeSum;
      this.#instances.set(memory, sum);
    }
    return BigInt.asUintN(64, sum(at, sizeBytes));
  }
}

let loading: Promise<RangeSums> | undefined;
