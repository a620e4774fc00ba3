import { type Column, type NumberArray, storageOf } from "./schema.ts";

/**
 * Some rows of one column as Arrow lays them out: what hot rows are read as without a copy, what sealing takes and
 * what decoding gives.
 */
export interface ColumnSlice {
  readonly column: Column;
  readonly rows: number;
  /** Numbers: `rows` (times the list's size). bool: a bitmap, lowest bit first. utf8, binary: the bytes of all rows. */
  readonly values: NumberArray;
  /** utf8 and binary: where each row begins in `values`, and where the last ends: `rows + 1` of them. */
  readonly offsets?: Int32Array | undefined;
  /** A bitmap, lowest bit first: 0 is null. Absent when no row is null. */
  readonly validity?: Uint8Array | undefined;
}

/** A value as rows show it; 64-bit integers and times are bigints. */
export type Value = number | bigint | boolean | string | Uint8Array | NumberArray | null;

export function bitAt(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3]! >> (index & 7)) & 1) === 1;
}

export function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >> 3]! |= 1 << (index & 7);
}

const text = new TextDecoder();

/** One value; bytes and lists are copies. */
export function valueAt(slice: ColumnSlice, row: number): Value {
  const { column, values, offsets, validity } = slice;
  if (validity !== undefined && !bitAt(validity, row)) return null;
  if (column.listSize > 0) return values.slice(row * column.listSize, (row + 1) * column.listSize);
  if (column.type === "bool") return bitAt(values as Uint8Array, row);
  if (storageOf(column.type) !== undefined) return values[row]!;
  const bytes = (values as Uint8Array).subarray(offsets![row]!, offsets![row + 1]!);
  return column.type === "utf8" ? text.decode(bytes) : bytes.slice();
}

/** Bits [from, from + count) of a bitmap moved to its start; the bits past them are 0. A copy. */
export function sliceBits(bitmap: Uint8Array, from: number, count: number): Uint8Array {
  const out = new Uint8Array(Math.ceil(count / 8));
  const shift = from & 7;
  const start = from >> 3;
  for (let i = 0; i < out.length; i++) {
    out[i] = (bitmap[start + i]! >> shift) | ((bitmap[start + i + 1] ?? 0) << (8 - shift));
  }
  if ((count & 7) !== 0) out[out.length - 1]! &= (1 << (count & 7)) - 1;
  return out;
}

/** The rows of a slice that `rows` names, in that order. A copy. */
export function gather(slice: ColumnSlice, rows: Int32Array): ColumnSlice {
  const { column, values, offsets, validity } = slice;
  const count = rows.length;
  const bits = (bitmap: Uint8Array) => {
    const out = new Uint8Array(Math.ceil(count / 8));
    for (let i = 0; i < count; i++) if (bitAt(bitmap, rows[i]!)) setBit(out, i);
    return out;
  };
  const valid = validity && { validity: bits(validity) };
  if (column.type === "bool") return { column, rows: count, values: bits(values as Uint8Array), ...valid };
  if (offsets !== undefined) {
    const moved = new Int32Array(count + 1);
    for (let i = 0; i < count; i++) moved[i + 1] = moved[i]! + offsets[rows[i]! + 1]! - offsets[rows[i]!]!;
    const bytes = new Uint8Array(moved[count]!);
    for (let i = 0; i < count; i++) {
      bytes.set((values as Uint8Array).subarray(offsets[rows[i]!]!, offsets[rows[i]! + 1]!), moved[i]!);
    }
    return { column, rows: count, values: bytes, offsets: moved, ...valid };
  }
  const perRow = Math.max(1, column.listSize);
  const out = new (values.constructor as new (length: number) => NumberArray)(count * perRow);
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < perRow; j++) out[i * perRow + j] = values[rows[i]! * perRow + j] as never;
  }
  return { column, rows: count, values: out, ...valid };
}

/** Slices of one column, one after the other, as one. A copy when there are several. */
export function concatenate(column: Column, slices: readonly ColumnSlice[]): ColumnSlice {
  if (slices.length === 1) return slices[0]!;
  const rows = slices.reduce((sum, slice) => sum + slice.rows, 0);
  const joinBits = (bitmapOf: (slice: ColumnSlice) => Uint8Array | undefined) => {
    const out = new Uint8Array(Math.ceil(rows / 8));
    let at = 0;
    for (const slice of slices) {
      const bitmap = bitmapOf(slice);
      for (let i = 0; i < slice.rows; i++) if (bitmap === undefined || bitAt(bitmap, i)) setBit(out, at + i);
      at += slice.rows;
    }
    return out;
  };
  const valid = slices.some((slice) => slice.validity) && { validity: joinBits((slice) => slice.validity) };
  if (column.type === "bool") {
    return { column, rows, values: joinBits((slice) => slice.values as Uint8Array), ...(valid || {}) };
  }
  const sizes = slices.map((slice) => slice.offsets?.[slice.rows] ?? slice.values.length);
  const Values = slices[0]?.values.constructor as (new (length: number) => NumberArray) | undefined;
  const values = new (Values ?? Uint8Array)(sizes.reduce((sum, size) => sum + size, 0));
  const variable = column.type === "utf8" || column.type === "binary";
  const offsets = variable ? new Int32Array(rows + 1) : undefined;
  let [at, row] = [0, 0];
  for (const [index, slice] of slices.entries()) {
    values.set(slice.values.subarray(0, sizes[index]!) as never, at);
    for (let i = 1; offsets !== undefined && i <= slice.rows; i++) offsets[row + i] = at + slice.offsets![i]!;
    at += sizes[index]!;
    row += slice.rows;
  }
  return { column, rows, values, offsets, ...(valid || {}) };
}
