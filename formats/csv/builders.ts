import { isUtf8 } from "node:buffer";
import { StoreError } from "../../src/errors.ts";
import {
  type Column,
  type ColumnField,
  NUMBER_ARRAYS,
  type NumberArray,
  type NumberType,
} from "../tables/table.ts";
import {
  BARE,
  BOOLEAN,
  booleanOf,
  cellKind,
  EMPTY,
  FLOAT,
  INTEGER,
  integerWords,
  JSON_ESCAPED,
  JSON_NESTED,
  latin1,
  parseFloatCell,
  parseIntegerCell,
  QUOTED_ESCAPED,
  SPECIAL,
  specialBits,
} from "./cells.ts";
import { type RowBlock, unquoted } from "./rows.ts";

/** A cell that cannot be what its column is. */
export interface CellProblem {
  row: number;
  column: string;
  text: string;
  wanted: string;
}

/** Collects the cells of one column into the arrays of its type. */
export interface ColumnBuilder {
  readonly rows: number;
  /**
   * Takes over the cells of column `at` of a block. A cell that does not fit is told of and stands as null until the
   * caller has thrown, or has called `truncate` and appended again without its row.
   */
  append(block: RowBlock, at: number, skip: Uint8Array | undefined, onProblem: (row: number) => void): void;
  truncate(rows: number): void;
  /** The column of what was appended; the builder starts again from none. */
  finish(): Column;
}

export function columnBuilder(field: ColumnField): ColumnBuilder {
  const { type } = field;
  if (typeof type === "object" || type === "binary") {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `column ${field.name}: text holds no ${typeof type === "object" ? "lists" : "binary"}`,
      {
        context: { column: field.name },
        hint: "Read it as utf8, or keep the table as Arrow or Parquet.",
      },
    );
  }
  if (type === "utf8") return new TextBuilder(field);
  return type === "bool" ? new BooleanBuilder(field) : new NumberBuilder(field, type);
}

