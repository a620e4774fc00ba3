import { SERIES_WINDOW_ROWS_MAX } from "../limits.ts";

interface WaitingRow {
  key: bigint;
  payload: Uint8Array;
}

/**
 * Puts rows in order that come a little out of order: a row waits until one has come whose key is newer by more than
 * the window. What leaves depends only on the rows that came, in their order, so that replaying a journal gives the
 * same rows the same numbers.
 */
export class SortWindow {
  readonly #windowKeys: bigint;
  readonly #waiting: WaitingRow[] = [];

  constructor(windowKeys: bigint) {
    this.#windowKeys = windowKeys;
  }

  get rows(): number {
    return this.#waiting.length;
  }

  /** Adds a row, whose payload is copied, and hands over those that need not wait any longer. Equal keys keep their order. */
  add(key: bigint, payload: Uint8Array, release: (payload: Uint8Array) => void): void {
    let at = this.#waiting.length;
    while (at > 0 && this.#waiting[at - 1]!.key > key) at--;
    this.#waiting.splice(at, 0, { key, payload: payload.slice() });
    const newest = this.#waiting.at(-1)!.key;
    let count = 0;
    while (count < this.#waiting.length && newest - this.#waiting[count]!.key > this.#windowKeys) count++;
    this.#release(Math.max(count, this.#waiting.length - SERIES_WINDOW_ROWS_MAX), release);
  }

  /** Hands over all that wait. */
  drain(release: (payload: Uint8Array) => void): void {
    this.#release(this.#waiting.length, release);
  }

  /** Rows that wait, in order, to be carried into the next segment. */
  takeAll(): Uint8Array[] {
    return this.#waiting.splice(0).map(({ payload }) => payload);
  }

  #release(count: number, release: (payload: Uint8Array) => void): void {
    for (const { payload } of this.#waiting.splice(0, count)) release(payload);
  }
}
