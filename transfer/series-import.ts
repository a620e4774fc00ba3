import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { concatTables, sliceTable, takeRows } from "../formats/tables/combine.ts";
import { openTables, type TableFormat } from "../formats/tables/files.ts";
import type { ColumnField, Table } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import { SERIES_SORT_ROWS_MAX } from "../src/limits.ts";
import type { Series } from "../src/series/series.ts";
import type { SeriesOptions } from "../src/series/series-options.ts";
import type { SeriesStore } from "../src/series/series-store.ts";
import { batchOf, fieldType, seriesColumn } from "./series-tables.ts";

export interface SeriesImportOptions {
  /** The column of event times; default: rows are keyed by arrival, in a series that is there by its own key. */
  ts?: string;
  /** What its whole numbers count. Default: `ns`; a file whose columns name their unit keeps it. */
  unit?: "ns" | "us" | "ms";
  /** `allow` (default) keeps the file's order and duplicates, `sort` orders rows by time, `reject` refuses unsorted ones. */
  order?: "allow" | "sort" | "reject";
  /** What happens to a row with a cell that is not what its column is: the import fails (default) or leaves it out. */
  onError?: "fail" | "skip";
  onSkip?: (row: { row: number; column?: string; what: string }) => void;
  /** How much is kept. Default: everything. */
  keep?: string | number;
  /** Columns to take as text whatever they look like. */
  text?: readonly string[];
  /** How computed columns follow from others; see `SeriesOptions`. Default: as the series has it. */
  derive?: SeriesOptions["derive"];
  format?: TableFormat;
  segmentRows?: number;
  signal?: AbortSignal;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface SeriesImportResult {
  series: string;
  /** Rows appended. */
  rows: number;
  skippedRows: number;
}

/**
 * Appends the rows of a file (CSV or NDJSON, gzip or zstd too, Arrow IPC, Parquet) to a series, which is created when
 * it is new: every value as the same bits. All is sealed and durable when it resolves. When it fails, a series that
 * it created is gone again; of one that was there, the error says how many rows were appended.
 * @throws `ERR_FORMAT_CSV` naming row and column, `ERR_CONFLICT`, `ERR_STORE_LOCKED`
 */
export async function importSeries(
  store: SeriesStore,
  name: string,
  path: string,
  options: SeriesImportOptions = {},
): Promise<SeriesImportResult> {
  const found = store.list().includes(name) ? store.open(name, { readOnly: true }) : undefined;
  const known = found && { columns: found.columns, key: found.key };
  await found?.close();
  const key = options.ts ?? known?.key;
  let skippedRows = 0;
  const progress = { doneBytes: 0, totalBytes: (await stat(path)).size * 2 };
  const opened = await openTables(
    { name: path, stream: () => counted(path, progress, options) },
    {
      types: textTypes(options, known?.columns ?? []),
      ...(options.format !== undefined && { format: options.format }),
      ...(options.onError !== undefined && { onError: options.onError }),
      onSkip: (row) => {
        skippedRows += 1;
        options.onSkip?.(row);
      },
    },
  );
  const fields = withTimeUnit(opened.fields, options);
  const series = store.open(name, openOptions(fields, key, options));
  let rows = 0;
  try {
    const batches = options.order === "sort" ? sorted(opened.batches(), key!) : opened.batches();
    for await (const table of batches) {
      options.signal?.throwIfAborted();
      requireKeys(table, key, rows);
      for (let from = 0; from < table.rows; from += series.segmentRows) {
        rows += series.appendColumns(batchOf(sliceTable(table, from, from + series.segmentRows)));
        // Sealing keeps up, whatever the file's size.
        await series.settled();
      }
    }
    await series.seal();
  } catch (error) {
    await series.close();
    if (known === undefined) await store.remove(name);
    throw known === undefined ? error : withRows(error, rows);
  }
  await series.close();
  return { series: name, rows, skippedRows };
}

async function* counted(
  path: string,
  progress: { doneBytes: number; totalBytes: number },
  { signal, onProgress }: SeriesImportOptions,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    signal?.throwIfAborted();
    progress.doneBytes = Math.min(progress.totalBytes, progress.doneBytes + (chunk as Uint8Array).byteLength);
    onProgress?.(progress);
    yield chunk as Uint8Array;
  }
}

