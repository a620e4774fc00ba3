import { StoreError } from "../../src/errors.ts";
import { TABLE_BATCH_ROWS, TABLE_COLUMNS_MAX } from "../../src/limits.ts";
import type { ColumnField, Table } from "../tables/table.ts";
import { cellText, columnBuilder, nameOf } from "./builders.ts";
import { ColumnGuess } from "./infer.ts";
import { type RowBlock, type RowProblem, RowScanner } from "./rows.ts";
import { TableBuilder } from "./table-builder.ts";
import { type ByteChunks, type InferredTable, type TextTableOptions, withLast } from "./text-table.ts";

export interface CsvOptions extends TextTableOptions {
  /** One character. Default: a comma. */
  delimiter?: string;
  /** Types that are known, by column; the others are inferred. */
  types?: Record<string, ColumnField["type"]>;
}

/**
 * Finds the type of each column by looking at every cell: `i64`, else `u64`, else `f64` (also `nan`, `inf`, `-0`),
 * `bool`, else `utf8`. An empty cell is null in every type.
 *
 * @throws `ERR_FORMAT_CSV` without a header, for a column named twice, and for rows of another width
 */
export async function inferCsv(chunks: ByteChunks, options: CsvOptions = {}): Promise<InferredTable> {
  const guesses: ColumnGuess[] = [];
  let rows = 0;
  const names = await eachBlock(chunks, options, (block, header) => {
    for (const name of header.slice(guesses.length)) guesses.push(new ColumnGuess(name));
    for (let at = 0; at < guesses.length; at++) guesses[at]!.see(block, at);
    rows += block.rows;
  });
  const fields = names.map((name, at): ColumnField => {
    const known = options.types?.[name];
    return known === undefined ? (guesses[at]?.field() ?? { name, type: "utf8" }) : { name, type: known };
  });
  return { fields, rows };
}

/**
 * Reads a CSV file as tables of up to `batchRows` rows, in memory of their own. `fields` are its columns, from
 * `inferCsv` or known beforehand, in the order of the header.
 *
 * @throws `ERR_FORMAT_CSV` naming row and column of a cell that is not what its column is
 */
export async function* readCsv(
  chunks: ByteChunks,
  fields: readonly ColumnField[],
  options: CsvOptions = {},
): AsyncGenerator<Table> {
  const scanner = new RowScanner(delimiterByte(options.delimiter));
  const builder = new TableBuilder(fields.map(columnBuilder), fields, { ...options, code: "ERR_FORMAT_CSV" });
  let header: string[] | undefined;
  const onProblem = (problem: RowProblem) => builder.rowProblem(problem);
  for await (const { chunk, last } of withLast(chunks)) {
    for (const block of scanner.scan(chunk, last, onProblem)) {
      if (header === undefined) {
        header = headerOf(block);
        requireFields(header, fields);
        continue;
      }
      builder.append(block);
      while (builder.full) yield builder.take(options.batchRows ?? TABLE_BATCH_ROWS);
    }
  }
  if (header === undefined) throw noHeader();
  if (builder.rows > 0) yield builder.finish();
}

/** Calls `see` with every block of rows; resolves to the header's names. */
async function eachBlock(
  chunks: ByteChunks,
  { delimiter, onError = "fail" }: CsvOptions,
  see: (block: RowBlock, header: string[]) => void,
): Promise<string[]> {
  const scanner = new RowScanner(delimiterByte(delimiter));
  let header: string[] | undefined;
  // Rows of another width are told of by the reader; here they would only be told of twice.
  const onProblem = (problem: RowProblem) => {
    if (onError === "fail") throw rowError(problem);
  };
  for await (const { chunk, last } of withLast(chunks)) {
    for (const block of scanner.scan(chunk, last, onProblem)) {
      if (header === undefined) header = headerOf(block);
      else see(block, header);
    }
  }
  if (header === undefined) throw noHeader();
  return header;
}

function rowError({ row, line, what }: RowProblem): StoreError {
  return new StoreError("ERR_FORMAT_CSV", `row ${row} (line ${line}): ${what}`, {
    context: { row, line },
    hint: "Mend the row, or leave such rows out with `--on-error skip`.",
  });
}

function noHeader(): StoreError {
  return new StoreError("ERR_FORMAT_CSV", "the file has no header: it is empty", {
    hint: "The first line names the columns.",
  });
}

function headerOf(block: RowBlock): string[] {
  const names = Array.from({ length: block.width }, (_, cell) => nameOf(block, cell));
  if (names.length > TABLE_COLUMNS_MAX) {
    throw new StoreError(
      "ERR_LIMIT",
      `the header names ${names.length} columns; the limit is ${TABLE_COLUMNS_MAX}`,
      {
        hint: "Spread the columns over several tables.",
      },
    );
  }
  names.forEach((name, at) => {
    if (name === "") throw headerError(`column ${at + 1} has no name`, cellText(block, at));
    if (names.indexOf(name) !== at) throw headerError(`two columns are named ${JSON.stringify(name)}`, name);
  });
  return names;
}

function headerError(what: string, text: string): StoreError {
  return new StoreError("ERR_FORMAT_CSV", `header: ${what}`, {
    context: { row: 0, text },
    hint: "Give each column a name of its own in the first line.",
  });
}

function requireFields(header: string[], fields: readonly ColumnField[]): void {
  const names = fields.map((field) => field.name);
  if (header.length === names.length && header.every((name, at) => name === names[at])) return;
  throw new StoreError(
    "ERR_CONFLICT",
    `the header is ${header.join(",")} where ${names.join(",")} was expected`,
    {
      context: { header, expected: names },
      hint: "The file's columns and their order have to be those it is read with.",
    },
  );
}

function delimiterByte(delimiter = ","): number {
  const byte = delimiter.charCodeAt(0);
  if (delimiter.length === 1 && byte < 128 && !/["\r\n0-9.+-]/.test(delimiter)) return byte;
  throw new StoreError("ERR_INVALID_ARGUMENT", `${JSON.stringify(delimiter)} cannot separate cells`, {
    hint: "Use one character that no number is written with: a comma, a semicolon, a tab, a bar.",
  });
}
