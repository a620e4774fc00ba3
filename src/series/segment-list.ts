import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import type { HotSegment } from "./hot-segment.ts";
import { parseSegmentName, type SegmentName, type SegmentSummary } from "./segment-format.ts";
import { readSummary } from "./segment-reader.ts";
import type { Gap, SeriesDefinition } from "./series-file.ts";

export interface SealedSegment {
  path: string;
  firstRow: number;
  rows: number;
  summary: SegmentSummary;
}

/** What a series holds at one moment: a read goes on seeing it whatever is appended meanwhile. */
export interface Snapshot {
  definition: SeriesDefinition;
  sealed: readonly SealedSegment[];
  /** Segments not yet sealed, oldest first, each with as many rows as it had. */
  hot: readonly { segment: HotSegment; rows: number }[];
  /** The number of the oldest row there is. */
  firstRow: number;
  /** The number the next row gets. */
  endRow: number;
}

/** Segment files of a directory, in order; a sealed one comes before a hot one of the same rows. */
export function listSegments(disk: Disk, directory: string): SegmentName[] {
  return segmentsAmong(disk.list(directory));
}

/** The same of the names in a directory. */
export function segmentsAmong(names: readonly string[]): SegmentName[] {
  return names
    .map(parseSegmentName)
    .filter((name) => name !== undefined)
    .sort((a, b) => a.firstRow - b.firstRow || (a.kind === b.kind ? 0 : a.kind === "sealed" ? -1 : 1));
}

/** Reads what a sealed segment says of itself. @throws ERR_NOT_FOUND, ERR_STORE_CORRUPT */
export function readSealed(
  disk: Disk,
  directory: string,
  { name, firstRow, rows }: SegmentName,
  storeId: Uint8Array,
): SealedSegment {
  const path = `${directory}/${name}`;
  const file = disk.open(path, { access: "read" });
  try {
    const summary = readSummary(file);
    if (
      summary.firstRow !== firstRow ||
      summary.rows !== rows ||
      Buffer.compare(summary.storeId, storeId) !== 0
    ) {
      throw new StoreError("ERR_STORE_CORRUPT", `${path} holds rows of another place or store`, {
        context: { path, firstRow: summary.firstRow, rows: summary.rows },
        hint: "The file was renamed or copied here: take it away, or put back what was here.",
      });
    }
    return { path, firstRow, rows, summary };
  } finally {
    file.close();
  }
}

/**
 * The rows that lie between two parts though none should.
 * @throws ERR_STORE_CORRUPT unless they are on record as gone
 */
export function checkGap(gaps: readonly Gap[], directory: string, endRow: number, firstRow: number): void {
  if (endRow === firstRow) return;
  const missing = firstRow - endRow;
  const known = gaps
    .filter((gap) => gap.firstRow >= endRow && gap.firstRow + gap.rows <= firstRow)
    .reduce((sum, gap) => sum + gap.rows, 0);
  if (missing > 0 && known === missing) return;
  throw new StoreError(
    "ERR_STORE_CORRUPT",
    missing > 0
      ? `${directory}: rows ${endRow} to ${firstRow - 1} are missing`
      : `${directory}: rows ${firstRow} to ${endRow - 1} are there twice`,
    {
      context: { directory, firstRow: endRow, rows: missing },
      hint: "All other rows can be read. Put the segment back from a backup, or let `varve repair` put the gap on record.",
    },
  );
}

export const isGone = (error: unknown) => isStoreError(error, "ERR_NOT_FOUND");
