import type { Table as ArrowTable } from "apache-arrow";
import { concatTables, takeRows } from "../formats/tables/combine.ts";
import { type Column, isNull, type Table, typeText } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import type { FeatureVersion } from "../src/features/registry.ts";
import { type AnyTable, asTable, columnOf } from "./any-table.ts";
import { type AsOfJoinOptions, joinTables, matchRows, rightColumns, takeNamed } from "./as-of-join.ts";

/** Where a training set takes feature tables from: `Features`. */
interface FeatureTables {
  /** @throws `ERR_NOT_FOUND` naming what there is */
  find(name: string): unknown;
  readonly registry: { versions(name: string): FeatureVersion[] };
  loadColumns(name: string, options: { version: number }): Promise<Table>;
}

/** Features to join: as the newest version known at each row's instant, or as one version. */
export interface FeatureJoin extends Omit<AsOfJoinOptions, "on"> {
  name: string;
  /** The table's column of time; the spine's is the training set's `on`. Default: the same name. */
  on?: string;
  /** One version for all rows, whatever was known when. Default: for each row the newest known at its instant. */
  version?: number;
}

/** Rows of a series, or of any other table, to join. */
export interface TableJoin extends Omit<AsOfJoinOptions, "on"> {
  table: AnyTable;
  /** The table's column of time. Default: the spine's name. */
  on?: string;
}

export interface TrainingSetOptions {
  /** The rows to learn from: an instant each, keys, labels. */
  spine: AnyTable;
  /** The spine's column of time. */
  on: string;
  features?: readonly FeatureJoin[];
  series?: readonly TableJoin[];
}

/**
 * Each spine row with what was known at its instant. Features published in several versions are taken from the
 * version whose `asOf` is the newest at or before the row's instant: a value that was published later, or corrected
 * later, is not seen. Within the version the row is the newest by its own time, as in `asOfJoin`.
 */
export async function trainingSet(features: FeatureTables, options: TrainingSetOptions): Promise<ArrowTable> {
  const { toArrowTable } = await import("../formats/arrow/convert.ts");
  let table = await asTable(options.spine);
  const time = columnOf(table, options.on, "spine");
  for (const join of options.features ?? []) {
    const on = { left: options.on, right: join.on ?? options.on };
    if (join.version !== undefined) {
      table = joinTables(table, await features.loadColumns(join.name, { version: join.version }), {
        ...join,
        on,
      });
    } else table = await joinVersions(features, table, time, { ...join, on });
  }
  for (const join of options.series ?? []) {
    const on = { left: options.on, right: join.on ?? options.on };
    table = joinTables(table, await asTable(join.table), { ...join, on });
  }
  return toArrowTable(table);
}

/** Joins each row with the version that was known then. */
async function joinVersions(
  features: FeatureTables,
  spine: Table,
  time: Column,
  join: Omit<FeatureJoin, "on"> & Pick<AsOfJoinOptions, "on">,
): Promise<Table> {
  features.find(join.name);
  const versions = features.registry.versions(join.name).sort(byAsOf);
  const perRow = versionOfRows(versions, spine, time);
  const used = [...new Set(perRow)].filter((at) => at >= 0).sort((a, b) => a - b);
  // Rows before the first version get nulls, of the columns that version has.
  if (used.length === 0) used.push(0);
  const parts: Column[][] = [];
  const partOf = new Int32Array(spine.rows).fill(-1);
  for (const at of used) {
    const right = await features.loadColumns(join.name, { version: versions[at]!.version });
    const matches = matchRows(spine, right, join);
    for (let row = 0; row < spine.rows; row++) {
      if (perRow[row] === at) partOf[row] = parts.length;
      else matches[row] = -1;
    }
    parts.push(rightColumns(spine, right, join).map((column) => takeNamed(column, matches, join)));
  }
  const columns = parts[0]!.map((column, at) => choose(column, parts, at, partOf, join.name));
  return { rows: spine.rows, columns: [...spine.columns, ...columns] };
}

function byAsOf(a: FeatureVersion, b: FeatureVersion): number {
  return a.asOfUs < b.asOfUs ? -1 : a.asOfUs > b.asOfUs ? 1 : a.version - b.version;
}

const MICROSECONDS = { s: [1_000_000n, 1n], ms: [1000n, 1n], us: [1n, 1n], ns: [1n, 1000n] } as const;

/** For each row the place of the version that was the newest known at its instant, or -1. */
function versionOfRows(versions: FeatureVersion[], spine: Table, time: Column): Int32Array {
  if (!(time.values instanceof BigInt64Array) || time.unit === undefined) {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `the spine's column ${JSON.stringify(time.name)} is ${typeText(time)}, not a timestamp`,
      {
        context: { column: time.name },
        hint: "Versions are known by the clock: give the column its unit, or join one `version` for all rows.",
      },
    );
  }
  const [factor, divisor] = MICROSECONDS[time.unit];
  const values = time.values;
  return Int32Array.from({ length: spine.rows }, (_, row) => {
    if (isNull(time, row)) return -1;
    // A nanosecond before a whole microsecond is before it.
    const scaled = values[row]! * factor;
    const nowUs = scaled >= 0n ? scaled / divisor : (scaled - divisor + 1n) / divisor;
    let low = 0;
    let high = versions.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (versions[middle]!.asOfUs <= nowUs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  });
}

/** One column out of the versions' columns of that name: each row from its own version. */
function choose(column: Column, parts: Column[][], at: number, partOf: Int32Array, name: string): Column {
  if (parts.length === 1) return column;
  const columns = parts.map((part) => part[at]);
  const other = columns.find((each) => each?.name !== column.name || typeText(each) !== typeText(column));
  if (columns.includes(undefined) || other !== undefined) {
    throw new StoreError(
      "ERR_CONFLICT",
      `the versions of features ${name} that the rows need differ in column ${JSON.stringify(column.name)}`,
      {
        context: { name, column: column.name },
        hint: "Name the `columns` that all of them have, or join one `version`.",
      },
    );
  }
  return mergeRows(columns as Column[], partOf);
}

function mergeRows(columns: Column[], partOf: Int32Array): Column {
  const rows = partOf.length;
  if (columns.length * rows > 0x7fffffff) {
    throw new StoreError(
      "ERR_LIMIT",
      `${rows} rows from ${columns.length} versions are too many to join at once`,
      {
        hint: "Join the spine in parts.",
      },
    );
  }
  const places = Int32Array.from(partOf, (part, row) => (part < 0 ? -1 : part * rows + row));
  const { columns: joined } = concatTables(columns.map((column) => ({ rows, columns: [column] })));
  return takeRows(joined[0]!, places);
}
