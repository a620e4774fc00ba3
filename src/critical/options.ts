import type { Disk } from "../disk/disk.ts";
import type { HistogramSummary } from "../histogram.ts";
import type { Journal } from "../wal/journal.ts";
import type { LogOptions, LogStats } from "../wal/options.ts";
import type { Clock } from "./clock.ts";
import type { HistoryOptions, HistoryStats } from "./history.ts";
import type { IdempotencyOptions } from "./idempotency.ts";
import type { ReserveStats } from "./reserve.ts";
import type { Fence } from "./sequence.ts";
import type { SnapshotOptions, SnapshotStats } from "./snapshots.ts";

export interface CriticalOptions {
  /** Where snapshots and history lie: `critical/` in the store. */
  directory: string;
  disk: Disk;
  /** 16 bytes that name the store; its log's blocks carry them. */
  storeId: Uint8Array;
  /** How the log is kept: mirror, segment size, way of writing. */
  log?: Omit<LogOptions, "disk" | "directory" | "storeId" | "onWarning">;
  /** Another journal in place of the log in `directory`, recovered and ready; closed with the partition. */
  journal?: Journal;
  /** Opens for reading, beside a writer or with none: nothing is written, `refresh` follows the log. */
  readOnly?: boolean;
  idempotency?: IdempotencyOptions;
  snapshots?: SnapshotOptions;
  /** A file on another device that holds the highest number of every sequence: it catches content put back. */
  witness?: string;
  /** Opens a local socket in the directory for other processes of this user. Default: on a real disk. */
  socket?: boolean;
  /** Names the machine in place of the system's id; for tests. */
  machineId?: string;
  history?: HistoryOptions;
  /**
   * Bytes kept free for critical state alone, against something else filling the disk. Default 64 MiB on a real disk,
   * of which about 17 MiB are taken while snapshots are small; 0 reserves none.
   */
  reserveBytes?: number;
  /** Microseconds since the Unix epoch; for tests. */
  clock?: Clock;
  /** Told of what does not stop the engine but should be known: a failed snapshot, a damaged history. */
  onWarning?: (message: string, error: unknown) => void;
}

export interface CriticalStats {
  lsn: bigint;
  timeUs: bigint;
  maps: { name: string; entries: number; version: number }[];
  sequences: { name: string; next: bigint; fenced: boolean }[];
  /** Why sequences refuse to issue numbers until they are adopted. */
  fence: Fence | undefined;
  poisoned: boolean;
  inFlight: number;
  /** Nanoseconds from call to receipt. */
  commitNs: HistogramSummary;
  commitAsyncNs: HistogramSummary;
  recovery: RecoveryStats;
  snapshots: SnapshotStats | undefined;
  history: HistoryStats;
  /** Memory of values whose records have left it, holes that replaced ones left included. */
  valueBytes: number;
  /** Space kept against a full disk; absent in a read-only opening. */
  reserve: ReserveStats | undefined;
  /** The log's own figures: writes, device bytes, write latency in microseconds, what opening repaired. */
  log: LogStats | undefined;
  idempotency: { keys: number; forgottenEarly: number };
}

export interface RecoveryStats {
  /** Milliseconds to load the snapshot and to replay the log. */
  snapshotMs: number;
  replayMs: number;
  snapshotLsn: bigint;
  replayedRecords: number;
  /** Snapshot slots that were damaged and passed over. */
  damaged: string[];
}
