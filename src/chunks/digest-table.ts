import { DIGEST_BYTES } from "./digest.ts";

const ROWS_AT_FIRST = 64;

/**
 * Digests by the order in which they were added, each once, and the way back: which place a digest has.
 *
 * A save of a gigabyte holds thousands. As strings in a `Map` each is several objects that live as long as the save does,
 * which is what makes a garbage collector's heap grow; here all of them are two arrays. A digest's bytes are as good as
 * random, so its first four are its hash.
 */
export class DigestTable {
  #digests = new Uint8Array(ROWS_AT_FIRST * DIGEST_BYTES);
  /** By hash, then the next free slot: place + 1; a power of two of them, at most half of them used. */
  #slots = new Int32Array(ROWS_AT_FIRST * 2);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a digest, or finds it: its place. */
  add(digest: Uint8Array): number {
    const slot = this.#slotOf(digest);
    const known = this.#slots[slot]!;
    if (known > 0) return known - 1;
    const place = this.#size++;
    if (this.#digests.byteLength < this.#size * DIGEST_BYTES) this.#digests = doubled(this.#digests);
    this.#digests.set(digest, place * DIGEST_BYTES);
    this.#slots[slot] = place + 1;
    if (this.#size * 2 > this.#slots.length) this.#widen();
    return place;
  }

  /** The place of a digest, or -1. */
  find(digest: Uint8Array): number {
    return this.#slots[this.#slotOf(digest)]! - 1;
  }

  has(digest: Uint8Array): boolean {
    return this.find(digest) >= 0;
  }

  /** The digest at a place: a view, valid until the next `add`. */
  at(place: number): Uint8Array {
    return this.#digests.subarray(place * DIGEST_BYTES, (place + 1) * DIGEST_BYTES);
  }

  clear(): void {
    this.#slots.fill(0);
    this.#size = 0;
  }

  /** Where the digest's place is written, or belongs. */
  #slotOf(digest: Uint8Array): number {
    const last = this.#slots.length - 1;
    let slot = (digest[0]! | (digest[1]! << 8) | (digest[2]! << 16) | (digest[3]! << 24)) & last;
    for (;;) {
      const known = this.#slots[slot]!;
      if (known === 0 || this.#isAt(known - 1, digest)) return slot;
      slot = (slot + 1) & last;
    }
  }

  #isAt(place: number, digest: Uint8Array): boolean {
    const from = place * DIGEST_BYTES;
    for (let i = 0; i < DIGEST_BYTES; i++) if (this.#digests[from + i] !== digest[i]) return false;
    return true;
  }

  #widen(): void {
    this.#slots = new Int32Array(this.#slots.length * 2);
    for (let place = 0; place < this.#size; place++) this.#slots[this.#slotOf(this.at(place))] = place + 1;
  }
}

function doubled(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const wider = new Uint8Array(bytes.byteLength * 2);
  wider.set(bytes);
  return wider;
}
