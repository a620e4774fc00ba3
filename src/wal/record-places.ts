import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import type { KeptBlocks } from "./chain-memory.ts";

/** A chain of blocks in the kernel's memory, in its order. */
export interface RecoveredLog {
  kernel: RecoveryKernel;
  blocks: readonly KeptBlocks[];
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
  { kernel, blocks }: RecoveredLog,
  wanted: { fromSequence: number; fromLsn: number; count: number },
): RecordPlaces | undefined {
  const { exports } = kernel;
  const at = exports.beginRecords(wanted.fromLsn, wanted.count) >>> 0;
  for (const run of blocks) {
    if (run.sequence + run.count <= wanted.fromSequence) continue;
    if (exports.placeRecords(run.at, run.count) < run.count) return undefined;
  }
  return exports.recordCount() === wanted.count ? { at, count: wanted.count } : undefined;
}

/** Bytes from one place to the next. */
export const PLACE_BYTES = 32;
