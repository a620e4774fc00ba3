import type { ColumnField } from "../tables/table.ts";

/** Bytes of a file in order, in pieces of any size. */
export type ByteChunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** A row that was left out, and why. */
export interface SkippedRow {
  /** Counted from 1; the header is none. */
  row: number;
  column?: string;
  what: string;
}

export interface TextTableOptions {
  /** What happens to a row that cannot be read: `fail` (default) throws, `skip` leaves it out and goes on. */
  onError?: "fail" | "skip";
  /** Told of each row that `skip` leaves out. */
  onSkip?: (row: SkippedRow) => void;
  /** Rows of a batch. Default: 65,536. */
  batchRows?: number;
}

/** A table's columns and rows, found by reading all of it once. */
export interface InferredTable {
  fields: ColumnField[];
  rows: number;
}

/** The chunks, the last one marked: an empty one at the end. */
export async function* withLast(chunks: ByteChunks): AsyncGenerator<{ chunk: Uint8Array; last: boolean }> {
  for await (const chunk of chunks) yield { chunk, last: false };
  yield { chunk: new Uint8Array(0), last: true };
}
