import { StoreError } from "../errors.ts";
import { NAME_BYTES_MAX, SERIES_COLUMNS_MAX, SERIES_LIST_SIZE_MAX } from "../limits.ts";
import { NUMBER_ARRAYS } from "./columns/column.ts";

/** Numbers as Arrow has them, by the names design documents and the command line use. */
export const NUMBER_TYPES = ["f64", "f32", "i64", "u64", "i32", "u32", "i16", "u16", "i8", "u8"] as const;
export type NumberType = (typeof NUMBER_TYPES)[number];

/** A time is a 64-bit integer since the Unix epoch in the unit its type names. */
const TIME_TYPES = ["ts_ns", "ts_us", "ts_ms"] as const;
export type TimeType = (typeof TIME_TYPES)[number];

export type ColumnType = NumberType | TimeType | "bool" | "utf8" | "binary";

/** A column as a caller names it: `"f64"`, or with what it may also be. */
export type ColumnOption = ColumnType | { type: ColumnType; nullable?: boolean; listSize?: number };

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly nullable: boolean;
  /** Numbers in each row of a fixed-size list; 0 for a plain column. */
  readonly listSize: number;
}

export interface Schema {
  readonly columns: readonly Column[];
  /** The column that orders the series: its event time, or a counter; `undefined` when rows are keyed by arrival. */
  readonly key: string | undefined;
  /** The column that says when a row was known (received); `undefined` when the series has none. */
  readonly knownKey: string | undefined;
}

const NAMED_TYPES = new Set<string>([...NUMBER_TYPES, ...TIME_TYPES, "bool", "utf8", "binary"]);

export interface SchemaOptions {
  /** By name, or as pairs where the order matters to names that look like numbers. */
  columns:
    | Readonly<Record<string, ColumnOption>>
    | readonly (readonly [name: string, option: ColumnOption])[];
  key?: string | undefined;
  knownKey?: string | undefined;
}

/** @throws ERR_INVALID_ARGUMENT naming the column, ERR_LIMIT for too many or too wide columns */
export function makeSchema({ columns, key, knownKey }: SchemaOptions): Schema {
  const entries: readonly (readonly [string, ColumnOption])[] = isPairs(columns)
    ? columns
    : Object.entries(columns);
  if (entries.length === 0) throw invalid("a series needs at least one column");
  if (entries.length > SERIES_COLUMNS_MAX) {
    throw new StoreError("ERR_LIMIT", `${entries.length} columns are over ${SERIES_COLUMNS_MAX}`, {
      context: { columns: entries.length, limit: SERIES_COLUMNS_MAX },
      hint: "Keep vectors in one fixed-size list column, or use several series.",
    });
  }
  const made = entries.map(([name, option]) => makeColumn(name, option));
  const names = new Set<string>();
  for (const { name } of made) {
    if (names.has(name)) throw invalid(`two columns are named "${name}"`, name);
    names.add(name);
  }
  for (const [what, name] of [["key", key] as const, ["knownKey", knownKey] as const]) {
    if (name === undefined) continue;
    const column = made.find((each) => each.name === name);
    if (column === undefined) throw invalid(`the ${what} "${name}" is no column`, name);
    if (!isKeyType(column.type) || column.nullable || column.listSize > 0) {
      throw invalid(`the ${what} "${name}" must be ts_ns, ts_us, ts_ms or i64 without nulls`, name);
    }
  }
  return { columns: made, key, knownKey };
}

function isPairs(
  columns: SchemaOptions["columns"],
): columns is readonly (readonly [name: string, option: ColumnOption])[] {
  return Array.isArray(columns);
}

function makeColumn(name: string, option: ColumnOption): Column {
  if (typeof name !== "string") throw invalid("a column needs a name");
  const { type, nullable = false, listSize = 0 } = typeof option === "string" ? { type: option } : option;
  if (name === "" || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw invalid(`a column's name has 1 to ${NAME_BYTES_MAX} bytes, not ${Buffer.byteLength(name)}`, name);
  }
  if (!NAMED_TYPES.has(type)) {
    throw invalid(
      `column "${name}" has the unknown type ${JSON.stringify(type)}; types are ${[...NAMED_TYPES].join(" ")}`,
      name,
    );
  }
  if (!Number.isInteger(listSize) || listSize < 0 || listSize > SERIES_LIST_SIZE_MAX) {
    throw new StoreError("ERR_LIMIT", `column "${name}": a list has 1 to ${SERIES_LIST_SIZE_MAX} numbers`, {
      context: { column: name, listSize, limit: SERIES_LIST_SIZE_MAX },
    });
  }
  if (listSize > 0 && widthOf(type) === 0) throw invalid(`column "${name}": lists hold numbers`, name);
  return { name, type, nullable, listSize };
}

function isKeyType(type: ColumnType): boolean {
  return type === "i64" || isTimeType(type);
}

export function isTimeType(type: ColumnType): type is TimeType {
  return type === "ts_ns" || type === "ts_us" || type === "ts_ms";
}

/** The number type whose bits a column holds; `undefined` for bool, utf8 and binary. */
export function storageOf(type: ColumnType): NumberType | undefined {
  if (isTimeType(type)) return "i64";
  return type === "bool" || type === "utf8" || type === "binary" ? undefined : type;
}

export type { NumberArray } from "./columns/column.ts";

