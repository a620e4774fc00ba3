import { bytesOf, type ColumnValues, numbersOf } from "../series/columns/column.ts";
import type { FeatureColumn } from "./format.ts";

/** Rows [from, to) of a column, sharing its memory; `from` is a multiple of 8. */
export function cutRows(column: FeatureColumn, from: number, to: number): ColumnValues {
  const { name, type, validity, offsets } = column;
  const rows = to - from;
  const bits = (bitmap: Uint8Array) => bitmap.subarray(from >> 3, Math.ceil(to / 8));
  const nulls = validity === undefined ? {} : { validity: bits(validity) };
  if (type === "bool") return { name, type, rows, values: bits(column.values as Uint8Array), ...nulls };
  if (offsets !== undefined) {
    const start = offsets[from]!;
    const values = column.values.subarray(start, offsets[to]!);
    return {
      name,
      type,
      rows,
      values,
      offsets: offsets.slice(from, to + 1).map((each) => each - start),
      ...nulls,
    };
  }
  const { perRow } = numbersOf(type)!;
  return { name, type, rows, values: column.values.subarray(from * perRow, to * perRow), ...nulls };
}

/** The rows' numbers as they lie in memory; `undefined` for what is more than numbers: texts, bools, nulls. */
export function plainBytes({ type, values, validity }: ColumnValues): Uint8Array | undefined {
  if (validity?.some((byte) => byte !== 255) === true) return undefined;
  return numbersOf(type) === undefined ? undefined : bytesOf(values);
}
