import { StoreError } from "../errors.ts";
import { CONTROL_WORDS, PIECES_LEFT, STOP } from "./drain.job.ts";

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

/** Which parts of a capture are whole: counted by the threads that copy, waited for by the one that computes. */
export class Fences {
  /** Shared: what the threads claim, count and stop by. */
  readonly control: Int32Array;
  readonly #waiters = new Map<number, Waiter[]>();
  #failure: unknown;
  #settled = false;

  constructor(piecesOfPart: Int32Array, pieces: number) {
    this.control = new Int32Array(new SharedArrayBuffer((CONTROL_WORDS + piecesOfPart.length + pieces) * 4));
    this.control[PIECES_LEFT] = pieces;
    this.control.set(piecesOfPart, CONTROL_WORDS);
  }

  /** Whether a part may be written again: true as soon as it is, whatever the event loop has had time for. */
  isCaptured(part: number): boolean {
    return Atomics.load(this.control, CONTROL_WORDS + part) === 0;
  }

  partCaptured(part: number): Promise<void> {
    if (this.isCaptured(part)) return Promise.resolve();
    if (this.#settled) return Promise.reject(this.#failure ?? stopped());
    return new Promise((resolve, reject) => {
      const waiters = this.#waiters.get(part) ?? [];
      waiters.push({ resolve, reject });
      this.#waiters.set(part, waiters);
    });
  }

  /** These parts are whole. */
  wake(parts: number[]): void {
    for (const part of parts) {
      for (const waiter of this.#waiters.get(part) ?? []) waiter.resolve();
      this.#waiters.delete(part);
    }
  }

  fail(error: unknown): void {
    this.#failure ??= error;
    this.stop();
  }

  /** No thread takes another piece. */
  stop(): void {
    Atomics.store(this.control, STOP, 1);
  }

  /**
   * No thread works any more: what is not whole will not be.
   * @throws what went wrong, or `ERR_ABORTED` when the capture was stopped
   */
  settle(): void {
    this.#settled = true;
    for (const [part, waiters] of this.#waiters) {
      for (const waiter of waiters) {
        if (this.isCaptured(part)) waiter.resolve();
        else waiter.reject(this.#failure ?? stopped());
      }
    }
    this.#waiters.clear();
    if (this.#failure !== undefined) throw this.#failure;
    if (Atomics.load(this.control, STOP) !== 0) throw stopped();
  }
}

function stopped(): StoreError {
  return new StoreError("ERR_ABORTED", "the save was aborted before its tensors were captured");
}
