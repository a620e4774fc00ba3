import type { RecordBatch, Table } from "apache-arrow";
import { SERIES_BATCH_ROWS } from "../limits.ts";
import { ArrowBatches, loadArrow } from "./arrow-batches.ts";
import { type ColumnSlice, gather } from "./column-slice.ts";
import type { Part, Which } from "./parts.ts";
import type { Column } from "./schema.ts";
import { type KeyRange, selectRows } from "./select-rows.ts";

export interface RangeSource {
  parts: readonly Part[];
  columns: readonly Column[];
  /** Rows [fromRow, toRow) by number. */
  fromRow: number;
  toRow: number;
  keys?: { column: Column; which: Which; range: KeyRange } | undefined;
}

/** Rows of a read, one run after the other: the number of the first, and a slice for each column. */
export interface RowRun {
  firstRow: number;
  rows: number;
  slices: ColumnSlice[];
}

/** The runs of a range, each of at most `SERIES_BATCH_ROWS` rows. */
export function* readRuns({ parts, columns, fromRow, toRow, keys }: RangeSource): Generator<RowRun> {
  for (const part of parts) {
    const first = Math.max(0, fromRow - part.firstRow);
    const end = Math.min(part.rows, toRow - part.firstRow);
    if (first >= end) continue;
    const selected = keys
      ? selectRows(part, keys.column, keys.which, keys.range)
      : { from: 0, to: part.rows };
    if (selected === undefined) continue;
    if (selected instanceof Int32Array) yield* gathered(part, columns, within(selected, first, end));
    else yield* contiguous(part, columns, Math.max(first, selected.from), Math.min(end, selected.to));
  }
}

function within(selected: Int32Array, first: number, end: number): Int32Array {
  return selected.filter((row) => row >= first && row < end);
}

function* contiguous(part: Part, columns: readonly Column[], from: number, to: number): Generator<RowRun> {
  for (let at = from; at < to; ) {
    const end = Math.min(to, at + SERIES_BATCH_ROWS);
    for (const slices of part.read(columns, at, end)) {
      const rows = slices[0]!.rows;
      yield { firstRow: part.firstRow + at, rows, slices };
      at += rows;
    }
  }
}

function* gathered(part: Part, columns: readonly Column[], selected: Int32Array): Generator<RowRun> {
  for (let at = 0; at < selected.length; ) {
    // Rows that lie within one stretch of the part are read together.
    const base = selected[at]!;
    let end = at;
    while (end < selected.length && selected[end]! < base + SERIES_BATCH_ROWS) end++;
    const to = selected[end - 1]! + 1;
    let readAt = base;
    for (const slices of part.read(columns, base, to)) {
      const rows = slices[0]!.rows;
      const chosen: number[] = [];
      while (at < end && selected[at]! < readAt + rows) chosen.push(selected[at++]! - readAt);
      if (chosen.length > 0) {
        const picked = Int32Array.from(chosen);
        yield {
          firstRow: part.firstRow + readAt + chosen[0]!,
          rows: chosen.length,
          slices: slices.map((slice) => gather(slice, picked)),
        };
      }
      readAt += rows;
    }
  }
}

/**
 * Rows of a series, as they were when they were asked for: Arrow record batches one after the other
 * (`for await`), or all of them as a table. Numbers of hot rows are views of the series' own memory, which no append
 * changes; what was sealed is decoded as it is reached.
 */
export class RangeRead implements AsyncIterable<RecordBatch> {
  readonly #source: () => Promise<RangeSource>;

  constructor(source: () => Promise<RangeSource>) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RecordBatch> {
    const source = await this.#source();
    const batches = new ArrowBatches(await loadArrow(), source.columns);
    for (const { slices, rows } of readRuns(source)) yield batches.batch(slices, rows);
  }

  /** The runs as slices of memory, without Arrow. */
  async *runs(): AsyncGenerator<RowRun> {
    yield* readRuns(await this.#source());
  }

  /** All rows in memory at once. */
  async table(): Promise<Table> {
    const source = await this.#source();
    const batches = new ArrowBatches(await loadArrow(), source.columns);
    return batches.table([...readRuns(source)].map(({ slices, rows }) => batches.batch(slices, rows)));
  }
}
