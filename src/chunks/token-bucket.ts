/** Paces background work: so many bytes a second on average, and as many at once as one second gives. */
export class TokenBucket {
  readonly #bytesPerSecond: number;
  readonly #nowMs: () => number;
  #available: number;
  #filledMs: number;

  constructor(bytesPerSecond: number, nowMs: () => number = () => performance.now()) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#nowMs = nowMs;
    this.#available = bytesPerSecond;
    this.#filledMs = nowMs();
  }

  /** Takes bytes that were read or written, and says for how many milliseconds to rest before the next ones. */
  take(bytes: number): number {
    const nowMs = this.#nowMs();
    const filled = this.#available + ((nowMs - this.#filledMs) / 1000) * this.#bytesPerSecond;
    this.#available = Math.min(filled, this.#bytesPerSecond) - bytes;
    this.#filledMs = nowMs;
    return this.#available >= 0 ? 0 : (-this.#available / this.#bytesPerSecond) * 1000;
  }
}
