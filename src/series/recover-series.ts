import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { type RecoveredHot, recoverHot } from "./hot-segment.ts";
import { hotFileName } from "./segment-format.ts";
import { checkGap, readSealed, type SealedSegment, segmentsAmong } from "./segment-list.ts";
import type { Gap } from "./series-file.ts";

export interface RecoveredSeries {
  sealed: SealedSegment[];
  /** Hot files, oldest first; all but the last are full and wait to be sealed with these many rows. */
  hot: (RecoveredHot & { rows: number })[];
  endRow: number;
}

/**
 * Puts a series' directory in order for a new writer: removes what a crash left half made, drops a hot file whose
 * sealed segment is there, and finds the rows that were appended.
 *
 * A hot file may only follow one that is whole. After a power cut a file can end early while the next one, written
 * later, is there: its rows were not durable either (a sync goes through the files in order), so it is dropped, and
 * what is left is what was appended up to one moment.
 * @throws ERR_STORE_CORRUPT naming file and offset
 */
export function recoverSeries(
  disk: Disk,
  directory: string,
  storeId: Uint8Array,
  gaps: readonly Gap[],
): RecoveredSeries {
  let dropped = false;
  const listed = disk.list(directory);
  for (const name of listed) {
    if (!name.endsWith(".new")) continue;
    disk.remove(`${directory}/${name}`);
    // A rename of the next file of that name must not find this one after a power cut.
    dropped = true;
  }
  const names = segmentsAmong(listed);
  const sealed = names
    .filter(({ kind }) => kind === "sealed")
    .map((name) => readSealed(disk, directory, name, storeId));
  const sealedAt = new Set(sealed.map(({ firstRow }) => firstRow));
  // Eviction keeps a sealed segment: without any, rows begin with the first.
  let endRow = sealed[0]?.firstRow ?? 0;
  for (const segment of sealed) {
    checkGap(gaps, directory, endRow, segment.firstRow);
    endRow = segment.firstRow + segment.rows;
  }
  // Numbers of rows that are lost for good are not used again.
  for (const gap of gaps) if (gap.firstRow === endRow) endRow += gap.rows;
  const found: (RecoveredHot & { rows: number })[] = [];
  // The sealed file's name is durable before the hot file's removal can be.
  if (names.some(({ kind, firstRow }) => kind === "hot" && sealedAt.has(firstRow)))
    disk.syncDirectory(directory);
  for (const { kind, name, firstRow } of names) {
    if (kind !== "hot") continue;
    const path = `${directory}/${name}`;
    const hot = sealedAt.has(firstRow) ? undefined : recoverHot(disk, path);
    if (hot === undefined) {
      disk.remove(path);
      dropped = true;
      continue;
    }
    if (endRow < firstRow && hot.synced === 0 && !gaps.some((gap) => gap.firstRow + gap.rows === firstRow)) {
      disk.remove(path);
      dropped = true;
      continue;
    }
    checkGap(gaps, directory, endRow, firstRow);
    const previous = found.at(-1);
    if (previous !== undefined) previous.rows = firstRow - previous.segment.firstRow;
    found.push({ ...hot, rows: hot.segment.rows.rows });
    endRow = hot.segment.endRow;
  }
  // What was dropped must not come back beside rows that take its numbers.
  if (dropped) disk.syncDirectory(directory);
  for (const { segment } of found) {
    if (segment.firstRow < (sealed.at(-1)?.firstRow ?? 0)) {
      const path = `${directory}/${hotFileName(segment.firstRow)}`;
      throw new StoreError("ERR_STORE_CORRUPT", `${path} lies before rows that were sealed after it`, {
        context: { path },
      });
    }
  }
  return { sealed, hot: found, endRow };
}
