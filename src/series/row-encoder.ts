import { StoreError } from "../errors.ts";
import { SERIES_ROW_BYTES_MAX } from "../limits.ts";
import { setBit, sliceBits } from "./column-slice.ts";
import { JOURNAL_RECORD_BYTES } from "./journal-format.ts";
import { misfit } from "./misfit.ts";
import type { ArrowColumn, BatchInput, PairColumn, RowInput } from "./row-input.ts";
import {
  arrayOf,
  type Column,
  columnIndex,
  type NumberArray,
  type NumberType,
  type Schema,
  storageOf,
  widthOf,
} from "./schema.ts";
import { writeInteger, writeNumber } from "./write-number.ts";

/** What most rows are made of is told apart by a number: comparing names of types costs as much as writing a value. */
const CELLS = { other: 0, f64: 1, wide: 2 } as const;

function cellKind({ type, nullable, listSize }: Column): number {
  if (nullable || listSize > 0) return CELLS.other;
  if (type === "f64") return CELLS.f64;
  const storage = storageOf(type);
  return storage === "i64" || storage === "u64" ? CELLS.wide : CELLS.other;
}

const utf8 = new TextEncoder();

/** Half of a surrogate pair, which UTF-8 cannot hold. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Turns rows into journal payloads (docs/formats/series.md), in a buffer that is used again for the next one. The
 * payload begins at `JOURNAL_RECORD_BYTES`, so that the record's header goes before it without a copy.
 */
export class RowEncoder {
  bytes = new Uint8Array(4096);
  view = new DataView(this.bytes.buffer);
  /** The key of the row encoded last, by its halves; of a batch, where its keys begin in the buffer. */
  keyHi = 0;
  keyLo = 0;
  keysAt = 0;
  readonly #columns: readonly Column[];
  readonly #cells: readonly { column: Column; kind: number }[];
  /** Room for a row whose values are all single numbers. */
  readonly #rowRoom: number;
  readonly #keyAt: number;
  #end = 0;

  constructor(schema: Schema) {
    this.#columns = schema.columns;
    this.#cells = schema.columns.map((column) => ({ column, kind: cellKind(column) }));
    this.#rowRoom = JOURNAL_RECORD_BYTES + 16 * schema.columns.length + 64;
    this.#keyAt = schema.key === undefined ? -1 : columnIndex(schema, schema.key);
  }

