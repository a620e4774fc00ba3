import type { Disk } from "../../src/disk/disk.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import type { ColumnSlice, Value } from "../../src/series/column-slice.ts";
import { valueAt } from "../../src/series/column-slice.ts";
import type { Series } from "../../src/series/series.ts";
import type { RangeOptions } from "../../src/series/series-reads.ts";
import { SeriesStore } from "../../src/series/series-store.ts";
import { createInlinePool } from "../../src/workers/pool.ts";

export const storeId = new Uint8Array(16).fill(7);

/** The series of a store on a disk in memory, sealing on this thread. */
export function openSeries(disk: Disk = simulatedDisk(), errors: unknown[] = []): SeriesStore {
  return new SeriesStore({
    disk,
    directory: "/store/series",
    storeId,
    pool: createInlinePool(),
    readOnly: false,
    nowUs: () => 1_700_000_000_000_000n,
    onError: (error) => errors.push(error),
  });
}

export function simulatedDisk(options: { trace?: boolean; seed?: number } = {}): SimulatedDisk {
  const disk = new SimulatedDisk(options);
  disk.makeDirectory("/store/series");
  disk.syncDirectory("/store");
  disk.syncDirectory("/");
  return disk;
}

export type Row = Record<string, Value>;

/** All rows of a range, as a list of rows. */
export async function rowsOf(series: Series, options: RangeOptions = {}): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const run of series.range(options).runs()) rows.push(...runRows(run.slices, run.rows));
  return rows;
}

export function runRows(slices: readonly ColumnSlice[], rows: number): Row[] {
  return Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(slices.map((slice) => [slice.column.name, valueAt(slice, row)])),
  );
}
