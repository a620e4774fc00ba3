import { type Column, isNull, type Table } from "../tables/table.ts";
import { listText, numberFormatter } from "./numbers.ts";

/** Rows whose text is put together before it is handed out. */
const ROWS_AT_ONCE = 4096;

/**
 * A table as CSV: a header, then a row a line, LF at the end of each. Numbers are in their shortest form that reads
 * back to the same bits; null is an empty cell and the empty text `""`. Binary is hexadecimal after `0x`, a list is
 * `[1,2]`; both read back as text. All batches have the columns of the first.
 */
export async function* writeCsv(
  tables: AsyncIterable<Table> | Iterable<Table>,
  { delimiter = "," }: { delimiter?: string } = {},
): AsyncGenerator<Uint8Array> {
  let header = true;
  for await (const table of tables) {
    if (header)
      yield Buffer.from(`${table.columns.map(({ name }) => quoted(name, delimiter)).join(delimiter)}\n`);
    header = false;
    const cells = table.columns.map((column) => cellWriter(column, delimiter));
    for (let from = 0; from < table.rows; from += ROWS_AT_ONCE) {
      const lines: string[] = [];
      for (let row = from; row < Math.min(from + ROWS_AT_ONCE, table.rows); row++) {
        let line = cells[0]?.(row) ?? "";
        for (let at = 1; at < cells.length; at++) line += delimiter + cells[at]!(row);
        lines.push(line);
      }
      yield Buffer.from(`${lines.join("\n")}\n`);
    }
  }
}

function cellWriter(column: Column, delimiter: string): (row: number) => string {
  const filled = filledWriter(column, delimiter);
  if (column.validity === undefined) return filled;
  return (row) => (isNull(column, row) ? "" : filled(row));
}

function filledWriter(column: Column, delimiter: string): (row: number) => string {
  const { type, offsets } = column;
  if (type !== "utf8" && type !== "binary") {
    return typeof type === "object" ? (row) => `"${listText(column, row)}"` : numberFormatter(column);
  }
  const bytes = Buffer.from(column.values.buffer, column.values.byteOffset, column.values.byteLength);
  if (type === "binary") return (row) => `0x${bytes.toString("hex", offsets![row], offsets![row + 1])}`;
  return (row) => quoted(bytes.toString("utf8", offsets![row], offsets![row + 1]), delimiter);
}

/** In quotes where the text would be read as something else without: empty, with a delimiter, a quote, a line's end. */
function quoted(text: string, delimiter: string): string {
  if (text !== "" && !text.includes(delimiter) && !/["\r\n]|^\ufeff/.test(text)) return text;
  return `"${text.replaceAll('"', '""')}"`;
}
