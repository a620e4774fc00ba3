import { listText, numberFormatter } from "../csv/numbers.ts";
import { type Column, isNull, type Table } from "../tables/table.ts";

const ROWS_AT_ONCE = 4096;

/**
 * A table as newline-delimited JSON: one object a line, integers with all their digits. Floats that
 * JSON cannot write (`nan`, `inf`, `-inf`, NaN payloads) are strings, and read back as the same bits.
 */
export async function* writeNdjson(
  tables: AsyncIterable<Table> | Iterable<Table>,
): AsyncGenerator<Uint8Array> {
  for await (const table of tables) {
    const fields = table.columns.map((column) => ({
      column,
      key: `${JSON.stringify(column.name)}:`,
      value: valueWriter(column),
    }));
    for (let from = 0; from < table.rows; from += ROWS_AT_ONCE) {
      const lines: string[] = [];
      for (let row = from; row < Math.min(from + ROWS_AT_ONCE, table.rows); row++) {
        const parts = fields.map(
          ({ column, key, value }) => key + (isNull(column, row) ? "null" : value(row)),
        );
        lines.push(`{${parts.join(",")}}`);
      }
      yield Buffer.from(`${lines.join("\n")}\n`);
    }
  }
}

function valueWriter(column: Column): (row: number) => string {
  const { type, values, offsets } = column;
  if (type === "utf8" || type === "binary") {
    const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    const text =
      type === "utf8"
        ? (row: number) => bytes.toString("utf8", offsets![row], offsets![row + 1])
        : (row: number) => `0x${bytes.toString("hex", offsets![row], offsets![row + 1])}`;
    return (row) => JSON.stringify(text(row));
  }
  if (typeof type === "object")
    return (row) => listText(column, row).replace(/(?<![0-9.])-?[a-z][^,\]]*/g, '"$&"');
  const format = numberFormatter(column);
  if (type !== "f64" && type !== "f32") return format;
  return (row) => (Number.isFinite(values[row]) ? format(row) : JSON.stringify(format(row)));
}
