import { StoreError } from "../../errors.ts";
import { PAGE_ROWS } from "../../kernels/column-kernels.ts";
import { COLUMN_CHAIN_MAX, COLUMN_KEPT_BYTES, COLUMN_TEXT_BYTES_MAX } from "../../limits.ts";
import { packBits, sliceBits } from "./bitmap.ts";
import { ByteSource } from "./byte-source.ts";
import { readBytes } from "./bytes-blocks.ts";
import {
  bytesOf,
  type ColumnType,
  type ColumnValues,
  type NumberArray,
  numberArray,
  numbersOf,
  numberWidth,
} from "./column.ts";
import {
  type ParsedColumn,
  type ParsedRecipe,
  parseColumn,
  type Run,
  readHeader,
  type Text,
} from "./column-parser.ts";
import type { Place } from "./integer-ring.ts";
import type { Workbench } from "./numbers.ts";
import { type Dependencies, decodeIntegers, decodePage, INDEPENDENT, makeNumbers } from "./page-decoder.ts";
import { type PageReader, readPage } from "./page-reader.ts";
import { columnOf, SOURCE_SUFFIX } from "./recipe.ts";
import { restoreDerived } from "./recipe-reader.ts";

/** A column as a segment keeps it. */
export interface ColumnBytes {
  name: string;
  type: ColumnType;
  bytes: Uint8Array;
}

/** Decodes columns, and whatever columns they are stored against; see `ColumnCodec.decoder`. */
export class ColumnsDecoder {
  readonly rows: number;
  readonly #workbench: Workbench;
  readonly #columns: Map<string, ColumnBytes>;
  readonly #parsed = new Map<string, ParsedColumn>();
  /** Columns that others are stored against. */
  readonly #referred = new Set<string>();
  readonly #places = new Map<string, Place>();
  readonly #kept = new Map<string, Float64Array>();
  #keptBytes = 0;
  /** Pages being decoded: one that comes again is stored against itself. */
  readonly #open = new Set<string>();

  constructor(workbench: Workbench, columns: readonly ColumnBytes[], rows: number) {
    this.#workbench = workbench;
    this.rows = rows;
    this.#columns = new Map(columns.map((column) => [column.name, column]));
    for (const { name, bytes } of columns) {
      // Most depend on none, which their second byte says.
      if (bytes[1] === 0) continue;
      try {
        for (const other of readHeader(new ByteSource(name, bytes)).dependencies) this.#referred.add(other);
      } catch (error) {
        // A damaged column is reported when it is asked for; the others can still be read.
        if (!(error instanceof StoreError)) throw error;
      }
    }
  }

  /**
   * Rows [fromRow, toRow) of a column, as the caller's own arrays; null rows hold any value. Numbers go into `out`
   * when it is given: an array of the column's type for exactly these rows.
   * @throws StoreError ERR_NOT_FOUND, ERR_INVALID_ARGUMENT, ERR_STORE_CORRUPT naming column and byte.
   */
  decode(name: string, fromRow = 0, toRow = this.rows, out?: NumberArray): ColumnValues {
    const column = this.#column(name);
    this.#checkRange(fromRow, toRow);
    const parsed = this.#parse(column);
    const rows = toRow - fromRow;
    const result: ColumnValues = { name, type: column.type, rows, values: new Uint8Array(0) };
    if (parsed.validity) result.validity = this.#validity(name, parsed.validity, fromRow, rows);
    const numbers = numbersOf(column.type);
    if (numbers) {
      const values = out ?? numberArray(numbers.type, rows * numbers.perRow);
      checkOut(name, values, numbers.type, rows * numbers.perRow);
      result.values = values;
      if (parsed.recipe) {
        (values as Float64Array).set(this.#derived(name, parsed.recipe).subarray(fromRow, toRow));
        return result;
      }
      const run = parsed.main ?? parsed.lists!;
      this.#read(name, run, fromRow * numbers.perRow, toRow * numbers.perRow, values);
    } else if (column.type === "bool") {
      const values = new Uint8Array(rows);
      this.#read(name, parsed.main!, fromRow, toRow, values);
      result.values = packBits(values);
    } else this.#readText(parsed.text!, parsed.main, fromRow, toRow, result);
    return result;
  }

  #checkRange(fromRow: number, toRow: number): void {
    const whole = Number.isInteger(fromRow) && Number.isInteger(toRow);
    if (whole && fromRow >= 0 && fromRow <= toRow && toRow <= this.rows) return;
    throw new StoreError("ERR_INVALID_ARGUMENT", `rows ${fromRow} to ${toRow} of ${this.rows}`, {
      context: { fromRow, toRow, rows: this.rows },
      hint: "Ask for rows within the segment.",
    });
  }

