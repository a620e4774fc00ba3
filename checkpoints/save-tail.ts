import type { KeptSpool } from "../src/capture/spool-files.ts";
import { CHAIN_DEPTH_MAX, PATCH_DEPTH_MAX, PATCH_DEPTH_SPREAD, TOUCHED_BYTES_MAX } from "../src/limits.ts";
import type { ChunkRef } from "./manifest-format.ts";
import type { TensorSource } from "./tensor-source.ts";
import { isShared } from "./touched-capture.ts";
import { markTouched, TOUCHED, type Touched, type TouchedRows, WHOLE } from "./touched-rows.ts";

/** The last save of a ref by this store handle: what the rows of the next one are relative to. */
export class SaveTail {
  /** Held by whoever holds the tensors: a ref that is saved no more must not keep their memory. */
  readonly #source: WeakRef<TensorSource>;
  /** The chunks it stored; rejects when it failed. */
  readonly refs: Promise<ChunkRef[]>;
  resolve: (refs: ChunkRef[], version: number) => void = () => {};
  reject: (error: unknown) => void = () => {};
  /** The version it became. */
  version: number | undefined;
  /** What it captured, raw, as far as it is still there: see `KeptSpool`. */
  kept: KeptSpool | undefined;
  /** By chunk: how long its chain is at most; unknown until somebody asks. */
  #depths: Uint8Array | undefined;
  #stored: ChunkRef[] | undefined;

  /** @param before the tail whose rows this save names, unless it stores everything */
  constructor(source: TensorSource, before: SaveTail | undefined) {
    this.#source = new WeakRef(source);
    this.#depths = before === undefined ? undefined : before.#depths;
    this.refs = new Promise<ChunkRef[]>((resolve, reject) => {
      this.resolve = (refs, version) => {
        this.#stored = refs;
        this.version = version;
        resolve(refs);
      };
      this.reject = reject;
    });
    this.refs.catch(() => {});
  }

  isOf(source: TensorSource): boolean {
    return this.#source.deref() === source;
  }

  /**
   * The rows to capture for a save that follows, if that is enough; `undefined` when everything has to be.
   * @throws `ERR_INVALID_ARGUMENT` for a tensor or row that there is not
   */
  mark(
    source: TensorSource,
    touched: readonly Touched[],
    depthOf: (digest: Uint8Array) => number | undefined,
  ): TouchedRows | undefined {
    const marked = markTouched(source, touched);
    if (!this.isOf(source) || !isShared(source) || marked.sizeBytes > TOUCHED_BYTES_MAX) return undefined;
    this.#depths ??= this.#learn(source, depthOf);
    const depths = this.#depths;
    marked.chunks.forEach((state, chunk) => {
      if (state !== TOUCHED) return;
      const limit = PATCH_DEPTH_SPREAD + (chunk % (PATCH_DEPTH_MAX - PATCH_DEPTH_SPREAD));
      if (depths[chunk]! < limit) {
        depths[chunk]! += 1;
      } else {
        marked.chunks[chunk] = WHOLE;
        depths[chunk] = 0;
      }
    });
    return marked;
  }

  /** How long the chains are that the save left; one still under way may make them as long as any. */
  #learn(source: TensorSource, depthOf: (digest: Uint8Array) => number | undefined): Uint8Array {
    const depths = new Uint8Array(source.chunks.length).fill(CHAIN_DEPTH_MAX);
    this.#stored?.forEach(({ digest }, chunk) => {
      depths[chunk] = depthOf(digest) ?? CHAIN_DEPTH_MAX;
    });
    return depths;
  }
}
