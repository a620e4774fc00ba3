import { CHUNK_BYTES_MAX } from "../limits.ts";

/** Room for most payloads; one that turns out larger than its chunk, and so is not taken, may need more. */
const ROOM_BYTES = CHUNK_BYTES_MAX + 65_536;

/**
 * Memory for payloads, used again and again: two rooms, one for the best payload so far and one for the next attempt.
 * Payloads come by the thousand, and left to the garbage collector they pile up on every thread.
 */
export class PayloadRooms {
  #spare: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #kept: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #length = 0;

  /** Begins a payload in the spare room. */
  begin(): this {
    this.#length = 0;
    return this;
  }

  /** Appends a copy of the bytes. */
  put(bytes: ArrayLike<number>): this {
    const end = this.#length + bytes.length;
    if (end > this.#spare.length) {
      const larger = new Uint8Array(Math.max(ROOM_BYTES, end));
      larger.set(this.#spare.subarray(0, this.#length));
      this.#spare = larger;
    }
    this.#spare.set(bytes, this.#length);
    this.#length = end;
    return this;
  }

  /** The payload: a view, valid until the next `begin` unless it is kept. */
  finish(): Uint8Array {
    return this.#spare.subarray(0, this.#length);
  }

  /** Saves a payload of these rooms from being written over until another one is kept. */
  keep(payload: Uint8Array): void {
    if (payload.buffer === this.#spare.buffer) [this.#spare, this.#kept] = [this.#kept, this.#spare];
  }
}
