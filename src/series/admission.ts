import { StoreError } from "../errors.ts";
import { SERIES_RECORD_ROWS_MAX } from "../limits.ts";
import { Duplicates } from "./duplicates.ts";
import { JOURNAL_RECORD_BYTES } from "./journal-format.ts";
import { comparePairs, pairToBigInt } from "./key-value.ts";
import type { RowEncoder } from "./row-encoder.ts";
import type { BatchInput } from "./row-input.ts";
import type { SeriesDefinition } from "./series-file.ts";

/** Decides which rows may be appended: the policies on order and duplicates, and the newest key there is. */
export class Admission {
  readonly #definition: SeriesDefinition;
  readonly #duplicates: Duplicates | undefined;
  #hasKey = false;
  #newestHi = 0;
  #newestLo = 0;

  constructor(definition: SeriesDefinition) {
    this.#definition = definition;
    this.#duplicates = definition.duplicates === "keep" ? undefined : new Duplicates();
  }

  /** Whether rows have to come one by one. */
  get singly(): boolean {
    return this.#definition.order === "sort" || this.#duplicates !== undefined;
  }

  get newest(): bigint | undefined {
    return this.#hasKey ? pairToBigInt(this.#newestHi, this.#newestLo) : undefined;
  }

  /** A key among the rows that were found at opening. */
  found(key: bigint | undefined): void {
    if (key !== undefined) this.#note(Number(key >> 32n), Number(BigInt.asUintN(32, key)));
  }

  /**
   * Whether the row in the encoder, whose payload ends at `end`, is to be appended; `false` for a duplicate to drop.
   * @throws ERR_CONFLICT where a policy refuses it
   */
  admit({ keyHi, keyLo, bytes }: RowEncoder, end: number, released: () => bigint | undefined): boolean {
    const { schema, order, name, duplicates } = this.#definition;
    if (schema.key === undefined) return true;
    if (order !== "allow" && this.#hasKey && comparePairs(keyHi, keyLo, this.#newestHi, this.#newestLo) < 0) {
      const key = pairToBigInt(keyHi, keyLo);
      if (order === "reject") throw this.#outOfOrder(key);
      requireInWindow(key, released());
    }
    if (!this.#duplicates?.seen(keyHi, keyLo, bytes.subarray(JOURNAL_RECORD_BYTES, end))) return true;
    if (duplicates === "drop") return false;
    throw new StoreError("ERR_CONFLICT", `series "${name}": the row came before`, {
      context: { series: name, key: pairToBigInt(keyHi, keyLo) },
      hint: 'Open the series with duplicates "drop" to skip such rows, or "keep" to keep them.',
    });
  }

  /** The admitted row was appended. */
  appended({ keyHi, keyLo }: RowEncoder): void {
    if (this.#definition.schema.key !== undefined) this.#note(keyHi, keyLo);
  }

  /** The admitted row could not be appended, and may come again. */
  failed({ bytes }: RowEncoder, end: number): void {
    this.#duplicates?.forget(bytes.subarray(JOURNAL_RECORD_BYTES, end));
  }

  /**
   * Encodes a batch part by part, and with it checks every value and key: nothing is appended of a batch that has a
   * wrong one.
   * @returns where the payload of a batch of one part ends, which need not be encoded again; `appended` is to be
   *   called once the rows are
   */
  checkBatch(
    encoder: RowEncoder,
    batch: BatchInput,
    rows: number,
  ): { end: number | undefined; appended: () => void } {
    const { schema, order } = this.#definition;
    let [hi, lo, has] = [this.#newestHi, this.#newestLo, this.#hasKey];
    let end: number | undefined;
    for (let from = 0; from < rows; from += SERIES_RECORD_ROWS_MAX) {
      const to = Math.min(rows, from + SERIES_RECORD_ROWS_MAX);
      end = encoder.encodeBatch(batch, from, to);
      if (schema.key === undefined) continue;
      const { view, keysAt } = encoder;
      for (let at = keysAt; at < keysAt + 8 * (to - from); at += 8) {
        const nextLo = view.getUint32(at, true);
        const nextHi = view.getInt32(at + 4, true);
        const compared = has ? comparePairs(nextHi, nextLo, hi, lo) : 1;
        if (compared < 0 && order === "reject") {
          const row = from + (at - keysAt) / 8;
          throw this.#outOfOrder(pairToBigInt(nextHi, nextLo), { newest: pairToBigInt(hi, lo), row });
        }
        if (compared < 0) continue;
        hi = nextHi;
        lo = nextLo;
        has = true;
      }
    }
    const appended = () => {
      if (has) this.#note(hi, lo);
    };
    return { end: rows <= SERIES_RECORD_ROWS_MAX ? end : undefined, appended };
  }

  #note(hi: number, lo: number): void {
    if (this.#hasKey && comparePairs(hi, lo, this.#newestHi, this.#newestLo) <= 0) return;
    this.#hasKey = true;
    this.#newestHi = hi;
    this.#newestLo = lo;
  }

  #outOfOrder(key: bigint, at?: { newest: bigint; row: number }): StoreError {
    const newest = at?.newest ?? this.newest;
    const { name } = this.#definition;
    const where = at === undefined ? "" : `, row ${at.row + 1} of the batch`;
    return new StoreError(
      "ERR_CONFLICT",
      `series "${name}"${where}: the key ${key} is older than ${newest}, the newest`,
      {
        context: { series: name, key, newest, row: at?.row },
        hint: "Open the series with order `allow`, or `{ sortWithinMs }` for rows that come a little late.",
      },
    );
  }
}

function requireInWindow(key: bigint, released: bigint | undefined): void {
  if (released === undefined || key >= released) return;
  throw new StoreError(
    "ERR_CONFLICT",
    `a row with key ${key} comes too late: rows up to ${released} have left the sorting window`,
    {
      context: { key, released },
      hint: "Open the series with a larger window, with order `allow`, or drop such rows.",
    },
  );
}
