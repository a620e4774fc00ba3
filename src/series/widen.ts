import type { ColumnSlice } from "./column-slice.ts";
import { arrayOf, type Column, type NumberArray, storageOf } from "./schema.ts";

/** Rows written under an earlier schema as the wider column they belong to now. */
export function adapt(slice: ColumnSlice, column: Column): ColumnSlice {
  const from = storageOf(slice.column.type);
  const to = storageOf(column.type);
  if (from === to || from === undefined || to === undefined) {
    return slice.column === column ? slice : { ...slice, column };
  }
  const wide = new (arrayOf(to))(slice.values.length);
  const asBigInt = wide instanceof BigInt64Array || wide instanceof BigUint64Array;
  const wasBigInt = from === "i64" || from === "u64";
  for (let i = 0; i < wide.length; i++) {
    const value = slice.values[i]!;
    wide[i] = (asBigInt && !wasBigInt ? BigInt(value) : value) as never;
  }
  return { ...slice, column, values: wide };
}

/** A column that rows written under an earlier schema do not have: all null. */
export function nulls(column: Column, rows: number): ColumnSlice {
  const storage = storageOf(column.type);
  const validity = new Uint8Array(Math.ceil(rows / 8));
  const variable = column.type === "utf8" || column.type === "binary";
  const perRow = Math.max(1, column.listSize);
  const values: NumberArray =
    storage !== undefined
      ? new (arrayOf(storage))(rows * perRow)
      : new Uint8Array(variable ? 0 : Math.ceil(rows / 8));
  return { column, rows, values, validity, offsets: variable ? new Int32Array(rows + 1) : undefined };
}
