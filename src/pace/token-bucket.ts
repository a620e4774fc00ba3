import { setTimeout as delay } from "node:timers/promises";
import { StoreError } from "../errors.ts";

/**
 * Paces background writing to an average rate: each write takes its bytes as tokens, and waits until there are enough.
 * Tokens gather for at most a second, so that after a pause no more than a second's worth is written at once.
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
    const waitMs = this.take(sizeBytes);
    if (waitMs <= 0) return;
    try {
      // Somebody may await the work, so the wait keeps the process alive; closing the store ends it.
      await delay(waitMs, undefined, signal === undefined ? {} : { signal });
    } catch (cause) {
      throw new StoreError("ERR_ABORTED", "background writing was stopped", { cause });
    }
  }
}