/** A cell in an error: its text, shortened. */
export function cellText(block: RowBlock, cell: number): string {
  const text = Buffer.from(block.bytes.subarray(block.starts[cell]!, block.ends[cell]!)).toString("utf8");
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

const FIRST_ROWS = 1024;

/** Bits that begin as zeros, in memory that grows. */
class Bits {
  bytes = new Uint8Array(FIRST_ROWS / 8);

  set(at: number): void {
    if (at >> 3 >= this.bytes.length) {
      const larger = new Uint8Array(Math.max((at >> 3) + 1, this.bytes.length * 2));
      larger.set(this.bytes);
      this.bytes = larger;
    }
    this.bytes[at >> 3]! |= 1 << (at & 7);
  }

  truncate(count: number): void {
    const whole = count >> 3;
    if (whole >= this.bytes.length) return;
    this.bytes[whole]! &= (1 << (count & 7)) - 1;
    this.bytes.fill(0, whole + 1);
  }

  take(count: number): Uint8Array {
    const out = new Uint8Array(Math.ceil(count / 8));
    out.set(this.bytes.subarray(0, out.length));
    this.bytes.fill(0);
    return out;
  }
}

abstract class Builder implements ColumnBuilder {
  rows = 0;
  protected readonly field: ColumnField;
  readonly #valid = new Bits();
  #nulls = 0;

  constructor(field: ColumnField) {
    this.field = field;
  }

  append(block: RowBlock, at: number, skip: Uint8Array | undefined, onProblem: (row: number) => void): void {
    this.reserve(this.rows + block.rows);
    const { bytes, starts, ends, forms, width } = block;
    for (let row = 0, cell = at; row < block.rows; row++, cell += width) {
      if (skip?.[row] === 1) continue;
      const start = starts[cell]!;
      const end = ends[cell]!;
      const form = forms[cell]!;
      const kind = this.kindOf(bytes, start, end, form);
      if (kind !== EMPTY && this.put(bytes, start, end, { kind, form })) this.#valid.set(this.rows);
      else {
        this.#nulls += 1;
        this.putNull();
        if (kind !== EMPTY) onProblem(row);
      }
      this.rows += 1;
    }
  }

  protected kindOf(bytes: Uint8Array, start: number, end: number, form: number): number {
    return cellKind(bytes, start, end, form);
  }

  truncate(rows: number): void {
    this.#valid.truncate(rows);
    this.rows = rows;
    // Which of the rest are null is not counted again: a validity bitmap of ones does no harm.
    this.truncateValues(rows);
  }

  finish(): Column {
    const { name, type, unit } = this.field;
    const rows = this.rows;
    const values = this.takeValues(rows);
    const validity = this.#valid.take(rows);
    const column = {
      name,
      type,
      ...(unit === undefined ? {} : { unit }),
      rows,
      ...values,
      ...(this.#nulls === 0 ? {} : { validity }),
    };
    this.rows = 0;
    this.#nulls = 0;
    return column;
  }

  protected abstract reserve(rows: number): void;
  protected abstract put(
    bytes: Uint8Array,
    start: number,
    end: number,
    cell: { kind: number; form: number },
  ): boolean;
  protected abstract putNull(): void;
  protected abstract truncateValues(rows: number): void;
  protected abstract takeValues(rows: number): { values: NumberArray; offsets?: Int32Array };
}

const INTEGER_RANGES: Partial<Record<NumberType, [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  i16: [-32768, 32767],
  u16: [0, 65535],
  i8: [-128, 127],
  u8: [0, 255],
};

class NumberBuilder extends Builder {
  readonly #type: NumberType;
  readonly #range: [number, number] | undefined;
  #values: NumberArray;
  /** The same memory in halves of 64 bits: integers and NaN payloads are written without a bigint. */
  #words = new Uint32Array(0);

  constructor(field: ColumnField, type: NumberType) {
    super(field);
    this.#type = type;
    this.#range = INTEGER_RANGES[type];
    this.#values = this.#allocate(FIRST_ROWS);
  }

  #allocate(rows: number): NumberArray {
    const values = new NUMBER_ARRAYS[this.#type](rows);
    this.#words = values.BYTES_PER_ELEMENT === 8 ? new Uint32Array(values.buffer) : this.#words;
    return values;
  }

  protected override reserve(rows: number): void {
    if (rows <= this.#values.length) return;
    const before = this.#values as Float64Array;
    this.#values = this.#allocate(Math.max(rows, before.length * 2));
    new Uint8Array(this.#values.buffer).set(new Uint8Array(before.buffer));
  }

  protected override put(bytes: Uint8Array, start: number, end: number, { kind }: { kind: number }): boolean {
    const at = this.rows;
    if (this.#type === "i64" || this.#type === "u64") {
      if (kind !== INTEGER || !parseIntegerCell(bytes, start, end, this.#type)) return false;
      this.#words[at * 2] = integerWords.low;
      this.#words[at * 2 + 1] = integerWords.high;
      return true;
    }
    if (this.#range !== undefined) {
      if (kind !== INTEGER) return false;
      const value = parseFloatCell(bytes, start, end);
      if (value < this.#range[0] || value > this.#range[1]) return false;
      this.#values[at] = value;
      return true;
    }
    if (kind === INTEGER || kind === FLOAT) this.#values[at] = parseFloatCell(bytes, start, end);
    else if (kind === SPECIAL) this.#putSpecial(specialBits(bytes, start, end)!, at);
    else return false;
    return true;
  }

  #putSpecial(bits: bigint, at: number): void {
    if (this.#type === "f64") {
      this.#words[at * 2] = Number(bits & 0xffffffffn);
      this.#words[at * 2 + 1] = Number(bits >> 32n);
      return;
    }
    // An f32's NaN keeps its sign and the upper bits of its payload, which is where a widening put them.
    const sign = Number(bits >> 63n) * 0x80000000;
    const mantissa = Number((bits >> 29n) & 0x7fffffn);
    new Uint32Array(this.#values.buffer)[at] = sign + 0x7f800000 + mantissa;
  }

  protected override putNull(): void {
    if (this.#values.BYTES_PER_ELEMENT === 8) this.#words.fill(0, this.rows * 2, this.rows * 2 + 2);
    else this.#values[this.rows] = 0;
  }

  protected override truncateValues(): void {}

  protected override takeValues(rows: number): { values: NumberArray } {
    return { values: this.#values.slice(0, rows) };
  }
}

class BooleanBuilder extends Builder {
  readonly #bits = new Bits();

  protected override reserve(): void {}

  protected override put(bytes: Uint8Array, start: number, end: number, { kind }: { kind: number }): boolean {
    if (kind !== BOOLEAN) return false;
    if (booleanOf(bytes, start, end) === true) this.#bits.set(this.rows);
    return true;
  }

  protected override putNull(): void {}

  protected override truncateValues(rows: number): void {
    this.#bits.truncate(rows);
  }

  protected override takeValues(rows: number): { values: Uint8Array } {
    return { values: this.#bits.take(rows) };
  }
}

const QUIET = 0;

class TextBuilder extends Builder {
  #bytes = new Uint8Array(FIRST_ROWS * 8);
  #length = 0;
  #offsets = new Int32Array(FIRST_ROWS + 1);

  protected override kindOf(_bytes: Uint8Array, start: number, end: number, form: number): number {
    return form === BARE && start === end ? EMPTY : QUIET + 1;
  }

  protected override reserve(rows: number): void {
    if (rows < this.#offsets.length) return;
    const larger = new Int32Array(Math.max(rows + 1, this.#offsets.length * 2));
    larger.set(this.#offsets);
    this.#offsets = larger;
  }

  protected override put(bytes: Uint8Array, start: number, end: number, { form }: { form: number }): boolean {
    if (form === JSON_NESTED) return false;
    const text = textOf(bytes, start, end, form);
    if (text === undefined) return false;
    this.#room(text.length);
    this.#bytes.set(text, this.#length);
    this.#length += text.length;
    this.#offsets[this.rows + 1] = this.#length;
    return true;
  }

  #room(sizeBytes: number): void {
    const end = this.#length + sizeBytes;
    if (end <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(end, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }

  protected override putNull(): void {
    this.#offsets[this.rows + 1] = this.#length;
  }

  protected override truncateValues(rows: number): void {
    this.#length = this.#offsets[rows]!;
  }

  protected override takeValues(rows: number): { values: Uint8Array; offsets: Int32Array } {
    const values = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return { values, offsets: this.#offsets.slice(0, rows + 1) };
  }
}

/** The text of a cell in UTF-8; `undefined` when it is none. */
export function textOf(bytes: Uint8Array, start: number, end: number, form: number): Uint8Array | undefined {
  if (form === JSON_ESCAPED) {
    try {
      return Buffer.from(
        JSON.parse(`"${Buffer.from(bytes.subarray(start, end)).toString("utf8")}"`) as string,
      );
    } catch {
      return undefined;
    }
  }
  const text = form === QUOTED_ESCAPED ? unquoted(bytes, start, end) : bytes.subarray(start, end);
  return isAscii(text) || isUtf8(text) ? text : undefined;
}

function isAscii(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! >= 0x80) return false;
  return true;
}

/** A cell's text for a header: names are UTF-8 too. */
export function nameOf(block: RowBlock, cell: number): string {
  const text = textOf(block.bytes, block.starts[cell]!, block.ends[cell]!, block.forms[cell]!);
  if (text === undefined) return latin1(block.bytes, block.starts[cell]!, block.ends[cell]!);
  return Buffer.from(text).toString("utf8").trim();
}
