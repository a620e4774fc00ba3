import { DIGEST_BYTES } from "./digest.ts";

const SLAB_DIGESTS = 128;

/** Copies of digests that live as long as each other, in pieces of memory for many: alone, each takes several times its 32 bytes. */
export class DigestSlab {
  #slab = new Uint8Array(0);
  #used = 0;

  /** A copy of the digest, to be kept. */
  keep(digest: Uint8Array): Uint8Array {
    if (this.#used === this.#slab.byteLength) {
      this.#slab = new Uint8Array(SLAB_DIGESTS * DIGEST_BYTES);
      this.#used = 0;
    }
    const copy = this.#slab.subarray(this.#used, this.#used + DIGEST_BYTES);
    copy.set(digest);
    this.#used += DIGEST_BYTES;
    return copy;
  }
}
