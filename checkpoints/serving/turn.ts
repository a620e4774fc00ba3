/** How long answers are handed on within one turn of the event loop. */
const TURN_MS = 2;

/**
 * Hands answers of threads on, and lets the event loop turn in between. Node.js delivers up to a thousand messages of
 * a port before it looks at anything else: callers who ask again as soon as they are answered would keep timers and
 * sockets waiting for as long as it takes to answer a thousand times.
 */
export class Turn {
  #endMs = 0;
  #waiting: (() => void)[] = [];

  /** Hands on now, or in the next turn when this one has gone on for too long; in order. */
  hand(answer: () => void): void {
    if (this.#endMs === 0) {
      this.#endMs = performance.now() + TURN_MS;
      setImmediate(() => this.#next());
    }
    if (this.#waiting.length > 0 || performance.now() > this.#endMs) this.#waiting.push(answer);
    else answer();
  }

  #next(): void {
    this.#endMs = 0;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const answer of waiting) this.hand(answer);
  }
}
