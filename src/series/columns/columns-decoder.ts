import type { Codec } from "../../codec/codec.ts";
import { StoreError } from "../../errors.ts";
import { sliceBits } from "./bitmap.ts";
import { ByteSource } from "./byte-source.ts";
import { type Block, byteBlocks, readBytes } from "./bytes-blocks.ts";
import {
  type ColumnType,
  type ColumnValues,
  type NumberArray,
  type NumberType,
  numberArray,
  numbersOf,
} from "./column.ts";
import { FLAG_DICTIONARY, FLAG_VALIDITY } from "./column-format.ts";
import { numberPages, readNumbers } from "./numbers.ts";

/** A column as a segment keeps it. */
export interface ColumnBytes {
  name: string;
  type: ColumnType;
  bytes: Uint8Array;
}

/** A run of numbers, found but not decoded. */
interface Run {
  type: NumberType;
  count: number;
  pages: ByteSource[];
}

interface Parsed {
  validity?: Run;
  numbers?: Run;
  text?: { lengths: Run; sizeBytes: number; blocks: Block[]; indices?: Run };
}

export class ColumnsDecoder {
  readonly rows: number;
  readonly #codec: Codec;
  readonly #columns: Map<string, ColumnBytes>;
  readonly #parsed = new Map<string, Parsed>();

  constructor(codec: Codec, columns: readonly ColumnBytes[], rows: number) {
    this.#codec = codec;
    this.rows = rows;
    this.#columns = new Map(columns.map((column) => [column.name, column]));
  }

  /**
   * Rows [fromRow, toRow) of a column, as the caller's own arrays; null rows hold any value. Numbers go into `out`
   * when it is given: an array of the column's type for exactly these rows.
   * @throws StoreError ERR_NOT_FOUND, ERR_INVALID_ARGUMENT, ERR_STORE_CORRUPT naming column and byte.
   */
  decode(name: string, fromRow = 0, toRow = this.rows, out?: NumberArray): ColumnValues {
    const column = this.#column(name);
    if (!(fromRow >= 0 && fromRow <= toRow && toRow <= this.rows)) {
      throw new StoreError("ERR_INVALID_ARGUMENT", `rows ${fromRow} to ${toRow} of ${this.rows}`, {
        context: { fromRow, toRow, rows: this.rows },
        hint: "Ask for rows within the segment.",
      });
    }
    const parsed = this.#parse(column);
    const rows = toRow - fromRow;
    const result: ColumnValues = { name, type: column.type, rows, values: new Uint8Array(0) };
    if (parsed.validity) result.validity = this.#bits(parsed.validity, fromRow, rows);
    const numbers = numbersOf(column.type);
    if (numbers) {
      const values = out ?? numberArray(numbers.type, rows * numbers.perRow);
      this.#read(parsed.numbers!, fromRow * numbers.perRow, toRow * numbers.perRow, values);
      result.values = values;
    } else if (column.type === "bool") {
      result.values = this.#bits(parsed.numbers!, fromRow, rows);
    } else this.#readText(parsed.text!, fromRow, toRow, result);
    return result;
  }

  #column(name: string): ColumnBytes {
    const column = this.#columns.get(name);
    if (column) return column;
    throw new StoreError("ERR_NOT_FOUND", `no column "${name}"`, {
      context: { column: name, columns: [...this.#columns.keys()] },
      hint: "Name a column of this segment.",
    });
  }

  #parse(column: ColumnBytes): Parsed {
    const known = this.#parsed.get(column.name);
    if (known) return known;
    const source = new ByteSource(column.name, column.bytes);
    const parsed = this.#parseFrom(source, column.type);
    source.finish();
    this.#parsed.set(column.name, parsed);
    return parsed;
  }

