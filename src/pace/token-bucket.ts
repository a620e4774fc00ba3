import { StoreError } from "../errors.ts";

/**
 * Paces background writing to an average rate: each write takes its bytes as tokens, and waits until there are enough.
 * Tokens gather for at most a second, so that after a pause no more than a second's worth is written at once.
 *
 * A store has one, and all its background writing takes from it: images, recompression, gc's copies and seals. Who cannot
 * wait takes all the same; what is taken beyond what there is, those who can wait for.
 */
export class TokenBucket {
  readonly bytesPerSecond: number;
  readonly #nowMs: () => number;
  #tokens: number;
  #atMs: number;

  constructor(bytesPerSecond: number, nowMs: () => number = () => performance.now()) {
    if (!(bytesPerSecond > 0)) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `ioBudget is ${bytesPerSecond} bytes a second; it is above 0`,
        {
          hint: "Infinity writes as fast as the disk takes it.",
        },
      );
    }
    this.bytesPerSecond = bytesPerSecond;
    this.#nowMs = nowMs;
    this.#atMs = nowMs();
    this.#tokens = Math.min(bytesPerSecond, Number.MAX_SAFE_INTEGER);
  }

  /** Takes tokens for so many bytes; returns how long to wait before they may be written, in milliseconds. */
  take(sizeBytes: number): number {
    if (this.bytesPerSecond === Number.POSITIVE_INFINITY) return 0;
    const now = this.#nowMs();
    const gathered = this.#tokens + ((now - this.#atMs) / 1000) * this.bytesPerSecond;
    this.#tokens = Math.min(gathered, this.bytesPerSecond) - sizeBytes;
    this.#atMs = now;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.bytesPerSecond) * 1000;
  }

  /** Waits until so many bytes may be written. @throws `ERR_ABORTED` */
  async pace(sizeBytes: number, signal?: AbortSignal): Promise<void> {
    await this.paceUntil(sizeBytes, signal);
    if (signal?.aborted) {
      throw new StoreError("ERR_ABORTED", "background writing was stopped", { cause: signal.reason });
    }
  }

  /** Takes tokens for so many bytes and waits until they may be written, or one of the signals ends the wait. */
  async paceUntil(sizeBytes: number, ...ends: (AbortSignal | undefined)[]): Promise<void> {
    const waitMs = this.take(sizeBytes);
    if (waitMs <= 0 || ends.some((signal) => signal?.aborted)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        for (const signal of ends) signal?.removeEventListener("abort", done);
        resolve();
      };
      // Somebody may await the work, so the wait keeps the process alive; closing the store ends it.
      const timer = setTimeout(done, Math.min(waitMs, WAIT_MS_MAX));
      for (const signal of ends) signal?.addEventListener("abort", done);
    });
  }
}

/** The longest wait that a timer knows: what a budget of a few bytes a second asks for is longer. */
const WAIT_MS_MAX = 2 ** 31 - 1;