/** Types that need not be guessed: those of a series that is there, of the key, and of columns named as text. */
function textTypes(
  { ts, text = [] }: SeriesImportOptions,
  columns: Series["columns"],
): Record<string, ColumnField["type"]> {
  const types = Object.create(null) as Record<string, ColumnField["type"]>;
  for (const column of columns) types[column.name] = fieldType(column);
  if (ts !== undefined) types[ts] = "i64";
  for (const name of text) types[name] = "utf8";
  return types;
}

function withTimeUnit(fields: readonly ColumnField[], { ts, unit }: SeriesImportOptions): ColumnField[] {
  if (ts === undefined) return [...fields];
  const field = fields.find(({ name }) => name === ts);
  if (field === undefined) {
    const columns = fields.map(({ name }) => name);
    throw new StoreError("ERR_NOT_FOUND", `the file has no column "${ts}"`, {
      context: { column: ts, columns },
      hint: `Its columns are ${columns.slice(0, 20).join(", ")}.`,
    });
  }
  if (field.type !== "i64") {
    throw new StoreError("ERR_INVALID_ARGUMENT", `the time column "${ts}" holds no whole numbers`, {
      context: { column: ts, type: field.type },
      hint: "Times are whole ns, us or ms since the Unix epoch.",
    });
  }
  return fields.map((each) =>
    each === field && each.unit === undefined ? { ...each, unit: unit ?? "ns" } : each,
  );
}

function openOptions(
  fields: readonly ColumnField[],
  key: string | undefined,
  options: SeriesImportOptions,
): SeriesOptions {
  const { order = "allow", keep, segmentRows, derive } = options;
  if (order !== "allow" && key === undefined) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `order ${order} needs a time column`, {
      hint: "Name it with `ts`.",
    });
  }
  return {
    columns: fields.map((field) => seriesColumn(field, key)),
    ...(key !== undefined && { key, order: order === "allow" ? ("allow" as const) : ("reject" as const) }),
    ...((keep !== undefined || segmentRows !== undefined) && {
      ring: { ...(keep !== undefined && { keep }), ...(segmentRows !== undefined && { segmentRows }) },
    }),
    ...(derive !== undefined && { derive }),
    profile: "compact",
  };
}

/** A time that is missing: named by its row, before any of the batch is appended. */
function requireKeys(table: Table, key: string | undefined, before: number): void {
  const column = table.columns.find(({ name }) => name === key);
  if (column?.validity === undefined) return;
  for (let row = 0; row < table.rows; row++) {
    if (((column.validity[row >> 3]! >> (row & 7)) & 1) === 1) continue;
    throw new StoreError("ERR_FORMAT_CSV", `row ${before + row + 1}, column "${key}": the time is missing`, {
      context: { row: before + row + 1, column: key },
      hint: "Mend the row, or import without a time column.",
    });
  }
}

/** All rows in order of their times; equal times keep the file's order. */
async function* sorted(batches: AsyncIterable<Table>, key: string): AsyncGenerator<Table> {
  const tables: Table[] = [];
  let rows = 0;
  for await (const table of batches) {
    requireKeys(table, key, rows);
    rows += table.rows;
    if (rows > SERIES_SORT_ROWS_MAX) {
      throw new StoreError(
        "ERR_LIMIT",
        `a file of more than ${SERIES_SORT_ROWS_MAX} rows is not sorted in memory`,
        {
          context: { limit: SERIES_SORT_ROWS_MAX },
          hint: "Sort it beforehand, or import it in parts.",
        },
      );
    }
    tables.push(table);
  }
  if (rows === 0) return;
  const whole = concatTables(tables);
  const keys = whole.columns.find(({ name }) => name === key)!.values as BigInt64Array;
  const order = Int32Array.from({ length: rows }, (_, row) => row);
  order.sort((a, b) => (keys[a]! < keys[b]! ? -1 : keys[a]! > keys[b]! ? 1 : a - b));
  yield { rows, columns: whole.columns.map((column) => takeRows(column, order)) };
}

function withRows(error: unknown, rows: number): unknown {
  if (rows === 0 || !(error instanceof StoreError)) return error;
  const { code, message, context, hint, retryable } = error;
  return new StoreError(code, `${message} (${rows} rows were appended before)`, {
    context: { ...context, appendedRows: rows },
    ...(hint !== undefined && { hint }),
    retryable,
    cause: error,
  });
}
