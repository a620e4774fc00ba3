import type { TableFormat } from "../formats/tables/files.ts";
import { writeTables } from "../formats/tables/files.ts";
import type { Table } from "../formats/tables/table.ts";
import { requireColumn } from "../src/series/schema.ts";
import type { Series } from "../src/series/series.ts";
import type { RangeOptions } from "../src/series/series-reads.ts";
import { nulls } from "../src/series/widen.ts";
import { tableOf } from "./series-tables.ts";

export interface SeriesExportOptions extends RangeOptions {
  format: TableFormat;
  /** Of the whole file; Arrow and Parquet compress within. Default: none. */
  compression?: "none" | "gzip" | "zstd";
  signal?: AbortSignal;
  /** Told of rows as they are written. */
  onRows?: (rows: number) => void;
}

/** Rows of a series as a file's bytes, piece by piece: plain Arrow IPC, Parquet, CSV or NDJSON that other tools read. */
export async function* exportSeries(
  series: Series,
  options: SeriesExportOptions,
): AsyncGenerator<Uint8Array> {
  const { format, compression = "none", signal, onRows, ...range } = options;
  yield* writeTables(tables(series, range, { signal, onRows }), { format, compression });
}

async function* tables(
  series: Series,
  range: RangeOptions,
  { signal, onRows }: { signal: AbortSignal | undefined; onRows: ((rows: number) => void) | undefined },
): AsyncGenerator<Table> {
  const schema = { columns: series.columns, key: series.key, knownKey: series.knownKey };
  const columns = range.columns?.map((name) => requireColumn(schema, name)) ?? series.columns;
  let empty = true;
  for await (const { slices, rows } of series.range(range).runs()) {
    signal?.throwIfAborted();
    empty = false;
    yield tableOf(slices, rows);
    onRows?.(rows);
  }
  if (empty)
    yield tableOf(
      columns.map((column) => ({ ...nulls(column, 0), validity: undefined })),
      0,
    );
}
