import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { BLOCK_BYTES } from "./format.ts";
import type { SegmentReader } from "./segments.ts";

/** A chain of blocks in the kernel's memory. */
export interface RecoveredLog {
  kernel: RecoveryKernel;
  reader: SegmentReader;
  segmentBlocks: number;
  /** First sequence of the chain, and the one behind its last. */
  start: number;
  end: number;
}

/** Records in the kernel's memory, one LSN after the other. */
export interface RecordPlaces {
  /** Where their places begin: of each, as numbers of eight bytes, where its payload begins and ends and its time. */
  at: number;
  count: number;
}

/**
 * Places the records from an LSN on that a recovered chain holds, `count` by the log's numbers.
 *
 * @param fromSequence the block to begin with.
 * @returns `undefined` when they cannot all be placed: whoever reads them one by one finds out why.
 */
export function placeRecords(
  { kernel, reader, segmentBlocks, start, end }: RecoveredLog,
  wanted: { fromSequence: number; fromLsn: number; count: number },
): RecordPlaces | undefined {
  const at = kernel.exports.beginRecords(wanted.fromLsn, wanted.count) >>> 0;
  let sequence = Math.max(start, wanted.fromSequence);
  // Placing moves the memory: all blocks are found before.
  const runs: { at: number; count: number }[] = [];
  while (sequence < end) {
    const count = Math.min(end, (Math.floor(sequence / segmentBlocks) + 1) * segmentBlocks) - sequence;
    const block = reader.block(sequence);
    if (block === undefined) return undefined;
    runs.push({ at: block.byteOffset, count });
    sequence += count;
  }
  for (const run of runs) if (kernel.exports.placeRecords(run.at, run.count) < run.count) return undefined;
  return kernel.exports.recordCount() === wanted.count ? { at, count: wanted.count } : undefined;
}

/** Bytes from one place to the next. */
export const PLACE_BYTES = 32;

/** Room that places of records take, and a block that one may begin in: for an estimate of what memory is needed. */
export const placesBytes = (count: number): number => (count + 1) * PLACE_BYTES + BLOCK_BYTES;
