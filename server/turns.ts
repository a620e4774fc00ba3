import { HttpFailure } from "./failure.ts";

/**
 * Lets so many work at once; others wait in order, their bodies unread, so that the network slows the client down.
 * Past so many waiting, the next is told to come back.
 */
export class Turns {
  readonly #atOnce: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  constructor(atOnce: number, waitingMax: number) {
    this.#atOnce = atOnce;
    this.#waitingMax = waitingMax;
  }

  get busy(): number {
    return this.#busy;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy >= this.#atOnce) {
      if (this.#waiting.length >= this.#waitingMax) {
        throw new HttpFailure(503, "ERR_LIMIT", "too many requests wait already", {
          headers: { "retry-after": "1" },
        });
      }
      // The turn is handed on without being given back in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#busy++;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy--;
      else next();
    }
  }
}
