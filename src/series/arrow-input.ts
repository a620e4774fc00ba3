import type { Data, RecordBatch, Table, Vector } from "apache-arrow";
import { StoreError } from "../errors.ts";
import type { BatchInput, ColumnInput } from "./row-input.ts";
import { arrayOf, type Column, isTimeType, type Schema, storageOf } from "./schema.ts";

/** Arrow's names of the types a column takes; a dictionary counts as what it holds. */
const ARROW_NAMES: Partial<Record<Column["type"], RegExp>> = {
  f64: /^Float64$/,
  f32: /^Float32$/,
  i64: /^Int64$/,
  u64: /^Uint64$/,
  i32: /^Int32$/,
  u32: /^Uint32$/,
  i16: /^Int16$/,
  u16: /^Uint16$/,
  i8: /^Int8$/,
  u8: /^Uint8$/,
  bool: /^Bool$/,
  utf8: /^(Utf8|LargeUtf8|Dictionary<.*Utf8>)$/,
  binary: /^(Binary|LargeBinary)$/,
  ts_ns: /^(Timestamp<NANOSECOND.*>|Int64)$/,
  ts_us: /^(Timestamp<MICROSECOND.*>|Int64)$/,
  ts_ms: /^(Timestamp<MILLISECOND.*>|Int64)$/,
};

/**
 * The record batches of an Arrow table as batches to append. Numbers without nulls are views, not copies.
 * @throws ERR_INVALID_ARGUMENT for a column of another type
 */
export function* arrowBatches(table: Table, schema: Schema): Generator<BatchInput> {
  for (const batch of table.batches) yield batchInput(batch, schema);
}

function batchInput(batch: RecordBatch, schema: Schema): BatchInput {
  const input: [string, ColumnInput][] = [];
  for (const { name } of batch.schema.fields) {
    const column = schema.columns.find((each) => each.name === name);
    const vector = batch.getChild(name)!;
    // An unknown column is named by the check that every batch passes.
    input.push([name, column === undefined ? [] : columnInput(column, vector)]);
  }
  return Object.fromEntries(input);
}

function columnInput(column: Column, vector: Vector): ColumnInput {
  const data = vector.data[0] as Data | undefined;
  const element = column.listSize > 0 ? data?.children[0] : data;
  requireType(column, vector, element);
  if (data === undefined) return [];
  const storage = storageOf(column.type);
  const rows = vector.length;
  if (storage !== undefined && element?.values instanceof arrayOf(storage)) {
    const values = element.values.subarray(0, rows * Math.max(1, column.listSize));
    if (vector.nullCount === 0) return values;
    return { values, valid: Array.from({ length: rows }, (_, row) => data.getValid(row)) };
  }
  return Array.from({ length: rows }, (_, row) => vector.get(row) as unknown);
}

function requireType(column: Column, vector: Vector, element: Data | undefined): void {
  const found = String(element?.type ?? vector.type);
  const wanted = ARROW_NAMES[column.type]!;
  const listSize = column.listSize > 0 ? ((vector.type as { listSize?: number }).listSize ?? 0) : 0;
  if ((element === undefined || wanted.test(found)) && listSize === column.listSize) return;
  const unit = isTimeType(column.type) ? "; times keep their unit" : "";
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `column "${column.name}" is ${column.type} in the series and ${String(vector.type)} in the table${unit}`,
    { context: { column: column.name, type: column.type, found: String(vector.type) } },
  );
}
