import { SERIES_DUPLICATES_MAX } from "../limits.ts";
import { comparePairs } from "./key-value.ts";

/** Recognizes rows that are equal in every column to one of the same key, as long as no newer key has come. */
export class Duplicates {
  readonly #rows = new Set<string>();
  #keyHi = 0;
  #keyLo = 0;

  /** Whether this row has come before with this key; a new one is remembered. */
  seen(keyHi: number, keyLo: number, payload: Uint8Array): boolean {
    if (this.#rows.size > 0 && comparePairs(keyHi, keyLo, this.#keyHi, this.#keyLo) !== 0) this.#rows.clear();
    this.#keyHi = keyHi;
    this.#keyLo = keyLo;
    const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("latin1");
    if (this.#rows.has(text)) return true;
    if (this.#rows.size < SERIES_DUPLICATES_MAX) this.#rows.add(text);
    return false;
  }

  /** A row that was not appended after all. */
  forget(payload: Uint8Array): void {
    this.#rows.delete(Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString("latin1"));
  }
}
