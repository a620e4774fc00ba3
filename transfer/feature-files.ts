import { createReadStream } from "node:fs";
import type { Features, LoadOptions, PublishOptions, PublishResult } from "../features/features.ts";
import { type InferredRecipes, inferRecipes } from "../features/infer-recipes.ts";
import { sliceTable } from "../formats/tables/combine.ts";
import { type ReadTablesOptions, readTable, type TableFormat, writeTables } from "../formats/tables/files.ts";
import type { Table, TimeUnit } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import { TABLE_BATCH_ROWS } from "../src/limits.ts";

export interface PublishFileOptions extends PublishOptions, Omit<ReadTablesOptions, "batchRows"> {
  /** Columns of whole numbers that are instants, and what they count. Files that say so themselves need none. */
  units?: Readonly<Record<string, TimeUnit>>;
  signal?: AbortSignal;
}

/** Publishes a table file (CSV, NDJSON, Arrow IPC or Parquet; text also with gzip or zstd) as the next version. */
export async function publishFeatureFile(
  features: Features,
  name: string,
  path: string,
  { units = {}, signal, asOf, schemaVersion, sources, ...reading }: PublishFileOptions,
): Promise<PublishResult> {
  const table = withUnits(await readFile(path, reading, signal), units);
  return features.publish(name, table, {
    ...(asOf === undefined ? {} : { asOf }),
    ...(schemaVersion === undefined ? {} : { schemaVersion }),
    ...(sources === undefined ? {} : { sources }),
  });
}

function readFile(path: string, options: ReadTablesOptions, signal: AbortSignal | undefined): Promise<Table> {
  const stream = async function* () {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
      signal?.throwIfAborted();
      yield chunk as Uint8Array;
    }
  };
  return readTable({ name: path, stream }, options);
}

/**
 * `inferRecipes` of a table file (CSV, NDJSON, Arrow IPC or Parquet; text also with gzip or zstd).
 * @throws `ERR_FORMAT_CSV` naming row and column, and its like of the other formats
 */
export async function inferFileRecipes(
  path: string,
  { signal, ...reading }: Omit<ReadTablesOptions, "batchRows"> & { signal?: AbortSignal } = {},
): Promise<InferredRecipes & { rows: number; columns: number }> {
  const table = await readFile(path, reading, signal);
  signal?.throwIfAborted();
  return { rows: table.rows, columns: table.columns.length, ...(await inferRecipes(table)) };
}

function withUnits(table: Table, units: Readonly<Record<string, TimeUnit>>): Table {
  for (const name of Object.keys(units)) {
    const column = table.columns.find((each) => each.name === name);
    if (column?.type === "i64") continue;
    throw new StoreError(
      column === undefined ? "ERR_NOT_FOUND" : "ERR_INVALID_ARGUMENT",
      column === undefined
        ? `the file has no column ${JSON.stringify(name)}`
        : `column ${JSON.stringify(name)} holds no whole numbers`,
      {
        context: { column: name },
        hint: "A column of time counts nanoseconds, microseconds, milliseconds or seconds.",
      },
    );
  }
  const columns = table.columns.map((column) => {
    const unit = Object.hasOwn(units, column.name) ? units[column.name] : undefined;
    return unit === undefined ? column : { ...column, unit };
  });
  return { rows: table.rows, columns };
}

export interface ExportFileOptions extends LoadOptions {
  format: TableFormat;
  /** Of the whole file; Arrow and Parquet compress within. Default: none. */
  compression?: "none" | "gzip" | "zstd";
  /** Arrow: of each buffer. Default: none. */
  buffers?: "none" | "lz4" | "zstd";
}

/** A version of a feature table as the bytes of a file that other tools read, piece by piece. */
export async function* exportFeatures(
  features: Features,
  name: string,
  { format, compression = "none", buffers = "none", ...load }: ExportFileOptions,
): AsyncGenerator<Uint8Array> {
  const table = await features.loadColumns(name, load);
  yield* writeTables(inBatches(table), { format, compression, buffers });
}

function* inBatches(table: Table): Generator<Table> {
  if (table.rows === 0) yield table;
  for (let from = 0; from < table.rows; from += TABLE_BATCH_ROWS)
    yield sliceTable(table, from, from + TABLE_BATCH_ROWS);
}
