import { StoreError } from "../../errors.ts";
import { type ColumnValues, numberArray, numbersOf } from "./column.ts";

/** Refuses arrays that do not belong to the column's type and rows, before anything is read from them. */
export function checkColumn(column: ColumnValues): void {
  const { rows, type, values, offsets, validity } = column;
  const refuse = (problem: string) => {
    throw new StoreError("ERR_INVALID_ARGUMENT", `column "${column.name}": ${problem}`, {
      context: { column: column.name, rows },
      hint: "Pass Arrow's layout: the type's typed array, bitmaps from the least significant bit, rows + 1 offsets.",
    });
  };
  const bitmapBytes = Math.ceil(rows / 8);
  if (validity !== undefined && validity.length < bitmapBytes) {
    refuse(`a validity bitmap of ${validity.length} bytes is too short for ${rows} rows`);
  }
  const numbers = numbersOf(type);
  if (numbers) {
    if (!Number.isInteger(numbers.perRow) || numbers.perRow < 1) refuse(`lists of ${numbers.perRow} numbers`);
    const expected = numberArray(numbers.type, 0).constructor;
    if (values.constructor !== expected) refuse(`its values are no ${expected.name}`);
    if (values.length !== rows * numbers.perRow) refuse(`${values.length} values for ${rows} rows`);
    return;
  }
  if (!(values instanceof Uint8Array)) refuse("its values are no Uint8Array");
  if (type === "bool") {
    if (values.length < bitmapBytes)
      refuse(`a bitmap of ${values.length} bytes is too short for ${rows} rows`);
    return;
  }
  if (type !== "utf8" && type !== "binary") refuse(`unknown type ${JSON.stringify(type)}`);
  if (!(offsets instanceof Int32Array) || offsets.length !== rows + 1) refuse(`needs ${rows + 1} offsets`);
  let last = 0;
  for (const offset of offsets!) {
    if (offset < last) refuse("its offsets fall");
    last = offset;
  }
  if (last > values.length) refuse(`its offsets end at ${last}, past its ${values.length} bytes`);
}
