import { allocatePages } from "../disk/aligned.ts";

/**
 * Shared memory in slots of one piece each, where captured bytes wait for the encoder. Its size is the bound on what
 * captures take of memory; what does not fit goes to the spool.
 */
export class StagingPool {
  readonly slotBytes: number;
  readonly slots: number;
  #memory: Uint8Array | undefined;
  readonly #free: number[] = [];

  constructor(sizeBytes: number, slotBytes: number) {
    this.slotBytes = slotBytes;
    this.slots = Math.floor(sizeBytes / slotBytes);
    for (let slot = this.slots - 1; slot >= 0; slot--) this.#free.push(slot);
  }

  /** Reserved with the first use; pages that no capture has touched take no memory. */
  get memory(): Uint8Array {
    this.#memory ??= allocatePages(this.slots * this.slotBytes, { shared: true });
    return this.#memory;
  }

  get freeSlots(): number {
    return this.#free.length;
  }

  /**
   * `count` slots, or none when that many are not free: a capture that needs the spool anyway gains little by a few, and
   * the whole pool's memory would be touched for it. Those used last come first, since their memory is warm.
   */
  take(count: number): number[] {
    return count > this.#free.length ? [] : this.#free.splice(this.#free.length - count).reverse();
  }

  bytes(slot: number, sizeBytes: number): Uint8Array {
    return this.memory.subarray(slot * this.slotBytes, slot * this.slotBytes + sizeBytes);
  }

  give(slot: number): void {
    this.#free.push(slot);
  }
}
