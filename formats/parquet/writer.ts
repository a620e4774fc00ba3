import type { DecodedArray } from "hyparquet";
import { loadZstd } from "../compression/zstd.ts";
import { requireSameColumns } from "../tables/combine.ts";
import { bitAt, type Column, isNull, type Table } from "../tables/table.ts";
import { elementOf } from "./schema.ts";

export interface ParquetOptions {
  /** Default: zstd. */
  compression?: "none" | "snappy" | "zstd";
}

/**
 * Tables as one Parquet file, a row group each, handed out as it grows. All have the columns of the first. Integers
 * keep their width and sign, timestamps their unit; floats keep every bit, but that in a column with nulls a signalling NaN
 * becomes the quiet one of the same payload.
 * @throws `ERR_FORMAT_PARQUET` for lists, and for timestamps in seconds
 */
export async function* writeParquet(
  tables: AsyncIterable<Table> | Iterable<Table>,
  { compression = "zstd" }: ParquetOptions = {},
): AsyncGenerator<Uint8Array> {
  const { ByteWriter, ParquetWriter } = await import("hyparquet-writer");
  const codec = compression === "none" ? "UNCOMPRESSED" : compression === "snappy" ? "SNAPPY" : "ZSTD";
  const zstd = await loadZstd();
  const compressors = { ZSTD: (bytes: Uint8Array) => zstd.compress(bytes, 1) };
  const sink = new ByteWriter();
  let taken = 0;
  const drain = (): Uint8Array => {
    const all = sink.getBytes();
    const fresh = all.slice(taken);
    taken = all.length;
    return fresh;
  };
  let first: Table | undefined;
  let writer: InstanceType<typeof ParquetWriter> | undefined;
  for await (const table of tables) {
    first ??= table;
    requireSameColumns(first.columns, table.columns);
    const root = { name: "schema", num_children: first.columns.length };
    writer ??= new ParquetWriter({
      writer: sink,
      schema: [root, ...first.columns.map(elementOf)],
      codec,
      compressors,
      createdBy: "varve",
    });
    if (table.rows === 0) continue;
    const columnData = table.columns.map((column) => {
      const encoding = confusesDictionary(column) ? { encoding: "PLAIN" as const } : {};
      return { name: column.name, data: valuesOf(column), ...encoding };
    });
    await writer.write({ columnData, rowGroupSize: table.rows });
    yield drain();
  }
  writer ??= new ParquetWriter({
    writer: sink,
    schema: [{ name: "schema", num_children: 0 }],
    codec,
    compressors,
  });
  await writer.finish();
  yield drain();
}

/** The column as hyparquet-writer takes it: the typed array itself where no row is null. */
function valuesOf(column: Column): DecodedArray {
  const { type, values, offsets } = column;
  const nullable = column.validity !== undefined;
  if (type === "f64" || type === "f32" || type === "i64" || type === "u64" || type === "i32") {
    return nullable ? withNulls(column, (row) => values[row]) : (values as DecodedArray);
  }
  if (type === "bool") return withNulls(column, (row) => bitAt(values as Uint8Array, row));
  if (type === "utf8" || type === "binary") {
    return withNulls(column, (row) => (values as Uint8Array).subarray(offsets![row]!, offsets![row + 1]!));
  }
  return nullable
    ? withNulls(column, (row) => values[row])
    : (Array.from(values as Int16Array) as DecodedArray);
}

function withNulls(column: Column, at: (row: number) => unknown): unknown[] {
  return Array.from({ length: column.rows }, (_, row) => (isNull(column, row) ? null : at(row)));
}

/** A dictionary takes all NaNs, and both zeros, for one value: columns that have such are written without. */
function confusesDictionary({ type, values }: Column): boolean {
  if (type !== "f64" && type !== "f32") return false;
  return (values as Float64Array).some((value) => Number.isNaN(value) || Object.is(value, -0));
}