  #column(name: string): ColumnBytes {
    const column = this.#columns.get(name);
    if (column) return column;
    throw new StoreError("ERR_NOT_FOUND", `no column "${name}" is at hand`, {
      context: { column: name, columns: [...this.#columns.keys()] },
      hint: "Name a column of this segment, and hand over those it depends on.",
    });
  }

  #parse(column: ColumnBytes): ParsedColumn {
    const known = this.#parsed.get(column.name);
    if (known) return known;
    const source = new ByteSource(column.name, column.bytes);
    const sumOf = (lengths: Run) => this.#starts(column.name, lengths).at(-1)!;
    const parsed = parseColumn(source, column.type, this.rows, sumOf);
    this.#parsed.set(column.name, parsed);
    return parsed;
  }

  /** Numbers [from, to) of a run into `out`. */
  #read(name: string, run: Run, from: number, to: number, out: NumberArray): void {
    const width = numberWidth(run.type);
    const bytes = bytesOf(out);
    const isMain = run === this.#parsed.get(name)?.main && this.#referred.has(name);
    for (let index = Math.floor(from / PAGE_ROWS); index * PAGE_ROWS < to; index++) {
      const start = index * PAGE_ROWS;
      const page = this.#page(run, index);
      const first = Math.max(from - start, 0);
      const end = Math.min(to - start, page.count);
      const part = bytes.subarray((start + first - from) * width, (start + end - from) * width);
      if (isMain && page.compact) this.#readKept(name, run, index, first, end, part);
      else this.#readPage(name, run, index, first, end, part);
    }
  }

  #readPage(
    name: string,
    run: Run,
    index: number,
    first: number,
    end: number,
    part: Uint8Array,
    reserve?: () => number,
  ): void {
    const { kernels, codec } = this.#workbench;
    const page = this.#page(run, index);
    const dependencies = this.#dependencies(name, run, index);
    const decode = () => decodePage(kernels, codec, page, first, end, dependencies, part, reserve);
    // What depends on nothing cannot hang on itself.
    if (run.dependencies.length === 0) decode();
    else this.#guarded(name, index, decode);
  }

  /** Rows [first, end) of a page that others are stored against, whose integers are kept. */
  #readKept(name: string, run: Run, index: number, first: number, end: number, part: Uint8Array): void {
    const { kernels, kept } = this.#workbench;
    const page = this.#page(run, index);
    const key = `${index} ${name}`;
    const known = this.#places.get(key);
    if ((known === undefined || !kept.holds(known)) && first === 0 && end === page.count) {
      let made: Place | undefined;
      this.#readPage(name, run, index, first, end, part, () => {
        made = kept.reserve(page.count);
        return made.address;
      });
      if (made) this.#places.set(key, made);
      return;
    }
    const integers = this.#integers(name, index) + first * 8;
    makeNumbers(kernels, page, integers, first, end, part);
  }

  /** A column that another one is stored against. */
  #atHand(name: string, other: string): string {
    if (this.#columns.has(other)) return other;
    throw new ByteSource(name, new Uint8Array(0)).corrupt(
      `it is stored against column "${other}", which is missing`,
    );
  }

  #page(run: Run, index: number): PageReader {
    const count = Math.min(PAGE_ROWS, run.count - index * PAGE_ROWS);
    run.read[index] ??= readPage(run.pages[index]!, run.type, count, run.dependencies.length);
    return run.read[index]!;
  }

  #dependencies(name: string, run: Run, index: number): Dependencies {
    if (run.dependencies.length === 0) return INDEPENDENT;
    const { kept } = this.#workbench;
    return {
      integersOf: (of) => this.#integers(this.#atHand(name, run.dependencies[of]!), index),
      get decoded() {
        return kept.head;
      },
    };
  }

  /** Address of all integers of a page of a column that others are stored against; good until the next page is decoded. */
  #integers(name: string, index: number): number {
    const key = `${index} ${name}`;
    const { kernels, codec, kept } = this.#workbench;
    const known = this.#places.get(key);
    if (known && kept.holds(known)) return known.address;
    const { main } = this.#parse(this.#column(name));
    if (main === undefined) {
      throw new ByteSource(name, new Uint8Array(0)).corrupt(
        "another column is stored against it, which has no numbers",
      );
    }
    const page = this.#page(main, index);
    return this.#guarded(name, index, () => {
      let made: Place | undefined;
      decodeIntegers(kernels, codec, page, this.#dependencies(name, main, index), () => {
        made = kept.reserve(page.count);
        return made.address;
      });
      this.#places.set(key, made!);
      return made!.address;
    });
  }

  /** All values of a column with a recipe; kept, since what follows from one thing often serves another. */
  #derived(name: string, { formula, hidden, residual }: ParsedRecipe): Float64Array {
    const key = `values ${name}`;
    const known = this.#kept.get(key);
    if (known) return known;
    const values = this.#guarded(name, -1, () => {
      const sources = formula.sources.map((source) => this.#sourceValues(name, source));
      if (hidden) sources.push(this.#hidden(name, hidden));
      const left = new BigInt64Array(this.rows);
      this.#read(name, residual, 0, this.rows, left);
      return restoreDerived(this.#workbench.kernels, formula, sources, left);
    });
    this.#keep(key, values);
    return values;
  }

  #sourceValues(name: string, source: string): Float64Array {
    const column = this.#column(this.#atHand(name, columnOf(source)));
    const parsed = this.#parse(column);
    const wanting = () =>
      new ByteSource(name, new Uint8Array(0)).corrupt(`it follows from "${source}", which is not there`);
    if (source.endsWith(SOURCE_SUFFIX)) {
      if (parsed.recipe?.hidden === undefined) throw wanting();
      return this.#hidden(column.name, parsed.recipe.hidden);
    }
    if (column.type !== "f64") throw wanting();
    return this.decode(column.name).values as Float64Array;
  }

  #hidden(name: string, run: Run): Float64Array {
    const key = `source ${name}`;
    const known = this.#kept.get(key);
    if (known) return known as Float64Array;
    const values = new Float64Array(this.rows);
    this.#read(name, run, 0, this.rows, values);
    this.#keep(key, values);
    return values;
  }

  #keep(key: string, values: Float64Array): void {
    for (const [oldest, { byteLength }] of this.#kept) {
      if (this.#keptBytes + values.byteLength <= COLUMN_KEPT_BYTES) break;
      this.#kept.delete(oldest);
      this.#keptBytes -= byteLength;
    }
    this.#kept.set(key, values);
    this.#keptBytes += values.byteLength;
  }

  /** Decodes a page unless that is under way already: then it hangs on itself. */
  #guarded<T>(name: string, index: number, decode: () => T): T {
    const key = `${index} ${name}`;
    if (this.#open.has(key)) {
      throw new ByteSource(name, new Uint8Array(0)).corrupt("it is stored against itself");
    }
    if (this.#open.size >= COLUMN_CHAIN_MAX) {
      throw new ByteSource(name, new Uint8Array(0)).corrupt(
        `more than ${COLUMN_CHAIN_MAX} columns hang on each other`,
      );
    }
    this.#open.add(key);
    try {
      return decode();
    } finally {
      this.#open.delete(key);
    }
  }

  #validity(name: string, run: Run, fromRow: number, rows: number): Uint8Array {
    const firstByte = fromRow >> 3;
    const bytes = new Uint8Array(Math.ceil((fromRow + rows) / 8) - firstByte);
    this.#read(name, run, firstByte, firstByte + bytes.length, bytes);
    return sliceBits(bytes, fromRow & 7, rows);
  }

  /** Where each of the values begins, and the end of the last. */
  #starts(name: string, run: Run): Float64Array {
    const lengths = new Uint32Array(run.count);
    this.#read(name, run, 0, run.count, lengths);
    const starts = new Float64Array(run.count + 1);
    for (let i = 0; i < run.count; i++) starts[i + 1] = starts[i]! + lengths[i]!;
    if (starts[run.count]! > COLUMN_TEXT_BYTES_MAX) throw run.pages[0]!.corrupt("its texts are over 2 GiB");
    return starts;
  }

  #readText(
    text: Text,
    indices: Run | undefined,
    fromRow: number,
    toRow: number,
    result: ColumnValues,
  ): void {
    const { name } = result;
    const { codec } = this.#workbench;
    const starts = this.#starts(name, text.lengths);
    if (indices) {
      const chosen = new Uint32Array(toRow - fromRow);
      this.#read(name, indices, fromRow, toRow, chosen);
      const dictionary = readBytes(codec, text.blocks, text.sizeBytes, 0, text.sizeBytes);
      Object.assign(result, lookUp(chosen, starts, dictionary, indices));
      return;
    }
    result.values = readBytes(codec, text.blocks, text.sizeBytes, starts[fromRow]!, starts[toRow]!);
    result.offsets = Int32Array.from(
      { length: toRow - fromRow + 1 },
      (_, i) => starts[fromRow + i]! - starts[fromRow]!,
    );
  }
}

