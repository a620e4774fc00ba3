import type { ColumnField, ColumnType } from "../tables/table.ts";
import {
  BOOLEAN,
  cellKind,
  EMPTY,
  FLOAT,
  INTEGER,
  isExactAsFloat,
  parseIntegerCell,
  SPECIAL,
} from "./cells.ts";
import type { RowBlock } from "./rows.ts";

/**
 * What a column's cells are, all of them looked at. Nothing that would change a value is chosen: integers stay exact
 * whatever their size, and a column of floats with an integer that no float equals is text.
 */
export class ColumnGuess {
  readonly name: string;
  #filled = 0;
  #integers = 0;
  #floats = 0;
  #booleans = 0;
  #negative = false;
  #pastI64 = false;
  #pastU64 = false;
  #beyondFloat = false;

  constructor(name: string) {
    this.name = name;
  }

  see(block: RowBlock, at: number): void {
    const { bytes, starts, ends, forms, width, rows } = block;
    for (let row = 0, cell = at; row < rows; row++, cell += width) {
      const start = starts[cell]!;
      const end = ends[cell]!;
      const kind = cellKind(bytes, start, end, forms[cell]!);
      if (kind === EMPTY) continue;
      this.#filled += 1;
      if (kind === INTEGER) this.#seeInteger(bytes, start, end);
      else if (kind === FLOAT || kind === SPECIAL) this.#floats += 1;
      else if (kind === BOOLEAN) this.#booleans += 1;
    }
  }

  #seeInteger(bytes: Uint8Array, start: number, end: number): void {
    this.#integers += 1;
    if (end - start <= 15) {
      if (bytes[start] === 0x2d) this.#negative = true;
      return;
    }
    if (bytes.subarray(start, end).includes(0x2d)) this.#negative = true;
    if (!parseIntegerCell(bytes, start, end, "i64")) {
      if (parseIntegerCell(bytes, start, end, "u64")) this.#pastI64 = true;
      else this.#pastU64 = true;
    }
    if (!this.#beyondFloat && !isExactAsFloat(bytes, start, end)) this.#beyondFloat = true;
  }

  /**
   * The type. A column whose filled cells are numbers for the most part is one of numbers, and what else stands in it
   * is for the reader to object to; a few numbers among words are words.
   */
  field(): ColumnField {
    return { name: this.name, type: this.#type() };
  }

  #type(): ColumnType {
    if (this.#filled > 0 && this.#booleans === this.#filled) return "bool";
    const numbers = this.#integers + this.#floats;
    if (numbers * 2 <= this.#filled || numbers === 0) return "utf8";
    if (this.#floats > 0) return this.#beyondFloat ? "utf8" : "f64";
    if (!this.#pastU64 && !(this.#pastI64 && this.#negative)) return this.#pastI64 ? "u64" : "i64";
    return this.#beyondFloat ? "utf8" : "f64";
  }
}
