import type { DurableMethod } from "../disk/disk.ts";
import type { CountSummary, LatencySummary } from "./latency.ts";
import type { OpenReport } from "./open-log.ts";

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
