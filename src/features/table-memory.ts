import { bytesOf, NUMBER_ARRAYS, numbersOf, numberWidth } from "../series/columns/column.ts";
import { type ColumnManifest, corruptManifest, type FeatureColumn } from "./format.ts";

/** What Arrow aligns buffers to, and what a cache line holds. */
const ALIGNMENT = 64;

/** Where a column's arrays lie, in bytes from the buffer's start. */
interface Place {
  values: { at: number; sizeBytes: number };
  offsets: { at: number } | undefined;
  validity: { at: number } | undefined;
}

/**
 * The one buffer of a table's columns. It is allocated when it is first written to: the collector takes a large
 * allocation for a reason to work, which is to happen while other threads read and not before.
 */
export class TableMemory {
  readonly #columns: readonly ColumnManifest[];
  readonly #rows: number;
  readonly #places: readonly Place[];
  readonly #sizeBytes: number;
  readonly #made: FeatureColumn[] = [];
  #buffer: ArrayBuffer | undefined;

  constructor(columns: readonly ColumnManifest[], rows: number) {
    this.#columns = columns;
    this.#rows = rows;
    let end = 0;
    const take = (sizeBytes: number) => {
      const place = { at: end, sizeBytes };
      end = Math.ceil((end + sizeBytes) / ALIGNMENT) * ALIGNMENT;
      return place;
    };
    const bitmapBytes = Math.ceil(rows / 8);
    this.#places = columns.map((column) => {
      const isText = column.type === "utf8" || column.type === "binary";
      return {
        values: take(valueBytes(column, rows)),
        offsets: isText ? take((rows + 1) * 4) : undefined,
        validity: column.hasNulls ? take(bitmapBytes) : undefined,
      };
    });
    this.#sizeBytes = end;
  }

  /** A column's arrays, whatever has been written to them yet. */
  column(at: number): FeatureColumn {
    this.#made[at] ??= this.#make(this.#columns[at]!, this.#places[at]!);
    return this.#made[at]!;
  }

  /** The bytes of a column's numbers in rows [from, to). */
  numbers(at: number, from: number, to: number): Uint8Array {
    const { type, values } = this.column(at);
    const { perRow } = numbersOf(type)!;
    return bytesOf(values.subarray(from * perRow, to * perRow));
  }

  #make({ name, type, unit }: ColumnManifest, { values, offsets, validity }: Place): FeatureColumn {
    this.#buffer ??= new ArrayBuffer(this.#sizeBytes);
    const numbers = numbersOf(type);
    const rows = this.#rows;
    const made: FeatureColumn = {
      name,
      type,
      ...(unit === undefined ? {} : { unit }),
      rows,
      values:
        numbers === undefined
          ? new Uint8Array(this.#buffer, values.at, values.sizeBytes)
          : new NUMBER_ARRAYS[numbers.type](this.#buffer, values.at, rows * numbers.perRow),
    };
    if (offsets !== undefined) made.offsets = new Int32Array(this.#buffer, offsets.at, rows + 1);
    if (validity !== undefined) {
      made.validity = new Uint8Array(this.#buffer, validity.at, Math.ceil(rows / 8)).fill(255);
    }
    return made;
  }
}

function valueBytes({ type, textBytes }: ColumnManifest, rows: number): number {
  const numbers = numbersOf(type);
  if (numbers !== undefined) return rows * numbers.perRow * numberWidth(numbers.type);
  return type === "bool" ? Math.ceil(rows / 8) : textBytes;
}

/** Puts a bitmap of rows from `from` on, a multiple of 8, into a column's validity. */
export function putValidity({ name, validity }: FeatureColumn, bits: Uint8Array, from: number): void {
  if (validity === undefined) {
    throw corruptManifest(`column ${JSON.stringify(name)} has nulls it does not tell of`);
  }
  validity.set(bits, from >> 3);
}

/** Puts the texts of rows from `from` on behind those of the rows before, which must be there. */
export function putTexts(out: FeatureColumn, text: Uint8Array, offsets: Int32Array, from: number): void {
  const values = out.values as Uint8Array;
  const start = from === 0 ? 0 : out.offsets![from]!;
  const base = offsets[0]!;
  const end = start + offsets[offsets.length - 1]! - base;
  if (end > values.length) {
    throw corruptManifest(`column ${JSON.stringify(out.name)} has more text than it tells of`);
  }
  values.set(text.subarray(base, offsets[offsets.length - 1]!), start);
  for (let i = 0; i < offsets.length; i++) out.offsets![from + i] = offsets[i]! - base + start;
}
