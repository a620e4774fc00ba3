import type { Disk, DurableMethod } from "../disk/disk.ts";
import type { StoreError } from "../errors.ts";
import type { CountSummary, LatencySummary } from "../histogram.ts";
import type { RecoveryKernel } from "../kernels/recovery-kernel.ts";
import type { WriteCarrier } from "./carrier.ts";
import type { ThreadCarrierOptions } from "./thread-carrier.ts";

export interface LogOptions {
  disk: Disk;
  /** Made when absent; its parent must exist or be makeable. */
  directory: string;
  /** 16 bytes that every block carries: blocks of another store are refused. */
  storeId: Uint8Array;
  /** A directory on a second device that holds the same log; a write is acknowledged after both have it. */
  mirror?: string;
  /** Blocks of a segment in a log that is made now: 1,024 (4 MiB) by default. An existing log keeps its own. */
  segmentBlocks?: number;
  /** Demands one way of making writes durable instead of the fastest the file system accepts. */
  durable?: DurableMethod;
  /** A block that proves the last write is written when nothing was written for so long; 1,000 by default. */
  sealAfterMs?: number;
  /** Carries grouped writes to the disk: on the log worker's thread by default. */
  createCarrier?: (options: ThreadCarrierOptions) => WriteCarrier;
  /** Where recovery reads the log; whoever replays it finds the records there (`Journal.place`). */
  kernel?: RecoveryKernel;
  /** Called when the log is locked and nothing of it was read. */
  onLocked?: () => void;
  /** Told of what does not stop the log: a mirror that was dropped, space that could not be reserved. */
  onWarning?: (warning: StoreError) => void;
}

/** What opening a log found and did. */
export interface OpenReport {
  /** Blocks at the end that belonged to a write that was never acknowledged, cut off. */
  torn: { sequence: number; blocks: number } | undefined;
  /** Blocks rewritten from the other copy, by directory. */
  repaired: { directory: string; blocks: number }[];
  recoveryUs: number;
}

export interface LogStats {
  /** How writes become durable on this file system. */
  durability: DurableMethod | undefined;
  epoch: number;
  firstLsn: bigint;
  durableLsn: bigint;
  segmentBytes: number;
  segments: number;
  mirror: "none" | "in step" | "dropped";
  writes: number;
  records: number;
  /** Blocks that only prove the ones before them. */
  sealBlocks: number;
  /** Bytes written to the log (a mirror gets as many again). */
  deviceBytes: number;
  /** From handing blocks to the disk until they are durable, on every copy: with O_DSYNC, write and sync are one. */
  write: LatencySummary;
  /** How many records shared one write. */
  groupRecords: CountSummary;
  /** Most records that shared one write. */
  groupRecordsMax: number;
  open: OpenReport;
}
