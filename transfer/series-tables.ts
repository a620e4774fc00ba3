import type { ColumnField, Table, Column as TableColumn, TimeUnit } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import type { ColumnSlice } from "../src/series/column-slice.ts";
import type { BatchInput } from "../src/series/row-input.ts";
import {
  type Column,
  type ColumnOption,
  type ColumnType,
  isTimeType,
  storageOf,
  type TimeType,
} from "../src/series/schema.ts";

/** A table's column as a series has it; any but the key may be null, as a later batch may hold one. */
export function seriesColumn(field: ColumnField, key: string | undefined): [string, ColumnOption] {
  const { name, type } = field;
  const nullable = name !== key;
  if (typeof type === "object") {
    return [name, { type: type.fixedSizeList.type, listSize: type.fixedSizeList.size, nullable }];
  }
  return [name, { type: field.unit === undefined ? type : timeType(field.name, field.unit), nullable }];
}

function timeType(name: string, unit: TimeUnit): ColumnType {
  if (unit === "s") {
    throw new StoreError("ERR_INVALID_ARGUMENT", `column "${name}" counts whole seconds`, {
      context: { column: name },
      hint: "A series has times in ns, us or ms: convert the column first.",
    });
  }
  return `ts_${unit}` as TimeType;
}

/** The type under which the text of a series' column is read. */
export function fieldType(column: Column): ColumnField["type"] {
  const storage = storageOf(column.type);
  if (storage === undefined) return column.type as "bool" | "utf8" | "binary";
  return column.listSize === 0 ? storage : { fixedSizeList: { type: storage, size: column.listSize } };
}

/** A table as a batch to append: the same memory. */
export function batchOf(table: Table): BatchInput {
  return Object.fromEntries(
    table.columns.map(({ name, rows, values, offsets, validity }) => [
      name,
      { arrow: { rows, values, ...(offsets && { offsets }), ...(validity && { validity }) } },
    ]),
  );
}

/** Rows of a series as a table: the same memory. */
export function tableOf(slices: readonly ColumnSlice[], rows: number): Table {
  return { rows, columns: slices.map(tableColumn) };
}

function tableColumn({ column, rows, values, offsets, validity }: ColumnSlice): TableColumn {
  const { name, type } = column;
  return {
    name,
    type: fieldType(column),
    ...(isTimeType(type) && { unit: type.slice(3) as TimeUnit }),
    rows,
    values,
    ...(offsets && { offsets }),
    ...(validity && { validity }),
  };
}
