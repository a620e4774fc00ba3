/**
 * A table as every table format reads and writes it: columns of typed arrays, laid out in memory as Apache Arrow lays
 * them out. The types are structural, so that whoever holds columns of this shape can pass them as they are.
 */
export type NumberType = "f64" | "f32" | "i64" | "u64" | "i32" | "u32" | "i16" | "u16" | "i8" | "u8";

/** Rows of `size` numbers each, lying one after the other. */
export interface FixedSizeList {
  fixedSizeList: { type: NumberType; size: number };
}

export type ColumnType = NumberType | "bool" | "utf8" | "binary" | FixedSizeList;

/** What one step of an `i64` timestamp is, counted from the Unix epoch. */
export type TimeUnit = "s" | "ms" | "us" | "ns";

export type NumberArray =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

export interface Column {
  name: string;
  type: ColumnType;
  /** Only for `i64`: the numbers are instants in this unit. */
  unit?: TimeUnit;
  rows: number;
  /**
   * Numbers: the array of the type, `rows` long (`rows * size` for a fixed-size list). bool: a bitmap, least
   * significant bit first. utf8 and binary: the bytes of all rows.
   */
  values: NumberArray;
  /** utf8 and binary: where each row's bytes begin, and the end of the last; `rows + 1` of them, never falling. */
  offsets?: Int32Array;
  /** Validity bitmap, least significant bit first: 0 is null. Without it every row has a value. */
  validity?: Uint8Array;
}

export interface Table {
  rows: number;
  columns: Column[];
}

/** A column without its values. */
export type ColumnField = Pick<Column, "name" | "type" | "unit">;

export const NUMBER_ARRAYS = {
  f64: Float64Array,
  f32: Float32Array,
  i64: BigInt64Array,
  u64: BigUint64Array,
  i32: Int32Array,
  u32: Uint32Array,
  i16: Int16Array,
  u16: Uint16Array,
  i8: Int8Array,
  u8: Uint8Array,
} as const;

export function isNumberType(type: unknown): type is NumberType {
  return typeof type === "string" && Object.hasOwn(NUMBER_ARRAYS, type);
}

/** The bit at `index` of a bitmap whose least significant bit comes first. */
export function bitAt(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3]! >> (index & 7)) & 1) === 1;
}

export function isNull(column: Column, row: number): boolean {
  return column.validity !== undefined && !bitAt(column.validity, row);
}

export function nullCount(column: Column): number {
  if (column.validity === undefined) return 0;
  let count = 0;
  for (let row = 0; row < column.rows; row++) if (!bitAt(column.validity, row)) count += 1;
  return count;
}

/** How a type reads in messages and schemas: `f64`, `utf8`, `timestamp[ns]`, `f32[128]`. */
export function typeText({ type, unit }: Pick<Column, "type" | "unit">): string {
  if (unit !== undefined) return `timestamp[${unit}]`;
  return typeof type === "object" ? `${type.fixedSizeList.type}[${type.fixedSizeList.size}]` : type;
}

/** Bytes a table's arrays take in memory. */
export function tableBytes(table: Table): number {
  return table.columns.reduce(
    (sum, { values, offsets, validity }) =>
      sum + values.byteLength + (offsets?.byteLength ?? 0) + (validity?.byteLength ?? 0),
    0,
  );
}
