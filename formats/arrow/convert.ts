// By the modules that are needed: all of the library takes twice as long to load, and they are the same ones.
import { type Data, makeData } from "apache-arrow/data";
import { RecordBatch } from "apache-arrow/recordbatch";
import { Field, Schema } from "apache-arrow/schema";
import { Table as ArrowTable } from "apache-arrow/table";
import { type DataType, Struct } from "apache-arrow/type";
import type { Vector } from "apache-arrow/vector";
import { StoreError } from "../../src/errors.ts";
import { ARROW_EXPANDED_BYTES_MAX } from "../../src/limits.ts";
import { concatTables, sliceBits, takeRows } from "../tables/combine.ts";
import {
  type Column,
  NUMBER_ARRAYS,
  type NumberArray,
  type NumberType,
  nullCount,
  type Table,
} from "../tables/table.ts";
import { arrowType, fieldOf } from "./types.ts";

/** Columns as Arrow's own objects and back. Numbers, offsets and bitmaps are shared, never copied, where both allow. */

/** An Arrow table over the same memory. */
export function toArrowTable(table: Table): ArrowTable {
  const schema = arrowSchema(table);
  return new ArrowTable(schema, [toRecordBatch(table, schema)]);
}

export function arrowSchema(table: Table): Schema {
  // Whether a column may hold nulls is a property of the file, not of one batch: every column may.
  return new Schema(table.columns.map((column) => new Field(column.name, arrowType(column), true)));
}

export function toRecordBatch(table: Table, schema: Schema): RecordBatch {
  const children = table.columns.map((column) => dataOf(column));
  const type = new Struct(schema.fields);
  return new RecordBatch(schema, makeData({ type, length: table.rows, nullCount: 0, children }));
}

function dataOf(column: Column): Data {
  const type = arrowType(column);
  const nulls = nullCount(column);
  const shared = {
    type,
    length: column.rows,
    nullCount: nulls,
    nullBitmap: nulls > 0 ? column.validity : undefined,
  };
  if (typeof column.type === "object") {
    const { type: item, size } = column.type.fixedSizeList;
    const child = makeData({
      type: arrowType({ type: item }),
      length: column.rows * size,
      nullCount: 0,
      data: column.values,
    } as never);
    return makeData({ ...shared, child } as never);
  }
  if (column.offsets !== undefined) {
    return makeData({ ...shared, valueOffsets: column.offsets, data: column.values } as never);
  }
  return makeData({ ...shared, data: column.values } as never);
}

/** What dictionaries may still expand to; without one, each batch has `ARROW_EXPANDED_BYTES_MAX`. */
export interface Expansion {
  leftBytes: number;
}

/**
 * The rows of an Arrow table, or of one of its batches. A table of one batch is taken over as it is, several are put
 * together in new memory.
 * @throws `ERR_FORMAT_ARROW` for types that have no place in a table, and for buffers that do not fit their rows
 */
export function fromArrow(source: ArrowTable | RecordBatch, expansion?: Expansion): Table {
  const batches = source instanceof RecordBatch ? [source] : source.batches;
  const tables = batches.map((batch) => fromRecordBatch(batch, expansion));
  if (tables.length > 0) return concatTables(tables);
  const columns = source.schema.fields.map(({ name, type }): Column => emptyColumn(name, type));
  return { rows: 0, columns };
}

function emptyColumn(name: string, type: DataType): Column {
  const field = fieldOf(name, type);
  const number = typeof field.type === "object" ? field.type.fixedSizeList.type : field.type;
  const ofBytes = number === "utf8" || number === "binary";
  const values = ofBytes || number === "bool" ? new Uint8Array(0) : new NUMBER_ARRAYS[number](0);
  return { ...field, rows: 0, values, ...(ofBytes ? { offsets: new Int32Array(1) } : {}) };
}

function fromRecordBatch(batch: RecordBatch, expansion?: Expansion): Table {
  const left = expansion ?? { leftBytes: ARROW_EXPANDED_BYTES_MAX };
  const columns = batch.schema.fields.map((field, at) =>
    columnOf(field.name, batch.data.children[at]!, left),
  );
  return { rows: batch.numRows, columns };
}

function columnOf(name: string, data: Data, expansion: Expansion): Column {
  const field = fieldOf(name, data.type);
  const rows = data.length;
  const offset = data.offset;
  const nulls = data.nullBitmap !== undefined && data.nullBitmap.length > 0 && data.nullCount > 0;
  if (nulls && data.nullBitmap!.length * 8 < offset + rows) throw tooShort(name, "validity bitmap");
  const validity = nulls ? { validity: sliceBits(data.nullBitmap!, offset, rows) } : {};
  if (data.dictionary !== undefined) return fromDictionary(name, data, expansion);
  if (field.type === "bool") {
    const bits = data.values as Uint8Array;
    if (bits.length * 8 < offset + rows) throw tooShort(name, "values");
    return { ...field, rows, values: sliceBits(bits, offset, rows), ...validity };
  }
  if (field.type === "utf8" || field.type === "binary") {
    return { ...field, rows, ...bytesOf(name, data), ...validity };
  }
  if (typeof field.type === "object") {
    const { type: item, size } = field.type.fixedSizeList;
    const child = data.children[0]!;
    if (child.nullCount > 0) {
      throw new StoreError("ERR_FORMAT_ARROW", `column ${JSON.stringify(name)} has lists with nulls inside`, {
        context: { column: name },
        hint: "A list may be null as a whole; fill the numbers inside, with NaN for instance.",
      });
    }
    return { ...field, rows, values: numbersOf(name, child, item, rows * size), ...validity };
  }
  return { ...field, rows, values: numbersOf(name, data, field.type, rows), ...validity };
}