  #parseFrom(source: ByteSource, type: ColumnType): Parsed {
    const { rows } = this;
    const flags = source.u8();
    const numbers = numbersOf(type);
    const isText = type === "utf8" || type === "binary";
    if ((flags & ~(FLAG_VALIDITY | (isText ? FLAG_DICTIONARY : 0))) !== 0) {
      throw source.corrupt(`unknown flags ${flags}`);
    }
    const run = (runType: NumberType, count: number): Run => ({
      type: runType,
      count,
      pages: numberPages(source, count),
    });
    const parsed: Parsed = {};
    if (flags & FLAG_VALIDITY) parsed.validity = run("u8", Math.ceil(rows / 8));
    if (numbers) parsed.numbers = run(numbers.type, rows * numbers.perRow);
    else if (type === "bool") parsed.numbers = run("u8", Math.ceil(rows / 8));
    else {
      const hasDictionary = (flags & FLAG_DICTIONARY) !== 0;
      const lengths = run("u32", hasDictionary ? source.varint(rows) : rows);
      const sizeBytes = this.#lengths(source, lengths).at(-1)!;
      const text = { lengths, sizeBytes, blocks: byteBlocks(source, sizeBytes) };
      parsed.text = hasDictionary ? { ...text, indices: run("u32", rows) } : text;
    }
    return parsed;
  }

  /** Where each of the values begins, and the end of the last. */
  #lengths(source: ByteSource, run: Run): Float64Array {
    const lengths = new Uint32Array(run.count);
    this.#read(run, 0, run.count, lengths);
    const starts = new Float64Array(run.count + 1);
    for (let i = 0; i < run.count; i++) starts[i + 1] = starts[i]! + lengths[i]!;
    if (starts[run.count]! > 2 ** 31 - 1) throw source.corrupt("its texts are over 2 GiB");
    return starts;
  }

  #read(run: Run, from: number, to: number, out: NumberArray): void {
    readNumbers(this.#codec, run.pages, run.type, run.count, from, to, out);
  }

  #bits(run: Run, fromRow: number, rows: number): Uint8Array {
    const firstByte = fromRow >> 3;
    const bytes = new Uint8Array(Math.ceil((fromRow + rows) / 8) - firstByte);
    this.#read(run, firstByte, firstByte + bytes.length, bytes);
    return sliceBits(bytes, fromRow & 7, rows);
  }

  #readText(text: NonNullable<Parsed["text"]>, fromRow: number, toRow: number, result: ColumnValues): void {
    const { lengths, sizeBytes, blocks, indices } = text;
    const starts = this.#lengths(new ByteSource(result.name, new Uint8Array(0)), lengths);
    const rows = toRow - fromRow;
    const offsets = new Int32Array(rows + 1);
    if (indices === undefined) {
      result.values = readBytes(this.#codec, blocks, sizeBytes, starts[fromRow]!, starts[toRow]!);
      for (let i = 0; i <= rows; i++) offsets[i] = starts[fromRow + i]! - starts[fromRow]!;
      result.offsets = offsets;
      return;
    }
    const chosen = new Uint32Array(rows);
    this.#read(indices, fromRow, toRow, chosen);
    const dictionary = readBytes(this.#codec, blocks, sizeBytes, 0, sizeBytes);
    let total = 0;
    for (let i = 0; i < rows; i++) {
      const index = chosen[i]!;
      if (index >= lengths.count) {
        throw indices.pages[0]!.corrupt(`row ${fromRow + i} names value ${index} of ${lengths.count}`);
      }
      total += starts[index + 1]! - starts[index]!;
      if (total > 2 ** 31 - 1) throw indices.pages[0]!.corrupt("its rows are over 2 GiB");
      offsets[i + 1] = total;
    }
    const values = new Uint8Array(total);
    for (let i = 0; i < rows; i++) {
      const index = chosen[i]!;
      values.set(dictionary.subarray(starts[index]!, starts[index + 1]!), offsets[i]!);
    }
    result.values = values;
    result.offsets = offsets;
  }
}
