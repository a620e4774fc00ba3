import { type ErrorCode, StoreError } from "../../src/errors.ts";
import { TABLE_BATCH_ROWS } from "../../src/limits.ts";
import { concatTables, sliceTable } from "../tables/combine.ts";
import { type ColumnField, type Table, typeText } from "../tables/table.ts";
import { type ColumnBuilder, cellText } from "./builders.ts";
import type { RowBlock, RowProblem } from "./rows.ts";
import type { TextTableOptions } from "./text-table.ts";

/** Makes tables of blocks of rows, and decides what becomes of rows that do not fit. */
export class TableBuilder {
  readonly #builders: ColumnBuilder[];
  readonly #fields: readonly ColumnField[];
  readonly #options: TextTableOptions & { code: ErrorCode };
  #waiting: Table | undefined;

  constructor(
    builders: ColumnBuilder[],
    fields: readonly ColumnField[],
    options: TextTableOptions & { code: ErrorCode },
  ) {
    this.#builders = builders;
    this.#fields = fields;
    this.#options = options;
  }

  get rows(): number {
    return (this.#waiting?.rows ?? 0) + (this.#builders[0]?.rows ?? 0);
  }

  /** Whether a whole batch is there. */
  get full(): boolean {
    return this.rows >= (this.#options.batchRows ?? TABLE_BATCH_ROWS);
  }

  append(block: RowBlock): void {
    const before = this.#builders[0]?.rows ?? 0;
    let bad: Uint8Array | undefined;
    const onProblem = (row: number, at: number) => {
      const problem = this.#cellProblem(block, row, at);
      if (this.#options.onError !== "skip") throw problem.error;
      bad ??= new Uint8Array(block.rows);
      if (bad[row] === 0) this.#options.onSkip?.(problem.skipped);
      bad[row] = 1;
    };
    this.#builders.forEach((builder, at) => {
      builder.append(block, at, undefined, (row) => onProblem(row, at));
    });
    if (bad === undefined) return;
    // Seldom: the block's rows once more, without those that a column objected to.
    this.#builders.forEach((builder, at) => {
      builder.truncate(before);
      builder.append(block, at, bad, () => {});
    });
  }

  /** A row that has no cells to look at. */
  rowProblem({ row, line, what }: RowProblem): void {
    if (this.#options.onError === "skip") {
      this.#options.onSkip?.({ row, what });
      return;
    }
    throw new StoreError(this.#options.code, `row ${row} (line ${line}): ${what}`, {
      context: { row, line },
      hint: "Mend the row, or leave such rows out with `--on-error skip`.",
    });
  }

  /** The first `rows` rows. */
  take(rows: number): Table {
    const whole = this.#whole();
    this.#waiting = rows < whole.rows ? sliceTable(whole, rows, whole.rows) : undefined;
    return sliceTable(whole, 0, rows);
  }

  finish(): Table {
    const whole = this.#whole();
    this.#waiting = undefined;
    return whole;
  }

  #whole(): Table {
    const rows = this.#builders[0]?.rows ?? 0;
    const fresh = { rows, columns: this.#builders.map((builder) => builder.finish()) };
    if (this.#waiting === undefined) return fresh;
    return rows === 0 ? this.#waiting : concatTables([this.#waiting, fresh]);
  }

  #cellProblem(block: RowBlock, row: number, at: number) {
    const field = this.#fields[at]!;
    const number = block.numbers[row]!;
    const text = cellText(block, row * block.width + at);
    const wanted = typeText(field);
    const what = `${JSON.stringify(text)} is no ${wanted}`;
    const error = new StoreError(
      this.#options.code,
      `row ${number}, column ${JSON.stringify(field.name)}: ${what}`,
      {
        context: { row: number, column: field.name, text, type: wanted },
        hint: "Mend the cell, leave such rows out with `--on-error skip`, or read the column as another type.",
      },
    );
    return { error, skipped: { row: number, column: field.name, what } };
  }
}
