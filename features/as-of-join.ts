import type { Table as ArrowTable } from "apache-arrow";
import { takeRows } from "../formats/tables/combine.ts";
import { type Column, isNull, isNumberType, type Table, typeText } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import { type AsOfSides, type Instants, matchAsOf } from "../src/features/as-of-match.ts";
import { type AnyTable, asTable, columnOf, isArrow } from "./any-table.ts";

export interface AsOfJoinOptions {
  /** The columns of time: one name for both tables, or one each. Integers, timestamps or floats; nanoseconds are exact. */
  on: string | { left: string; right: string };
  /** The right table's column of when a row came to be known, where that is later than when it happened. */
  known?: string;
  /** Columns that must be equal, such as the symbol: names that both tables have, or pairs. */
  by?: readonly (string | { left: string; right: string })[];
  /** The right row may be at most this much older, in the finer unit of the two columns of time. */
  tolerance?: bigint | number;
  /** Right columns to take. Default: all but the columns of time, known time and `by`. */
  columns?: readonly string[];
  /** What goes before the names of right columns. Default: nothing. */
  prefix?: string;
}

/**
 * Each left row with the newest right row that had happened, and was known, at the left row's instant: never a later
 * one. A left row without such a row stays, with nulls. The result has the left table's rows in their order, its
 * columns, then the right's; it is an Arrow table when the left one is.
 *
 * Of right rows of the same instant the one known last is taken, then the one that stands last. Rows whose time or key
 * is null match nothing. Semantics as SQL's `ASOF LEFT JOIN … ON left.ts >= right.ts`.
 *
 * @throws `ERR_NOT_FOUND` for a column there is not, `ERR_INVALID_ARGUMENT` for columns that cannot be compared,
 *   `ERR_CONFLICT` for a right column named as a left one
 * @example
 * await asOfJoin(orders, quotes, { on: "ts", by: ["symbol"], tolerance: 1_000_000_000n, prefix: "quote_" });
 */
export function asOfJoin(left: ArrowTable, right: AnyTable, options: AsOfJoinOptions): Promise<ArrowTable>;
export function asOfJoin(left: Table, right: AnyTable, options: AsOfJoinOptions): Promise<Table>;
export async function asOfJoin(left: AnyTable, right: AnyTable, options: AsOfJoinOptions): Promise<AnyTable> {
  const joined = joinTables(await asTable(left), await asTable(right), options);
  if (!isArrow(left)) return joined;
  const { toArrowTable } = await import("../formats/arrow/convert.ts");
  return toArrowTable(joined);
}

/** The same on plain tables. */
export function joinTables(left: Table, right: Table, options: AsOfJoinOptions): Table {
  const taken = rightColumns(left, right, options);
  const matches = matchRows(left, right, options);
  return {
    rows: left.rows,
    columns: [...left.columns, ...taken.map((column) => takeNamed(column, matches, options))],
  };
}

/** A right column's rows for the left's, under its name in the result. */
export function takeNamed(
  column: Column,
  matches: Int32Array,
  { prefix = "" }: Pick<AsOfJoinOptions, "prefix">,
): Column {
  const taken = takeRows(column, matches);
  return prefix === "" ? taken : { ...taken, name: prefix + taken.name };
}

/** The right columns that the result takes. @throws `ERR_NOT_FOUND`, `ERR_CONFLICT` */
export function rightColumns(left: Table, right: Table, options: AsOfJoinOptions): Column[] {
  const { known, by = [], columns, prefix = "" } = options;
  const used = new Set([
    namesOf(options.on).right,
    ...(known === undefined ? [] : [known]),
    ...by.map((each) => namesOf(each).right),
  ]);
  const names = columns ?? right.columns.map((column) => column.name).filter((name) => !used.has(name));
  const taken = new Set(left.columns.map((column) => column.name));
  return names.map((name) => {
    const column = columnOf(right, name, "right");
    if (taken.has(prefix + name)) {
      throw new StoreError("ERR_CONFLICT", `both tables have a column ${JSON.stringify(prefix + name)}`, {
        context: { column: prefix + name },
        hint: "Pass `prefix` for the right table's names, or `columns` to leave some out.",
      });
    }
    taken.add(prefix + name);
    return column;
  });
}

function namesOf(pair: string | { left: string; right: string }): { left: string; right: string } {
  return typeof pair === "string" ? { left: pair, right: pair } : pair;
}

