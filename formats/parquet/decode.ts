import type { AsyncBuffer, DecodedArray, FileMetaData, ParquetType } from "hyparquet";
import { isStoreError, StoreError } from "../../src/errors.ts";
import { TABLE_BATCH_ROWS, TABLE_COLUMNS_MAX } from "../../src/limits.ts";
import {
  type Column,
  type ColumnField,
  NUMBER_ARRAYS,
  type NumberType,
  type Table,
} from "../tables/table.ts";
import { decompressors } from "./compressors.ts";
import { fieldsOf } from "./schema.ts";

export interface DecodeOptions {
  batchRows?: number;
  /** Told before each column of each batch, and before the file's footer: what comes next may never end. */
  onStep?: (step: DecodeStep) => void;
}

/** What is being decoded: rows of a column, or the footer, which says what columns there are. */
export type DecodeStep = { column: string; fromRow: number; toRow: number } | undefined;

/**
 * Decodes a Parquet file as tables of up to `batchRows` rows, in memory of their own. A file made for it can keep this
 * busy for ever, or end the process: `readParquet` has one of its own for it.
 */
export async function* decodeParquet(bytes: Uint8Array, options: DecodeOptions = {}): AsyncGenerator<Table> {
  const { batchRows = TABLE_BATCH_ROWS, onStep } = options;
  const file = inMemory(bytes);
  onStep?.(undefined);
  const { parquetMetadataAsync, parquetScan } = await import("hyparquet");
  const metadata = await guarded(() => parquetMetadataAsync(file));
  const fields = fieldsOf(metadata);
  if (fields.length > TABLE_COLUMNS_MAX) {
    throw new StoreError(
      "ERR_LIMIT",
      `the file has ${fields.length} columns; the limit is ${TABLE_COLUMNS_MAX}`,
      {
        hint: "Spread the columns over several tables.",
      },
    );
  }
  const compressors = await decompressors();
  const parsers = {
    timestampFromMilliseconds: asIs,
    timestampFromMicroseconds: asIs,
    timestampFromNanoseconds: asIs,
  };
  // Text is decoded here, where it stays bytes.
  const scan = await guarded(() =>
    parquetScan({ file, metadata: asPlain(metadata), compressors, utf8: false, parsers, geoparquet: false }),
  );
  let yielded = false;
  for (const range of scan.ranges) {
    for (let from = range.rowStart; from < range.rowEnd; from += batchRows) {
      const to = Math.min(from + batchRows, range.rowEnd);
      const columns: Column[] = [];
      for (const field of fields) {
        onStep?.({ column: field.name, fromRow: from, toRow: to });
        const values = await guarded(() =>
          scan.readColumn({ column: field.name, rowStart: from, rowEnd: to }),
        );
        columns.push(columnOf(field, values, to - from));
      }
      yielded = true;
      yield { rows: to - from, columns };
    }
  }
  if (!yielded) yield { rows: 0, columns: fields.map((field) => columnOf(field, [], 0)) };
}

function inMemory(bytes: Uint8Array): AsyncBuffer {
  return {
    byteLength: bytes.length,
    slice: (start, end) => new Uint8Array(bytes.subarray(start, end)).buffer as ArrayBuffer,
  };
}

const asIs = (value: bigint) => value;

/**
 * The same file with everything as it lies there: no conversion that could lose a bit. Floats are taken for the integers
 * of their bits, because an array of numbers keeps no signalling NaN.
 */
function asPlain(metadata: FileMetaData): FileMetaData {
  const schema = metadata.schema.map((element) => {
    const { converted_type: _, logical_type: __, ...plain } = element;
    return plain.type === undefined ? plain : { ...plain, type: plainType(plain.type) };
  });
  const row_groups = metadata.row_groups.map((group) => ({
    ...group,
    columns: group.columns.map((column) =>
      column.meta_data === undefined
        ? column
        : { ...column, meta_data: { ...column.meta_data, type: plainType(column.meta_data.type) } },
    ),
  }));
  return { ...metadata, schema, row_groups };
}

function plainType(type: ParquetType): ParquetType {
  return type === "DOUBLE" ? "INT64" : type === "FLOAT" ? "INT32" : type;
}

async function guarded<T>(read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (isStoreError(cause) && cause.code !== "ERR_FORMAT_COMPRESSED") throw cause;
    throw damaged((cause as Error).message, cause);
  }
}

function damaged(what: string, cause?: unknown): StoreError {
  return new StoreError("ERR_FORMAT_PARQUET", `the Parquet file cannot be read: ${what}`, {
    cause,
    hint: "The file is damaged, cut short, or no Parquet.",
  });
}

function columnOf(field: ColumnField, values: DecodedArray, rows: number): Column {
  if (values.length !== rows) throw damaged(`column ${field.name} has ${values.length} of ${rows} rows`);
  const type = field.type as NumberType | "bool" | "utf8" | "binary";
  const validity = new Uint8Array(Math.ceil(rows / 8));
  let nulls = 0;
  if (Array.isArray(values)) {
    for (let row = 0; row < rows; row++) {
      if (values[row] === null || values[row] === undefined) nulls += 1;
      else validity[row >> 3]! |= 1 << (row & 7);
    }
  }
  const base = { ...field, rows, ...(nulls === 0 ? {} : { validity }) };
  if (type === "utf8" || type === "binary")
    return { ...base, ...bytesOf(values as ArrayLike<Uint8Array>, rows) };
  if (type === "bool") {
    const bits = new Uint8Array(Math.ceil(rows / 8));
    for (let row = 0; row < rows; row++) if (values[row]) bits[row >> 3]! |= 1 << (row & 7);
    return { ...base, values: bits };
  }
  const array = NUMBER_ARRAYS[type];
  const bitsArray = type === "f64" ? BigInt64Array : type === "f32" ? Int32Array : array;
  const bits = values instanceof bitsArray ? values.slice() : new bitsArray(rows);
  if (!(values instanceof bitsArray)) {
    // An unsigned integer is stored as the signed one of its bits: assigning it to its own array turns it back.
    for (let row = 0; row < rows; row++) {
      const value = values[row];
      if (value !== null && value !== undefined) bits[row] = value;
    }
  }
  return { ...base, values: new array(bits.buffer) };
}

function bytesOf(
  values: ArrayLike<Uint8Array | null | undefined>,
  rows: number,
): { values: Uint8Array; offsets: Int32Array } {
  const offsets = new Int32Array(rows + 1);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    at += values[row]?.length ?? 0;
    if (at > 0x7fffffff) throw damaged("a batch has over 2 GiB of text");
    offsets[row + 1] = at;
  }
  const bytes = new Uint8Array(at);
  for (let row = 0; row < rows; row++) {
    const value = values[row];
    if (value !== null && value !== undefined) bytes.set(value, offsets[row]!);
  }
  return { values: bytes, offsets };
}
