import { StoreError } from "../../src/errors.ts";
import { TABLE_BATCH_ROWS } from "../../src/limits.ts";
import { columnBuilder } from "../csv/builders.ts";
import { ColumnGuess } from "../csv/infer.ts";
import type { RowProblem } from "../csv/rows.ts";
import { TableBuilder } from "../csv/table-builder.ts";
import { type ByteChunks, type InferredTable, type TextTableOptions, withLast } from "../csv/text-table.ts";
import type { ColumnField, Table } from "../tables/table.ts";
import { ObjectScanner } from "./rows.ts";

export interface NdjsonOptions extends TextTableOptions {
  /** Types that are known, by key; the others are inferred. */
  types?: Record<string, ColumnField["type"]>;
}

/**
 * Finds the columns of a file with one JSON object a line: every key, in the order of first appearance, and its type
 * by looking at every value. A missing key is a null.
 * @throws `ERR_FORMAT_NDJSON` for a line that is no object
 */
export async function inferNdjson(chunks: ByteChunks, options: NdjsonOptions = {}): Promise<InferredTable> {
  const scanner = new ObjectScanner();
  const guesses: ColumnGuess[] = [];
  let rows = 0;
  const onProblem = (problem: RowProblem) => {
    if (options.onError !== "skip") throw lineError(problem);
  };
  for await (const { chunk, last } of withLast(chunks)) {
    for (const block of scanner.scan(chunk, last, onProblem)) {
      for (const name of [...scanner.columns.keys()].slice(guesses.length))
        guesses.push(new ColumnGuess(name));
      for (let at = 0; at < block.width; at++) guesses[at]!.see(block, at);
      rows += block.rows;
    }
  }
  const fields = guesses.map((guess): ColumnField => {
    const known = options.types?.[guess.name];
    return known === undefined ? guess.field() : { name: guess.name, type: known };
  });
  return { fields, rows };
}

/** Reads newline-delimited JSON as tables of up to `batchRows` rows; `fields` are its columns, from `inferNdjson`. */
export async function* readNdjson(
  chunks: ByteChunks,
  fields: readonly ColumnField[],
  options: NdjsonOptions = {},
): AsyncGenerator<Table> {
  const scanner = new ObjectScanner(fields.map((field) => field.name));
  const builder = new TableBuilder(fields.map(columnBuilder), fields, {
    ...options,
    code: "ERR_FORMAT_NDJSON",
  });
  for await (const { chunk, last } of withLast(chunks)) {
    for (const block of scanner.scan(chunk, last, (problem) => builder.rowProblem(problem))) {
      builder.append(block);
      while (builder.full) yield builder.take(options.batchRows ?? TABLE_BATCH_ROWS);
    }
  }
  if (builder.rows > 0) yield builder.finish();
}

function lineError({ row, line, what }: RowProblem): StoreError {
  return new StoreError("ERR_FORMAT_NDJSON", `row ${row} (line ${line}): ${what}`, {
    context: { row, line },
    hint: "Each line is one JSON object; `--on-error skip` leaves out lines that are none.",
  });
}