/** The values that rows have of a dictionary. */
function lookUp(chosen: Uint32Array, starts: Float64Array, dictionary: Uint8Array, indices: Run) {
  const offsets = new Int32Array(chosen.length + 1);
  let total = 0;
  chosen.forEach((index, i) => {
    if (index >= starts.length - 1) {
      throw indices.pages[0]!.corrupt(`a row names value ${index} of ${starts.length - 1}`);
    }
    total += starts[index + 1]! - starts[index]!;
    if (total > COLUMN_TEXT_BYTES_MAX) throw indices.pages[0]!.corrupt("its rows are over 2 GiB");
    offsets[i + 1] = total;
  });
  const values = new Uint8Array(total);
  chosen.forEach((index, i) => {
    values.set(dictionary.subarray(starts[index]!, starts[index + 1]!), offsets[i]!);
  });
  return { values, offsets };
}

function checkOut(
  name: string,
  out: NumberArray,
  type: Parameters<typeof numberArray>[0],
  length: number,
): void {
  if (out.length === length && out.constructor === numberArray(type, 0).constructor) return;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `column "${name}": ${length} numbers of ${type} do not fit "out"`,
    {
      context: { column: name, length, type },
      hint: "Pass an array of the column's type for exactly the rows asked for.",
    },
  );
}
