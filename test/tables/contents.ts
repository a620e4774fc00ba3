import { type Column, isNull, type Table, typeText } from "../../formats/tables/table.ts";

/** A table as plain data that compares by bits: floats as their bits, bytes as hex, null as null. */
export function contentsOf(table: Table): unknown {
  return {
    rows: table.rows,
    columns: table.columns.map((column) => ({
      name: column.name,
      type: typeText(column),
      cells: Array.from({ length: column.rows }, (_, row) =>
        isNull(column, row) ? null : cellBits(column, row),
      ),
    })),
  };
}

function cellBits({ type, values, offsets }: Column, row: number): string {
  if (type === "bool") return String(((values[row >> 3] as number) >> (row & 7)) & 1);
  if (offsets !== undefined) return hex((values as Uint8Array).subarray(offsets[row]!, offsets[row + 1]!));
  const width = typeof type === "object" ? type.fixedSizeList.size : 1;
  const part = values.subarray(row * width, (row + 1) * width);
  return hex(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Cells as JavaScript values, for tables written out in a test. */
export function textTable(text: string, name = "t.csv") {
  return { name, stream: () => chunks(Buffer.from(text)) };
}

/** The same bytes in pieces of any size. */
export async function* chunks(bytes: Uint8Array, sizeBytes = bytes.length || 1): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}
