import type { Table as ArrowTable } from "apache-arrow";
import type { Column, Table } from "../formats/tables/table.ts";
import { StoreError } from "../src/errors.ts";
import { nearestNames } from "../src/names.ts";

/** A table of Apache Arrow, or columns of typed arrays laid out as Arrow lays them out. */
export type AnyTable = ArrowTable | Table;

export function isArrow(table: AnyTable): table is ArrowTable {
  return Array.isArray((table as ArrowTable).batches);
}

/** Shares the memory where it can. @throws `ERR_FORMAT_ARROW` for types that have no place in a table */
export async function asTable(table: AnyTable): Promise<Table> {
  if (table === null || typeof table !== "object" || (!isArrow(table) && !Array.isArray(table.columns))) {
    throw new StoreError("ERR_INVALID_ARGUMENT", "a table was expected", {
      hint: "Pass an Arrow table, or { rows, columns }.",
    });
  }
  if (!isArrow(table)) return table;
  const { fromArrow } = await import("../formats/arrow/convert.ts");
  return fromArrow(table);
}

/** @throws `ERR_NOT_FOUND` naming those nearest */
export function columnOf(table: Table, name: string, which: string): Column {
  const found = table.columns.find((column) => column.name === name);
  if (found !== undefined) return found;
  const near = nearestNames(
    name,
    table.columns.map((column) => column.name),
  );
  throw new StoreError("ERR_NOT_FOUND", `the ${which} table has no column ${JSON.stringify(name)}`, {
    context: { column: name, nearest: near },
    hint: near.length > 0 ? `Did you mean ${near.join(", ")}?` : "Look at the table's columns.",
  });
}
