/** Integers held at once: 32 pages of the largest size, 16 MB. */
const CAPACITY = 32 * 65_536;

/** Where integers lie in the ring. */
export interface Place {
  position: number;
  count: number;
}

/**
 * Decoded integers of the columns that others are stored against, in one buffer that is used again and again: what is
 * oldest is written over. One per thread, made when first needed.
 */
export class IntegerRing {
  #values: BigInt64Array<ArrayBuffer> | undefined;
  /** Counts every integer ever put; its rest by the capacity is where the next one goes. */
  #head = 0;

  /** Grows with every `put`. */
  get head(): number {
    return this.#head;
  }

  /** Keeps a copy of at most a page of integers. */
  put(integers: BigInt64Array): Place {
    this.#values ??= new BigInt64Array(CAPACITY);
    const used = this.#head % CAPACITY;
    if (used + integers.length > CAPACITY) this.#head += CAPACITY - used;
    const place = { position: this.#head, count: integers.length };
    this.#values.set(integers, this.#head % CAPACITY);
    this.#head += integers.length;
    return place;
  }

  /** A view of what was put, or undefined once it was written over; good until the next `put`. */
  at({ position, count }: Place): BigInt64Array | undefined {
    if (this.#head - position > CAPACITY) return undefined;
    const from = position % CAPACITY;
    return this.#values?.subarray(from, from + count);
  }
}
