import type { Style } from "./style.ts";
import { displayWidth, printable } from "./text.ts";

export interface Column<Row> {
  title: string;
  align?: "left" | "right";
  cell(row: Row): string;
}

const GAP = "  ";

/** A table with a line of titles; every cell is made printable. Columns without any content are left out. */
export function renderTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  style: Style,
): string {
  const filled = columns
    .map((column) => ({ column, cells: rows.map((row) => printable(column.cell(row))) }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""));
  const widths = filled.map(({ column, cells }) =>
    cells.reduce((width, cell) => Math.max(width, displayWidth(cell)), displayWidth(column.title)),
  );
  const pad = (text: string, place: number) => {
    const space = " ".repeat(widths[place]! - displayWidth(text));
    return filled[place]!.column.align === "right" ? space + text : text + space;
  };
  const line = (cells: string[]) => cells.map(pad).join(GAP).trimEnd();
  const titles = style.bold(line(filled.map(({ column }) => column.title)));
  const lines = rows.map((_, index) => line(filled.map(({ cells }) => cells[index]!)));
  return `${[titles, ...lines].join("\n")}\n`;
}

/** `name  value` lines, names in one column; entries without a value are left out. */
export function renderFields(
  fields: readonly (readonly [name: string, value: string])[],
  style: Style,
): string {
  const shown = fields.filter(([, value]) => value !== "");
  const width = Math.max(0, ...shown.map(([name]) => displayWidth(printable(name))));
  return shown
    .map(([name, value]) => {
      const label = printable(name);
      return `${style.dim(label)}${" ".repeat(width - displayWidth(label))}${GAP}${printable(value)}\n`;
    })
    .join("");
}
