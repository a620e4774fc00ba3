import type { AsyncBuffer, DecodedArray, FileMetaData } from "hyparquet";
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

/** A file that can be read anywhere: where its parts are stands at its end. */
export type RandomAccess = AsyncBuffer;

/** The bytes of a file that is in memory. */
export function inMemory(bytes: Uint8Array): RandomAccess {
  return {
    byteLength: bytes.length,
    slice: (start, end) => new Uint8Array(bytes.subarray(start, end)).buffer as ArrayBuffer,
  };
}

/**
 * Reads a Parquet file as tables of up to `batchRows` rows, in memory of their own.
 * @throws `ERR_FORMAT_PARQUET` for damaged files, nested columns, and types that have no place in a table
 */
export async function* readParquet(
  file: RandomAccess,
  { batchRows = TABLE_BATCH_ROWS }: { batchRows?: number } = {},
): AsyncGenerator<Table> {
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

const asIs = (value: bigint) => value;

/** The same file with its integers and texts as they lie there: no conversion that could lose a bit. */
function asPlain(metadata: FileMetaData): FileMetaData {
  const schema = metadata.schema.map((element) => {
    const { converted_type: _, logical_type: __, ...plain } = element;
    return plain;
  });
  return { ...metadata, schema };
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
  if (values instanceof array) return { ...base, values: values.slice() };
  const out = new array(rows);
  // An unsigned integer is stored as the signed one of its bits: assigning it to its own array turns it back.
  for (let row = 0; row < rows; row++) {
    const value = values[row];
    if (value !== null && value !== undefined) out[row] = value;
  }
  return { ...base, values: out };
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
