import { invariant } from "../assert.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { lockDirectory, sharesLock } from "../disk/lock.ts";
import { StoreError } from "../errors.ts";
import { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import { WAL_SEGMENT_BLOCKS, WAL_SEGMENT_BLOCKS_MAX, WAL_SEGMENT_BLOCKS_MIN } from "../limits.ts";
import { BLOCK_BYTES, STORE_ID_BYTES } from "./format.ts";
import { WriteAheadLog } from "./log.ts";
import { writeOpenBlock } from "./open-block.ts";
import type { LogOptions, OpenReport } from "./options.ts";
import { type Recovery, recover } from "./recovery.ts";
import { SegmentReader, Segments } from "./segments.ts";
import type { Chain } from "./writer.ts";

/** Runs of a repair are written in pieces of this many blocks. */
const REPAIR_BLOCKS = 256;

/**
 * Opens a log for writing. In order: take the locks, follow the chain to its end, repair what a mirror can, make
 * durable what was read, and durably write an open block with the next epoch. Only then may anything be appended.
 *
 * @throws ERR_STORE_LOCKED, ERR_STORE_CORRUPT, ERR_STORE_VERSION, ERR_IO, ERR_DISK_FULL; ERR_INVALID_ARGUMENT for a
 *   mirror that is the log itself
 */
export function openLog(options: LogOptions): WriteAheadLog {
  const { disk, directory, storeId } = options;
  const segmentBlocks = checkedSegmentBlocks(options.segmentBlocks ?? WAL_SEGMENT_BLOCKS);
  invariant(storeId.byteLength === STORE_ID_BYTES, "a store id has 16 bytes");
  const directories = options.mirror === undefined ? [directory] : [directory, options.mirror];
  for (const each of directories) makeDurableDirectory(disk, each);
  const locks: DiskFile[] = [];
  const copies: Segments[] = [];
  try {
    lockAll(disk, directories, locks);
    options.onLocked?.();
    const startedUs = performance.now() * 1000;
    const kernel = options.kernel ?? new RecoveryKernel();
    const recovery = recover({ disk, directories, storeId, segmentBlocks, kernel });
    for (const each of directories) {
      const durable = options.durable === undefined ? {} : { durable: options.durable };
      copies.push(new Segments({ disk, directory: each, segmentBlocks: recovery.segmentBlocks, ...durable }));
    }
    const repaired = settle(copies, recovery);
    const chain = openChain(copies, recovery, storeId);
    const recoveryUs = performance.now() * 1000 - startedUs;
    const report: OpenReport = { torn: recovery.torn, repaired, recoveryUs };
    const { firstLsns, read: recovered } = recovery;
    return new WriteAheadLog({ options, locks, copies, chain, firstLsns, report, recovered });
  } catch (error) {
    for (const copy of copies) copy.close();
    for (const lock of locks) lock.close();
    throw error;
  }
}

/** The mirror is locked as well: two copies of a store, each with a lock of its own, would write it by turns. */
function lockAll(disk: Disk, directories: readonly string[], locks: DiskFile[]): void {
  const [directory, mirror] = directories;
  locks.push(lockDirectory(disk, directory!));
  if (mirror === undefined) return;
  if (sharesLock(disk, directory!, mirror)) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `the mirror ${mirror} is the log's own directory`, {
      context: { directories },
      hint: "Name a directory on another device.",
    });
  }
  locks.push(lockDirectory(disk, mirror));
}

function checkedSegmentBlocks(segmentBlocks: number): number {
  if (
    Number.isInteger(segmentBlocks) &&
    segmentBlocks >= WAL_SEGMENT_BLOCKS_MIN &&
    segmentBlocks <= WAL_SEGMENT_BLOCKS_MAX
  )
    return segmentBlocks;
  throw new StoreError(
    "ERR_LIMIT",
    `a log segment has ${WAL_SEGMENT_BLOCKS_MIN} to ${WAL_SEGMENT_BLOCKS_MAX} blocks, not ${segmentBlocks}`,
    { context: { limit: WAL_SEGMENT_BLOCKS_MAX, segmentBlocks } },
  );
}

/** Makes every copy hold exactly the chain, durably. Returns what was rewritten. */
function settle(copies: Segments[], recovery: Recovery): OpenReport["repaired"] {
  const repaired: OpenReport["repaired"] = [];
  for (const [index, copy] of copies.entries()) {
    copy.adopt();
    const places = recovery.repairs[index]!;
    const other = copies[1 - index];
    if (places.length > 0) {
      invariant(other !== undefined, "a single copy cannot differ from the chain read from it");
      rewrite(copy, places, other);
      repaired.push({ directory: copy.directory, blocks: places.length });
    }
    for (const ordinal of recovery.firstLsns.keys()) copy.sync(ordinal);
  }
  return repaired;
}

/** Takes from the other copy what recovery chose there. */
function rewrite(copy: Segments, places: number[], other: Segments): void {
  const reader = new SegmentReader(other.disk, other.directory, other.segmentBlocks);
  for (let from = 0; from < places.length; ) {
    let to = from + 1;
    while (to < places.length && to - from < REPAIR_BLOCKS && places[to] === places[to - 1]! + 1) to++;
    const bytes = new Uint8Array((to - from) * BLOCK_BYTES);
    for (let index = from; index < to; index++) {
      bytes.set(reader.block(places[index]!)!, (index - from) * BLOCK_BYTES);
    }
    copy.repair(places[from]!, bytes);
    from = to;
  }
}

/** Writes the open block: from here on, whatever older epochs left behind does not count. */
function openChain(copies: Segments[], recovery: Recovery, storeId: Uint8Array): Chain {
  const { nextSequence, nextLsn, hash } = recovery;
  const chain: Chain = {
    storeId,
    segmentBlocks: recovery.segmentBlocks,
    epoch: recovery.topEpoch + 1,
    nextSequence,
    durableThrough: nextSequence - 1,
    logStart: recovery.logStart,
    nextLsn,
    previousHash: hash.slice(),
  };
  writeOpenBlock(copies, chain, 0);
  chain.durableThrough = nextSequence;
  return chain;
}
