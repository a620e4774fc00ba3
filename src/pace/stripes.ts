import type { DiskFile } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { STRIPE_BYTES_MAX, STRIPE_BYTES_MIN } from "../limits.ts";

/** Space is reserved so much at a time, or a stripe when that is more: one extent for many writes. */
const RESERVE_BYTES = 8 << 20;

/** A file on striped devices that is written from its beginning to its end. */
export class StripedFile {
  readonly stripeBytes: number;
  readonly #file: DiskFile;
  /** Where what was reserved ends. */
  #reservedEnd = 0;
  #canReserve: boolean;

  constructor(file: DiskFile, stripeBytes: number) {
    this.#file = file;
    this.stripeBytes = stripeBytes;
    this.#canReserve = file.reserve !== undefined;
  }

  /** The last place up to `end` where a stripe ends. */
  lastEnd(end: number): number {
    return end - (end % this.stripeBytes);
  }

  /** Reserves whole stripes up to `end` and beyond, so that the file lies on the device in one piece, from a stripe on. */
  async reserve(end: number): Promise<void> {
    if (!this.#canReserve || end <= this.#reservedEnd) return;
    const step = Math.max(this.stripeBytes, RESERVE_BYTES);
    const reservedEnd = Math.ceil(end / step) * step;
    const from = Math.max(this.#reservedEnd, this.lastEnd(this.#file.sizeBytes()));
    this.#canReserve = await this.#file.reserve!(from, reservedEnd - from);
    if (this.#canReserve) this.#reservedEnd = reservedEnd;
  }

  /** Gives back what was reserved and not written. Best effort: it is given back when the file is removed. */
  release(): void {
    if (this.#reservedEnd === 0) return;
    this.#reservedEnd = 0;
    try {
      this.#file.truncate(this.#file.sizeBytes());
    } catch (error) {
      if (!isStoreError(error)) throw error;
    }
  }
}

/** @throws `ERR_LIMIT`, `ERR_INVALID_ARGUMENT` */
export function checkedStripeBytes(stripeBytes: number | undefined): number | undefined {
  if (stripeBytes === undefined) return undefined;
  const hint =
    "It is what one stripe of the array takes on all of its data disks: a power of two; leave it out for a single disk.";
  if (!Number.isInteger(stripeBytes) || 2 ** Math.round(Math.log2(stripeBytes)) !== stripeBytes) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `stripeBytes is ${stripeBytes}, which is no power of two`, {
      hint,
    });
  }
  if (stripeBytes < STRIPE_BYTES_MIN || stripeBytes > STRIPE_BYTES_MAX) {
    throw new StoreError(
      "ERR_LIMIT",
      `stripeBytes is ${stripeBytes}; it is ${STRIPE_BYTES_MIN} to ${STRIPE_BYTES_MAX}`,
      { context: { limit: STRIPE_BYTES_MAX, stripeBytes }, hint },
    );
  }
  return stripeBytes;
}