/** The right row of each left row, or -1. */
export function matchRows(left: Table, right: Table, options: AsOfJoinOptions): Int32Array {
  const names = namesOf(options.on);
  const leftTime = columnOf(left, names.left, "left");
  const rightTime = columnOf(right, names.right, "right");
  const knownTime = options.known === undefined ? undefined : columnOf(right, options.known, "right");
  const [leftInstants, rightInstants, known] = commonInstants([leftTime, rightTime, knownTime]);
  const sides: AsOfSides = { left: leftInstants!, right: rightInstants! };
  if (known !== undefined) sides.known = known;
  if (options.tolerance !== undefined) sides.tolerance = options.tolerance;
  if (leftTime.validity !== undefined) sides.leftMissing = (row) => isNull(leftTime, row);
  if (rightTime.validity !== undefined || knownTime?.validity !== undefined) {
    sides.rightMissing = (row) =>
      isNull(rightTime, row) || (knownTime !== undefined && isNull(knownTime, row));
  }
  if (options.by !== undefined && options.by.length > 0)
    Object.assign(sides, keysOf(left, right, options.by));
  return matchAsOf(sides);
}

const NANOSECONDS = { s: 1_000_000_000n, ms: 1_000_000n, us: 1000n, ns: 1n };

/** The columns' instants in one unit and one type: integers where all are. */
function commonInstants(columns: (Column | undefined)[]): (Instants | undefined)[] {
  const units = columns.flatMap((column) => (column?.unit === undefined ? [] : [NANOSECONDS[column.unit]]));
  const finest = units.reduce<bigint | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
  const floats = columns.some((column) => column?.type === "f64" || column?.type === "f32");
  return columns.map((column) => {
    if (column === undefined) return undefined;
    const { type, values } = column;
    if (!isNumberType(type)) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `column ${JSON.stringify(column.name)} is ${typeText(column)}, which is no time`,
        {
          context: { column: column.name },
          hint: "Join on a column of integers, timestamps or floats.",
        },
      );
    }
    if (floats)
      return values instanceof Float64Array ? values : Float64Array.from(values as ArrayLike<number>, Number);
    const scale = column.unit === undefined || finest === undefined ? 1n : NANOSECONDS[column.unit] / finest;
    if (scale === 1n && values instanceof BigInt64Array) return values;
    return BigInt64Array.from(values as ArrayLike<number>, (value) => inRange(BigInt(value) * scale, column));
  });
}

function inRange(value: bigint, column: Column): bigint {
  if (BigInt.asIntN(64, value) === value) return value;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `column ${JSON.stringify(column.name)} holds ${value}, past 64 bits`,
    {
      context: { column: column.name },
      hint: "Times are 64-bit integers in the unit of the finer column.",
    },
  );
}

/** One number for each distinct key, the same on both sides. */
function keysOf(
  left: Table,
  right: Table,
  by: NonNullable<AsOfJoinOptions["by"]>,
): Pick<AsOfSides, "leftKeys" | "rightKeys" | "keys"> {
  let leftKeys: Int32Array = new Int32Array(left.rows);
  let rightKeys: Int32Array = new Int32Array(right.rows);
  let keys = 1;
  for (const pair of by) {
    const names = namesOf(pair);
    const seen = new Map<unknown, number>();
    const ids = (column: Column): Int32Array => {
      const valueAt = keyReader(column);
      return Int32Array.from({ length: column.rows }, (_, row) => {
        if (isNull(column, row)) return -1;
        const value = valueAt(row);
        let id = seen.get(value);
        if (id === undefined) {
          id = seen.size;
          seen.set(value, id);
        }
        return id;
      });
    };
    const leftIds = ids(columnOf(left, names.left, "left"));
    const rightIds = ids(columnOf(right, names.right, "right"));
    const pairs = new Map<number, number>();
    const combined = (before: Int32Array, now: Int32Array) =>
      before.map((key, row) => {
        if (key < 0 || now[row]! < 0) return -1;
        const both = key * seen.size + now[row]!;
        let id = pairs.get(both);
        if (id === undefined) {
          id = pairs.size;
          pairs.set(both, id);
        }
        return id;
      });
    leftKeys = combined(leftKeys, leftIds);
    rightKeys = combined(rightKeys, rightIds);
    keys = pairs.size;
  }
  return { leftKeys, rightKeys, keys };
}

/** A row's key as a value that a `Map` compares as SQL's `=` does: integers of any width alike. */
function keyReader({ name, type, values, offsets }: Column): (row: number) => unknown {
  if (type === "utf8" || type === "binary") {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    return (row) => bytes.toString("latin1", offsets![row], offsets![row + 1]);
  }
  if (type === "bool") return (row) => ((values[row >> 3] as number) >> (row & 7)) & 1;
  if (typeof type === "object") {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `column ${JSON.stringify(name)} holds lists, which are no keys`,
      {
        context: { column: name },
        hint: "Join by columns of integers, text or bools.",
      },
    );
  }
  return (row) => {
    const value = values[row]!;
    if (typeof value === "number") return value;
    return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value;
  };
}
