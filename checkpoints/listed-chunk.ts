import { DIGEST_BYTES } from "../src/chunks/digest.ts";
import type { ChunkRef } from "./manifest-format.ts";

/**
 * A chunk among many whose digests lie in one piece of memory. Manifests list thousands and are held as long as a save
 * takes: a view of each digest would take four times what it shows, so that one is made for whoever asks. Not to be
 * posted to another thread, which would get it without its digest.
 */
export class ListedChunk implements ChunkRef {
  readonly rawBytes: number;
  readonly #digests: Uint8Array;
  readonly #place: number;

  /** @param place among the digests */
  constructor(digests: Uint8Array, place: number, rawBytes: number) {
    this.#digests = digests;
    this.#place = place;
    this.rawBytes = rawBytes;
  }

  /** A view, made anew each time. */
  get digest(): Uint8Array {
    return this.#digests.subarray(this.#place * DIGEST_BYTES, (this.#place + 1) * DIGEST_BYTES);
  }
}

const SLAB_DIGESTS = 128;

/** Makes listed chunks of chunks that come one after the other; their digests are copied. */
export class ChunkLister {
  #slab = new Uint8Array(0);
  #used = SLAB_DIGESTS;

  list(digest: Uint8Array, rawBytes: number): ChunkRef {
    if (this.#used === SLAB_DIGESTS) {
      this.#slab = new Uint8Array(SLAB_DIGESTS * DIGEST_BYTES);
      this.#used = 0;
    }
    this.#slab.set(digest, this.#used * DIGEST_BYTES);
    return new ListedChunk(this.#slab, this.#used++, rawBytes);
  }
}
