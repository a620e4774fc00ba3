import { StoreError } from "../errors.ts";
import { valueAt } from "./column-slice.ts";
import { type Column, columnIndex, type NumberArray, type Schema } from "./schema.ts";

/** A row as a caller gives it; 64-bit integers and times as bigint, safe integer or `{hi, lo}`. */
export type RowInput = Readonly<Record<string, unknown>>;

/** 64-bit integers of many rows as two arrays of halves: `hi * 2^32 + lo`. */
export interface PairColumn {
  hi: ArrayLike<number>;
  lo: ArrayLike<number>;
}

/** A column as Arrow lays it out: texts and bytes with offsets, bools and validity as bitmaps, lowest bit first. */
export interface ArrowColumn {
  arrow: { rows: number; values: NumberArray; offsets?: Int32Array; validity?: Uint8Array };
}

/** A column of a batch: values, halves, values with a 0/1 for each row that says whether it has one, or Arrow's layout. */
export type ColumnInput =
  | ArrayLike<unknown>
  | PairColumn
  | { values: ArrayLike<unknown>; valid: ArrayLike<number | boolean> }
  | ArrowColumn;

export type BatchInput = Readonly<Record<string, ColumnInput>>;

/**
 * The rows of a batch.
 * @throws ERR_INVALID_ARGUMENT for a column that is missing, unknown or of another length
 */
export function rowsOfBatch(schema: Schema, batch: BatchInput): number {
  let rows: number | undefined;
  for (const name of Object.keys(batch)) {
    if (columnIndex(schema, name) < 0) {
      throw new StoreError("ERR_INVALID_ARGUMENT", `the series has no column "${name}"`, {
        context: { column: name },
      });
    }
  }
  for (const column of schema.columns) {
    const input = batch[column.name];
    if (input === undefined) {
      if (column.nullable) continue;
      throw new StoreError("ERR_INVALID_ARGUMENT", `the batch lacks column "${column.name}"`, {
        context: { column: column.name },
      });
    }
    const length = lengthOf(column, input);
    rows ??= length;
    if (length !== rows) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `columns of unequal length: "${column.name}" has ${length} rows, those before it ${rows}`,
        { context: { column: column.name, rows: length, expected: rows } },
      );
    }
  }
  return rows ?? 0;
}

function lengthOf(column: Column, input: ColumnInput): number {
  if ("arrow" in input) return input.arrow.rows;
  if ("hi" in input) return input.hi.length === input.lo.length ? input.hi.length : -1;
  const values = "valid" in input ? input.values : input;
  // A list's numbers may come as one typed array.
  const flat = column.listSize > 0 && ArrayBuffer.isView(values);
  const rows = flat ? values.length / column.listSize : values.length;
  return "valid" in input && input.valid.length !== rows ? -1 : rows;
}

/** One row of a batch. */
export function rowOfBatch({ columns }: Schema, batch: BatchInput, row: number): RowInput {
  return Object.fromEntries(columns.map((column) => [column.name, cellOf(column, batch[column.name], row)]));
}

function cellOf(column: Column, input: ColumnInput | undefined, row: number): unknown {
  if (input === undefined) return null;
  if ("arrow" in input) return valueAt({ column, ...input.arrow }, row);
  if ("hi" in input) return { hi: input.hi[row], lo: input.lo[row] };
  if (!("valid" in input)) return input[row];
  return input.valid[row] ? input.values[row] : null;
}
