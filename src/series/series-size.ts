import { SERIES_CACHE_BYTES } from "../limits.ts";
import type { Snapshot } from "./segment-list.ts";

/** How much a series holds, and what that takes. */
export interface SeriesSize {
  /** Rows that can be read. */
  rows: number;
  /** Rows the ring had no room for any more. */
  evictedRows: number;
  /** Sealed segments. */
  segments: number;
  /** 8 bytes a value, numbers of lists each. */
  rawBytes: number;
  /** Segments with all headers, the rows of hot files and `series.json`. */
  storedBytes: number;
  /** Of it, records of hot files: what is not sealed yet. */
  hotBytes: number;
}

/** Rows of a snapshot, those lost for good left out. */
export function rowsIn({ definition, firstRow, endRow }: Snapshot): number {
  const lost = definition.gaps.filter((gap) => gap.firstRow >= firstRow);
  return endRow - firstRow - lost.reduce((sum, gap) => sum + gap.rows, 0);
}

/** @param files bytes of the hot files' records, and of `series.json` */
export function sizeOf(snapshot: Snapshot, files: { hotBytes: number; fileBytes: number }): SeriesSize {
  const { definition, sealed, firstRow } = snapshot;
  const rows = rowsIn(snapshot);
  const values = definition.schema.columns.reduce((sum, { listSize }) => sum + Math.max(1, listSize), 0);
  const sealedBytes = sealed.reduce((sum, { summary }) => sum + summary.sizeBytes, 0);
  return {
    rows,
    evictedRows: firstRow,
    segments: sealed.length,
    rawBytes: 8 * rows * values,
    storedBytes: sealedBytes + files.hotBytes + files.fileBytes,
    hotBytes: files.hotBytes,
  };
}

/** Blocks that reads of one store keep decoded. */
export interface BlockCacheStats {
  hits: number;
  misses: number;
  usedBytes: number;
  limitBytes: number;
}

/** All series of a store together. */
export interface SeriesTotals extends SeriesSize {
  series: number;
  /** Of them, those that this object has open for writing. */
  writing: number;
  /** Series too damaged to be counted: `check` names what is wrong. */
  unreadable: number;
  blockCache: BlockCacheStats;
}

export const NO_READS: BlockCacheStats = { hits: 0, misses: 0, usedBytes: 0, limitBytes: SERIES_CACHE_BYTES };

export function addUp(
  sizes: readonly SeriesSize[],
  rest: Omit<SeriesTotals, keyof SeriesSize>,
): SeriesTotals {
  const sum = (name: keyof SeriesSize) => sizes.reduce((total, size) => total + size[name], 0);
  return {
    ...rest,
    rows: sum("rows"),
    evictedRows: sum("evictedRows"),
    segments: sum("segments"),
    rawBytes: sum("rawBytes"),
    storedBytes: sum("storedBytes"),
    hotBytes: sum("hotBytes"),
  };
}