/** The typed array of a number type. */
export function arrayOf(type: NumberType): (typeof NUMBER_ARRAYS)[NumberType] {
  return NUMBER_ARRAYS[type];
}

/** Bytes of one number of the type; 0 for bool, utf8 and binary. */
export function widthOf(type: ColumnType): number {
  const storage = storageOf(type);
  return storage === undefined ? 0 : NUMBER_ARRAYS[storage].BYTES_PER_ELEMENT;
}

/** Nanoseconds of one unit of a time column; `undefined` for a counter. */
export function unitNs(type: ColumnType): bigint | undefined {
  if (type === "ts_ns") return 1n;
  if (type === "ts_us") return 1_000n;
  return type === "ts_ms" ? 1_000_000n : undefined;
}

export function columnIndex(schema: Schema, name: string): number {
  return schema.columns.findIndex((column) => column.name === name);
}

/** @throws ERR_NOT_FOUND naming the columns there are */
export function requireColumn(schema: Schema, name: string): Column {
  const column = schema.columns.find((each) => each.name === name);
  if (column !== undefined) return column;
  const known = schema.columns.map((each) => each.name);
  throw new StoreError("ERR_NOT_FOUND", `the series has no column "${name}"`, {
    context: { column: name, columns: known },
    hint: `Its columns are ${known.slice(0, 20).join(", ")}${known.length > 20 ? ", ..." : ""}.`,
  });
}

/** Types that hold every value of another, so that rows written as the one are read as the other. */
const WIDER: Partial<Record<ColumnType, readonly ColumnType[]>> = {
  i8: ["i16", "i32", "i64"],
  i16: ["i32", "i64"],
  i32: ["i64"],
  u8: ["u16", "u32", "u64", "i16", "i32", "i64"],
  u16: ["u32", "u64", "i32", "i64"],
  u32: ["u64", "i64"],
  f32: ["f64"],
};

/**
 * The schema to go on with when a series that has `old` is opened with `wanted`: the same, or a widening (a wider
 * number, a column that may now be null, a new nullable column at the end).
 * @throws ERR_CONFLICT naming the first column that fits neither way
 */
export function widenSchema(old: Schema, wanted: Schema): Schema {
  if (old.key !== wanted.key) throw conflict(old.key ?? wanted.key!, "is the key in only one of the two");
  if (old.knownKey !== wanted.knownKey) {
    throw conflict((old.knownKey ?? wanted.knownKey)!, "is the known time in only one of the two");
  }
  for (const column of old.columns) {
    const next = wanted.columns.find((each) => each.name === column.name);
    if (next === undefined) throw conflict(column.name, "is in the series and not in the new schema");
    if (next.listSize !== column.listSize) {
      throw conflict(column.name, `has lists of ${column.listSize}, not ${next.listSize}`);
    }
    if (column.nullable && !next.nullable) throw conflict(column.name, "may be null in the series");
    if (next.type !== column.type && !WIDER[column.type]?.includes(next.type)) {
      throw conflict(column.name, `is ${column.type} in the series, which ${next.type} cannot hold`);
    }
    if (next.type !== column.type && column.listSize > 0) {
      throw conflict(column.name, "is a list: its numbers keep their type");
    }
  }
  const added = wanted.columns.filter((next) => columnIndex(old, next.name) < 0);
  for (const column of added) {
    if (!column.nullable)
      throw conflict(column.name, "is new and must be nullable: the rows before it lack it");
  }
  const kept = old.columns.map((column) => wanted.columns.find((next) => next.name === column.name)!);
  return { ...wanted, columns: [...kept, ...added] };
}

/** Whether a column by this name holds one double a row: what recipes are about. */
export function isFloatIn({ columns }: Schema): (column: string) => boolean {
  const floats = new Set(
    columns.filter(({ type, listSize }) => type === "f64" && listSize === 0).map(({ name }) => name),
  );
  return (column) => floats.has(column);
}

export function sameSchema(a: Schema, b: Schema): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The schema as the JSON that files hold: a column is `[name, type]`, `"null"` and a list's size behind it. */
export function schemaToJson({ columns, key, knownKey }: Schema): unknown {
  const short = columns.map(({ name, type, nullable, listSize }) => [
    name,
    type,
    ...(nullable || listSize > 0 ? [nullable ? "null" : ""] : []),
    ...(listSize > 0 ? [listSize] : []),
  ]);
  return { columns: short, key, knownKey };
}

/** The inverse of `schemaToJson`; `undefined` for anything it does not write. */
export function schemaFromJson(json: unknown): Schema | undefined {
  const { columns, key, knownKey } = (json ?? {}) as Partial<Record<string, unknown>>;
  if (!Array.isArray(columns) || !columns.every(Array.isArray)) return undefined;
  try {
    const pairs = (columns as [string, ColumnType, string?, number?][]).map(
      ([name, type, nullable, listSize = 0]): [string, ColumnOption] => [
        name,
        { type, nullable: nullable === "null", listSize },
      ],
    );
    return makeSchema({ columns: pairs, key: key as string, knownKey: knownKey as string });
  } catch {
    return undefined;
  }
}

function conflict(column: string, what: string): StoreError {
  return new StoreError("ERR_CONFLICT", `column "${column}" ${what}`, {
    context: { column },
    hint: "Open the series without `columns` to take its own, or begin a new series under another name.",
  });
}

function invalid(message: string, column?: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", message, {
    context: column === undefined ? {} : { column },
  });
}
