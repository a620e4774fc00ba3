import { StoreError } from "../errors.ts";
import type { Column } from "./schema.ts";

/** A value that its column cannot hold exactly. */
export function misfit(column: Column, value: unknown, what: string): StoreError {
  const shown =
    typeof value === "bigint" ? `${value}` : (JSON.stringify(value)?.slice(0, 80) ?? String(value));
  return new StoreError(
    "ERR_INVALID_ARGUMENT",
    `column "${column.name}" (${column.type}) does not take ${shown}: ${what}`,
    { context: { column: column.name, type: column.type } },
  );
}
