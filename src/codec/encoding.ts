import type { Kernels } from "../kernels/kernels.ts";
import type { Element } from "./element.ts";
import type { DeltaLibrary, Lz4Library, ZstdLibrary } from "./libraries.ts";
import type { PayloadRooms } from "./payload.ts";
import type { Recipe } from "./replay/recipe.ts";

/** What every encoding works with; one per thread, since the kernels' memory is shared scratch space. */
export interface Workshop {
  kernels: Kernels;
  lz4: Lz4Library;
  zstd: ZstdLibrary;
  delta: DeltaLibrary;
  payloads: PayloadRooms;
}

export interface EncodeInput {
  /** Raw bytes, at most CHUNK_BYTES_MAX; any alignment; may lie in shared memory. Not kept. */
  bytes: Uint8Array;
  element: Element;
  /** Raw bytes of the offered bases: parent, then grandparent. Lengths may differ from the chunk's. Not kept. */
  bases: Uint8Array[];
  profile: Profile;
  /** How an optimizer's step may have made the chunk. Its bases are other ones than `bases`. */
  replay?: ReplayPlan;
}

/** A recipe and raw bytes of the bases that it counts from 1. */
export interface ReplayPlan {
  recipe: Recipe;
  bases: Uint8Array[];
}

export type Profile = "fast" | "compact";

export interface DecodeInput {
  /** Id of the encoding, as the frame stores it. */
  encoding: number;
  element: Element;
  payload: Uint8Array;
  /** Raw bytes of the bases the frame names, in the order they were offered to `encode`. */
  bases: Uint8Array[];
}

/**
 * One encoding's result: the payload is the caller's, and the first `basesUsed` bases are needed to decode it; of a
 * replay, those are the plan's.
 */
export interface Candidate {
  payload: Uint8Array;
  basesUsed: number;
}

/**
 * One way of writing a chunk. An id is a u8 on disk and never changes its meaning; a new layout takes a new id.
 */
export interface Encoding {
  readonly id: number;
  readonly name: string;
  /** Undefined where the encoding does not apply (no base, wrong element) or cannot gain. */
  encode(workshop: Workshop, input: EncodeInput): Candidate | undefined;
  /**
   * Fills `target`, whose length is the chunk's raw length. The payload is untrusted.
   * @throws StoreError ERR_STORE_CORRUPT for anything no encoder writes.
   */
  decode(workshop: Workshop, input: DecodeInput, target: Uint8Array): void;
}
