/**
 * Columns as Arrow lays them out in memory: what the encoder takes and what the decoder gives back. A timestamp is an
 * `i64` here; its unit belongs to the schema.
 */
export type NumberType = "f64" | "f32" | "i64" | "u64" | "i32" | "u32" | "i16" | "u16" | "i8" | "u8";

/** Rows of `size` numbers each, lying one after the other. */
export interface FixedSizeList {
  fixedSizeList: { type: NumberType; size: number };
}

export type ColumnType = NumberType | "bool" | "utf8" | "binary" | FixedSizeList;

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

export interface ColumnValues {
  name: string;
  type: ColumnType;
  rows: number;
  /**
   * Numbers: the array of the type, `rows` long (`rows * size` for a fixed-size list). bool: a bitmap, least
   * significant bit first. utf8 and binary: the bytes of all rows.
   */
  values: NumberArray;
  /** utf8 and binary: where each row's bytes begin, and the end of the last; `rows + 1` of them, never falling. */
  offsets?: Int32Array;
  /** Arrow's validity bitmap, least significant bit first: 0 is null. Without it every row has a value. */
  validity?: Uint8Array;
}

/** The typed array of each number type. */
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

export function isNumberType(type: ColumnType): type is NumberType {
  return typeof type === "string" && type in NUMBER_ARRAYS;
}

export function numberWidth(type: NumberType): 1 | 2 | 4 | 8 {
  return NUMBER_ARRAYS[type].BYTES_PER_ELEMENT as 1 | 2 | 4 | 8;
}

/** The array of a number type, over a buffer or of a length. */
export function numberArray(type: NumberType, length: number): NumberArray {
  return new NUMBER_ARRAYS[type](length);
}

/** The type of the numbers in a column of numbers or fixed-size lists, and how many of them a row has. */
export function numbersOf(type: ColumnType): { type: NumberType; perRow: number } | undefined {
  if (typeof type === "object") return { type: type.fixedSizeList.type, perRow: type.fixedSizeList.size };
  return isNumberType(type) ? { type, perRow: 1 } : undefined;
}

export function bytesOf(values: NumberArray): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
