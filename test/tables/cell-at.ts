import { bitAt, type Column, isNull } from "../../formats/tables/table.ts";

/** One cell as a JavaScript value: bigint for 64-bit integers, `null` for null, an array for a fixed-size list. */
export type CellValue = number | bigint | boolean | string | Uint8Array | (number | bigint)[] | null;

const decoder = new TextDecoder();

export function cellAt(column: Column, row: number): CellValue {
  if (isNull(column, row)) return null;
  const { type, values } = column;
  if (type === "bool") return bitAt(values as Uint8Array, row);
  if (type === "utf8" || type === "binary") {
    const bytes = (values as Uint8Array).subarray(column.offsets![row]!, column.offsets![row + 1]!);
    return type === "utf8" ? decoder.decode(bytes) : bytes.slice();
  }
  if (typeof type === "object") {
    const { size } = type.fixedSizeList;
    return [...(values.subarray(row * size, (row + 1) * size) as Iterable<number | bigint>)];
  }
  return values[row]!;
}
