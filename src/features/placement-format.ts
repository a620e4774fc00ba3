import type { ChunkEntry } from "../chunks/chunk-index.ts";

/**
 * Where a version's manifest and chunks lay when it was published, so that a load need not wait for the index. It is
 * never believed: whoever reads there compares checksums and digests, and asks the index where they do not hold.
 *
 *     placement = varint packCount, packCount × pack id u64, manifest, run*
 *       manifest = varint pack, varint offset, varint frameBytes; pack is 1 + its place in the list, 0 alone for none
 *       run      = varint skipped, varint count, varint pack, varint offset [varint frameBytes]
 *
 * Runs go through the manifest's pieces in their order: `skipped` without a place, then `count` stored as they are, one
 * behind the other. A count of 0 is one piece in a frame of `frameBytes` that is decoded without another chunk.
 */
export interface Placement {
  manifest: FramePlace | undefined;
  runs: PlacedRun[];
}

export type FramePlace = Pick<ChunkEntry, "packId" | "offset" | "frameBytes">;

export interface PlacedRun {
  skipped: number;
  packId: bigint;
  offset: number;
  count: number;
  /** Of the one piece when `count` is 0. */
  frameBytes: number;
}
