import { isUtf8 } from "node:buffer";
import type { Table, Column as TableColumn } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import { SERIES_ROW_BYTES_MAX } from "../src/limits.ts";
import type { BatchInput } from "../src/series/row-input.ts";
import { type Column, isTimeType, storageOf } from "../src/series/schema.ts";

/**
 * A table from elsewhere as a batch to append, in the same memory: its columns are those of the series, its texts are
 * UTF-8, and no value is longer than a row may be. A 64-bit integer without a unit may be a time.
 * @throws `ERR_INVALID_ARGUMENT` naming the column; `ERR_LIMIT`
 */
export function batchFor(columns: readonly Column[], table: Table): BatchInput {
  return Object.fromEntries(
    table.columns.map((given) => {
      const column = columns.find(({ name }) => name === given.name);
      // An unknown column is named by the check that every batch passes.
      if (column !== undefined) requireFit(column, given);
      const { name, rows, values, offsets, validity } = given;
      return [name, { arrow: { rows, values, ...(offsets && { offsets }), ...(validity && { validity }) } }];
    }),
  );
}

function requireFit(column: Column, given: TableColumn): void {
  const { type, unit } = given;
  const listSize = typeof type === "object" ? type.fixedSizeList.size : 0;
  const element = typeof type === "object" ? type.fixedSizeList.type : type;
  const wanted = storageOf(column.type) ?? column.type;
  const unitFits = unit === undefined || (isTimeType(column.type) && column.type === `ts_${unit}`);
  if (element !== wanted || listSize !== column.listSize || !unitFits) {
    const found = unit === undefined ? `${element}${listSize > 0 ? `[${listSize}]` : ""}` : `ts_${unit}`;
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `column ${JSON.stringify(column.name)} is ${column.type} in the series and ${found} in the stream`,
      { context: { column: column.name, type: column.type, found } },
    );
  }
  if (given.offsets !== undefined) requireValues(column, given.values as Uint8Array, given.offsets);
}

function requireValues({ name, type }: Column, values: Uint8Array, offsets: Int32Array): void {
  const [first, end] = [offsets[0]!, offsets[offsets.length - 1]!];
  const isText = type === "utf8";
  let whole = !isText || isUtf8(values.subarray(first, end));
  for (let row = 0; row + 1 < offsets.length; row++) {
    const at = offsets[row]!;
    const sizeBytes = offsets[row + 1]! - at;
    if (sizeBytes > SERIES_ROW_BYTES_MAX) {
      throw new StoreError(
        "ERR_LIMIT",
        `column ${JSON.stringify(name)}, row ${row}: ${sizeBytes} bytes are over ${SERIES_ROW_BYTES_MAX}`,
        { context: { column: name, row, limit: SERIES_ROW_BYTES_MAX } },
      );
    }
    // A text that begins inside of a character is none, whatever they all are together.
    if (isText && at < end && (values[at]! & 0xc0) === 0x80) whole = false;
  }
  if (whole) return;
  throw new StoreError("ERR_INVALID_ARGUMENT", `column ${JSON.stringify(name)} holds text that is no UTF-8`, {
    context: { column: name },
  });
}
