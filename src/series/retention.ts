import { requireColumn, unitNs } from "./schema.ts";
import type { SealedSegment } from "./segment-list.ts";
import type { SeriesDefinition } from "./series-file.ts";

/**
 * How many of the oldest sealed segments the ring has no room for. Never the last one, which says where rows begin,
 * and none that holds a row from `pinned` on.
 */
export function evictable(
  { retention, schema }: SeriesDefinition,
  sealed: readonly SealedSegment[],
  newest: bigint | undefined,
  pinned: number,
): number {
  const { segments, bytes, ns } = retention;
  const unit = schema.key === undefined ? undefined : unitNs(requireColumn(schema, schema.key).type);
  let stored = sealed.reduce((sum, { summary }) => sum + summary.sizeBytes, 0);
  let count = 0;
  for (const { firstRow, rows, summary } of sealed.slice(0, -1)) {
    const tooMany = segments !== undefined && sealed.length - count > segments;
    const tooLarge = bytes !== undefined && stored > bytes;
    const age = newest === undefined || summary.key === undefined ? 0n : newest - summary.key.max;
    const tooOld = ns !== undefined && age * (unit ?? 1n) > ns;
    if (!(tooMany || tooLarge || tooOld) || firstRow + rows > pinned) break;
    stored -= summary.sizeBytes;
    count++;
  }
  return count;
}