/** Unlike bitmaps, the numbers of a sliced column are a view that begins at its first row already. */
function numbersOf(name: string, data: Data, type: NumberType, count: number): NumberArray {
  const values = data.values as NumberArray;
  const wanted = NUMBER_ARRAYS[type];
  if (values.byteLength < count * wanted.BYTES_PER_ELEMENT) throw tooShort(name, "values");
  if (values instanceof wanted) return values.subarray(0, count);
  const bytes = values.byteOffset % wanted.BYTES_PER_ELEMENT === 0 ? values : values.slice();
  return new wanted(bytes.buffer as ArrayBuffer, bytes.byteOffset, count);
}

function bytesOf(name: string, data: Data): { values: Uint8Array; offsets: Int32Array } {
  const source = data.valueOffsets as Int32Array | BigInt64Array;
  const bytes = data.values as Uint8Array;
  if (data.length > 0 && source.length < data.length + 1) throw tooShort(name, "offsets");
  const offsets = new Int32Array(data.length + 1);
  const first = data.length === 0 ? 0 : Number(source[0]);
  let before = first;
  for (let row = 0; row <= data.length && data.length > 0; row++) {
    const at = Number(source[row]);
    if (at < before || at > bytes.length || at - first > 0x7fffffff) {
      throw new StoreError(
        "ERR_FORMAT_ARROW",
        `column ${JSON.stringify(name)}, row ${row + 1}: its offsets run backwards or past its bytes`,
        {
          context: { column: name, row: row + 1 },
          hint: "The file is damaged, or its writer was wrong.",
        },
      );
    }
    offsets[row] = at - first;
    before = at;
  }
  return { values: bytes.subarray(first, before), offsets };
}

/** A dictionary's values put where its indices point. */
function fromDictionary(name: string, data: Data, expansion: Expansion): Column {
  const dictionary = dictionaryOf(name, data.dictionary!, expansion);
  const rows = dictionary?.rows ?? 0;
  const indices = data.values as NumberArray;
  if (indices.length < data.length) throw tooShort(name, "indices");
  const taken = new Int32Array(data.length);
  const valid = data.nullBitmap !== undefined && data.nullBitmap.length > 0 && data.nullCount > 0;
  for (let row = 0; row < data.length; row++) {
    const bit = data.offset + row;
    if (valid && ((data.nullBitmap![bit >> 3]! >> (bit & 7)) & 1) === 0) {
      taken[row] = -1;
      continue;
    }
    const index = Number(indices[row]);
    if (index < 0 || index >= rows) {
      throw new StoreError(
        "ERR_FORMAT_ARROW",
        `column ${JSON.stringify(name)}, row ${row + 1}: the dictionary has no entry ${index}`,
        {
          context: { column: name, row: row + 1, index },
          hint: "The file is damaged, or its writer was wrong.",
        },
      );
    }
    taken[row] = index;
  }
  if (dictionary === undefined) return { ...emptyColumn(name, data.type), rows: data.length };
  expansion.leftBytes -= expandedBytes(dictionary, taken);
  if (expansion.leftBytes < 0) {
    throw new StoreError("ERR_LIMIT", `column ${JSON.stringify(name)} names long values again and again`, {
      context: { column: name },
      hint: "Write it in smaller batches, or fewer of them at once.",
    });
  }
  return takeRows(dictionary, taken);
}

/** Dictionaries already laid out: every batch that follows one names it again. */
const laidOut = new WeakMap<Vector, Column>();

function dictionaryOf(name: string, vector: Vector, expansion: Expansion): Column | undefined {
  const known = laidOut.get(vector);
  if (known !== undefined) return { ...known, name };
  const chunks = vector.data.map((chunk: Data) => columnOf(name, chunk, expansion));
  const made = concatTables(chunks.map((chunk) => ({ rows: chunk.rows, columns: [chunk] }))).columns[0];
  if (made !== undefined) laidOut.set(vector, made);
  return made;
}

/** Bytes of a dictionary's values at every row that names them. */
function expandedBytes({ rows, values, offsets }: Column, taken: Int32Array): number {
  if (offsets === undefined) return taken.length * Math.ceil(values.byteLength / Math.max(1, rows));
  let sizeBytes = 0;
  for (const row of taken) if (row >= 0) sizeBytes += offsets[row + 1]! - offsets[row]!;
  return sizeBytes;
}

function tooShort(name: string, what: string): StoreError {
  return new StoreError(
    "ERR_FORMAT_ARROW",
    `column ${JSON.stringify(name)}: its ${what} are shorter than its rows`,
    {
      context: { column: name },
      hint: "The file is damaged or cut short.",
    },
  );
}
