/** Looks at the clock on every so many appends, for a caller who never lets the event loop turn. */
const CLOCK_EVERY_APPENDS = 64;

/** Calls `flush` so long after the first append that has not been flushed yet. */
export class FlushTimer {
  readonly #intervalMs: number;
  readonly #flush: () => void;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #appends = 0;

  constructor(intervalMs: number, flush: () => void) {
    this.#intervalMs = intervalMs;
    this.#flush = flush;
  }

  /** To be called after every append. */
  appended(): void {
    if (this.#timer === undefined) {
      this.#dueMs = performance.now() + this.#intervalMs * 1.5;
      this.#timer = setTimeout(() => this.#due(), this.#intervalMs);
      this.#timer.unref();
      // A caller who never lets the timer fire is served from here: the sync itself runs on another thread.
    } else if (++this.#appends % CLOCK_EVERY_APPENDS === 0 && performance.now() > this.#dueMs) this.#due();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #due(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flush();
  }
}