  /**
   * Encodes one row and returns where its payload ends.
   * @throws ERR_INVALID_ARGUMENT naming the column, ERR_LIMIT for a row wider than `SERIES_ROW_BYTES_MAX`
   */
  encodeRow(row: RowInput): number {
    this.#end = JOURNAL_RECORD_BYTES;
    if (this.bytes.length < this.#rowRoom) this.#room(this.#rowRoom);
    for (let i = 0; i < this.#cells.length; i++) {
      const { column, kind } = this.#cells[i]!;
      const value = row[column.name];
      if (i === this.#keyAt) this.keysAt = this.#end;
      if (kind === CELLS.f64 && typeof value === "number") {
        this.view.setFloat64(this.#end, value, true);
        this.#end += 8;
      } else if (kind === CELLS.wide && value !== undefined && value !== null) {
        writeInteger(column, this.view, this.#end, value);
        this.#end += 8;
      } else this.#cell(column, value);
    }
    if (this.#keyAt >= 0) {
      this.keyLo = this.view.getUint32(this.keysAt, true);
      this.keyHi = this.view.getInt32(this.keysAt + 4, true);
    }
    if (this.#end - JOURNAL_RECORD_BYTES > SERIES_ROW_BYTES_MAX)
      throw tooWide(this.#end - JOURNAL_RECORD_BYTES);
    return this.#end;
  }

  #cell(column: Column, value: unknown): void {
    this.#room(16);
    if (column.nullable) {
      const given = value !== undefined && value !== null;
      this.bytes[this.#end++] = given ? 1 : 0;
      if (!given) {
        this.#skip(column);
        return;
      }
    } else if (value === undefined || value === null) throw misfit(column, value, "it may not be null");
    this.#value(column, value);
    // For the numbers that follow, which do not ask.
    this.#room(this.#rowRoom);
  }

  /** Encodes rows [from, to) of a batch whose lengths have been checked (`rowsOfBatch`), and returns the payload's end. */
  encodeBatch(batch: BatchInput, from: number, to: number): number {
    this.#end = JOURNAL_RECORD_BYTES;
    const rows = to - from;
    for (let i = 0; i < this.#columns.length; i++) {
      const column = this.#columns[i]!;
      const input = batch[column.name];
      this.#room(((rows + 7) >> 3) + 8);
      if (input !== undefined && "arrow" in input) {
        this.#arrow(column, i, input.arrow, from, to);
        continue;
      }
      // Not `values`: every typed array has a method of that name.
      const masked = input !== undefined && "valid" in input ? input : undefined;
      const values = masked?.values ?? (input as ArrayLike<unknown> | PairColumn | undefined);
      const valid = masked?.valid;
      const present = column.nullable ? this.#validity(values, valid, from, to) : undefined;
      if (i === this.#keyAt) this.keysAt = this.#end;
      this.#values(column, values, { from, to, present });
    }
    return this.#end;
  }

  #arrow(
    column: Column,
    place: number,
    { values, offsets, validity }: ArrowColumn["arrow"],
    from: number,
    to: number,
  ): void {
    const rows = to - from;
    if (column.nullable) {
      this.#put(validity === undefined ? allOnes(rows) : sliceBits(validity, from, rows));
    } else if (validity !== undefined) {
      const ones = allOnes(rows);
      if (!sliceBits(validity, from, rows).every((byte, at) => byte === ones[at]))
        throw misfit(column, null, "it may not be null");
    }
    if (place === this.#keyAt) this.keysAt = this.#end;
    if (offsets !== undefined) {
      this.#room(4 * rows);
      for (let row = from; row < to; row++) {
        this.view.setUint32(this.#end, offsets[row + 1]! - offsets[row]!, true);
        this.#end += 4;
      }
      this.#put((values as Uint8Array).subarray(offsets[from]!, offsets[to]!));
    } else if (column.type === "bool") this.#put(sliceBits(values as Uint8Array, from, rows));
    else {
      const storage = storageOf(column.type)!;
      if (!isArrayOf(storage, values)) throw misfit(column, typeof values, `it takes an array of ${storage}`);
      const perRow = Math.max(1, column.listSize);
      const part = values.subarray(from * perRow, to * perRow);
      this.#put(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    }
  }

  #put(bytes: Uint8Array): void {
    this.#room(bytes.byteLength);
    this.bytes.set(bytes, this.#end);
    this.#end += bytes.byteLength;
  }

  #validity(
    values: ArrayLike<unknown> | PairColumn | undefined,
    valid: ArrayLike<number | boolean> | undefined,
    from: number,
    to: number,
  ): (row: number) => boolean {
    const typed = ArrayBuffer.isView(values) || (values !== undefined && "hi" in values);
    const present = (row: number): boolean => {
      if (values === undefined || (valid !== undefined && !valid[row])) return false;
      return typed || ((values as ArrayLike<unknown>)[row] ?? null) !== null;
    };
    const bytes = (to - from + 7) >> 3;
    const bitmap = this.bytes.subarray(this.#end, this.#end + bytes).fill(0);
    for (let row = from; row < to; row++) if (present(row)) setBit(bitmap, row - from);
    this.#end += bytes;
    return present;
  }

  #values(
    column: Column,
    values: ArrayLike<unknown> | PairColumn | undefined,
    { from, to, present }: { from: number; to: number; present: ((row: number) => boolean) | undefined },
  ): void {
    const rows = to - from;
    const storage = storageOf(column.type);
    if (column.type === "utf8" || column.type === "binary") {
      this.#variable(column, values as ArrayLike<unknown> | undefined, { from, to, present });
      return;
    }
    if (storage === undefined) {
      this.#booleans(column, values as ArrayLike<unknown>, { from, to, present });
      return;
    }
    const perRow = Math.max(1, column.listSize);
    const width = widthOf(column.type);
    this.#room(rows * perRow * width);
    if (isArrayOf(storage, values)) {
      const scale = values.length >= to * perRow ? perRow : 1;
      const part = values.subarray(from * scale, to * scale);
      this.bytes.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), this.#end);
      this.#end += part.byteLength;
      return;
    }
    for (let row = from; row < to; row++) {
      if (present !== undefined && !present(row)) this.#zeros(perRow * width);
      else if (values !== undefined && "hi" in values) {
        writeInteger(column, this.view, this.#end, { hi: values.hi[row]!, lo: values.lo[row]! });
        this.#end += 8;
      } else this.#value(column, (values as ArrayLike<unknown>)[row]);
    }
  }

  #booleans(
    column: Column,
    values: ArrayLike<unknown>,
    { from, to, present }: { from: number; to: number; present: ((row: number) => boolean) | undefined },
  ): void {
    const bytes = (to - from + 7) >> 3;
    this.#room(bytes);
    const bitmap = this.bytes.subarray(this.#end, this.#end + bytes).fill(0);
    for (let row = from; row < to; row++) {
      if (present !== undefined && !present(row)) continue;
      const value = values[row];
      if (typeof value !== "boolean" && value !== 0 && value !== 1)
        throw misfit(column, value, "it takes true or false");
      if (value) setBit(bitmap, row - from);
    }
    this.#end += bytes;
  }

  #variable(
    column: Column,
    values: ArrayLike<unknown> | undefined,
    { from, to, present }: { from: number; to: number; present: ((row: number) => boolean) | undefined },
  ): void {
    const lengthsAt = this.#end;
    this.#room(4 * (to - from));
    this.#end += 4 * (to - from);
    for (let row = from; row < to; row++) {
      const before = this.#end;
      if (present === undefined || present(row)) this.#bytesOf(column, values![row]);
      this.view.setUint32(lengthsAt + 4 * (row - from), this.#end - before, true);
    }
  }

  /** One value of a row, or one row's numbers of a list. */
  #value(column: Column, value: unknown): void {
    if (column.listSize > 0) {
      this.#list(column, value);
      return;
    }
    switch (column.type) {
      case "f64":
        if (typeof value !== "number") throw misfit(column, value, "it takes a number");
        this.view.setFloat64(this.#end, value, true);
        this.#end += 8;
        return;
      case "i64":
      case "u64":
      case "ts_ns":
      case "ts_us":
      case "ts_ms":
        writeInteger(column, this.view, this.#end, value);
        this.#end += 8;
        return;
      case "bool":
        if (typeof value !== "boolean") throw misfit(column, value, "it takes true or false");
        this.bytes[this.#end++] = value ? 1 : 0;
        return;
      case "utf8":
      case "binary": {
        const lengthAt = this.#end;
        this.#end += 4;
        this.#bytesOf(column, value);
        this.view.setUint32(lengthAt, this.#end - lengthAt - 4, true);
        return;
      }
      default:
        this.#end = writeNumber(column, this.view, this.#end, value);
    }
  }

  #list(column: Column, value: unknown): void {
    const list = value as ArrayLike<unknown>;
    if (typeof value !== "object" || list.length !== column.listSize) {
      throw misfit(column, value, `it takes ${column.listSize} numbers`);
    }
    this.#room(column.listSize * widthOf(column.type));
    for (let i = 0; i < column.listSize; i++) this.#value({ ...column, listSize: 0 }, list[i]);
  }

  #bytesOf(column: Column, value: unknown): void {
    if (column.type === "utf8") {
      if (typeof value !== "string") throw misfit(column, value, "it takes text");
      if (LONE_SURROGATE.test(value)) throw misfit(column, value, "the text holds half a surrogate pair");
      this.#room(value.length * 3);
      this.#end += utf8.encodeInto(value, this.bytes.subarray(this.#end)).written;
      return;
    }
    if (!(value instanceof Uint8Array)) throw misfit(column, value, "it takes a Uint8Array");
    this.#room(value.byteLength);
    this.bytes.set(value, this.#end);
    this.#end += value.byteLength;
  }

  /** What stands for a value that is null. */
  #skip(column: Column): void {
    const perRow = Math.max(1, column.listSize);
    if (column.type === "bool") this.#zeros(1);
    else if (column.type === "utf8" || column.type === "binary") this.#zeros(4);
    else this.#zeros(perRow * widthOf(column.type));
  }

  #zeros(count: number): void {
    this.#room(count);
    this.bytes.fill(0, this.#end, this.#end + count);
    this.#end += count;
  }

  #room(sizeBytes: number): void {
    const end = this.#end + sizeBytes + 64;
    if (end <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(end, this.bytes.length * 2));
    larger.set(this.bytes.subarray(0, this.#end));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
}

/** A bitmap of `rows` ones. */
function allOnes(rows: number): Uint8Array {
  const bitmap = new Uint8Array((rows + 7) >> 3).fill(255);
  if ((rows & 7) !== 0) bitmap[bitmap.length - 1] = (1 << (rows & 7)) - 1;
  return bitmap;
}

function isArrayOf(type: NumberType, values: unknown): values is NumberArray {
  return values instanceof arrayOf(type);
}

function tooWide(sizeBytes: number): StoreError {
  return new StoreError("ERR_LIMIT", `a row of ${sizeBytes} bytes is over ${SERIES_ROW_BYTES_MAX}`, {
    context: { sizeBytes, limit: SERIES_ROW_BYTES_MAX },
    hint: "Keep large values in a checkpoint's file and their name in the series.",
  });
}
