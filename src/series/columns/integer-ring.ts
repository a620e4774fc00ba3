import { type ColumnKernels, PAGE_ROWS } from "../../kernels/column-kernels.ts";

/** Integers held at once: 32 pages of the largest size, 16 MB, as the kernels have room for. */
const CAPACITY = 32 * PAGE_ROWS;
/** What was kept may be read while two more pages are made: the one that is made of it, and what that skips at the end. */
const READABLE = CAPACITY - 2 * PAGE_ROWS;
/** Kernels work on whole vectors, and may write so many integers past a page's last one. */
const ALIGNMENT = 16;

/** Where integers lie in the ring. */
export interface Place {
  position: number;
  address: number;
}

/**
 * Decoded integers of the columns that others are stored against, in memory of the kernels that is used again and again:
 * what is oldest is written over. One per thread.
 */
export class IntegerRing {
  readonly #base: number;
  /** Counts every integer there was ever room made for; its rest by the capacity is where the next one goes. */
  #head = 0;

  constructor({ at }: Pick<ColumnKernels, "at">) {
    this.#base = at.kept;
  }

  /** Grows with every `reserve`. */
  get head(): number {
    return this.#head;
  }

  /** Makes room for at most a page of integers. */
  reserve(count: number): Place {
    const room = Math.ceil(count / ALIGNMENT) * ALIGNMENT;
    const used = this.#head % CAPACITY;
    if (used + room > CAPACITY) this.#head += CAPACITY - used;
    const place = { position: this.#head, address: this.#base + (this.#head % CAPACITY) * 8 };
    this.#head += room;
    return place;
  }

  /** Whether what was put there is there still, and stays until after the next `reserve`. */
  holds({ position }: Place): boolean {
    return this.#head - position <= READABLE;
  }
}
