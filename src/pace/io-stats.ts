import { deviceBytesOfProcess } from "../disk/device-bytes.ts";
import type { IoCause, IoCauseStats, MeasuredDisk } from "./measured-disk.ts";

/** What this store object has written since it was opened. */
export interface IoStats {
  /** By what it was for, as written on the threads of this object and by the log worker; workers' spooling and LMDB's index are not in it. */
  byCause: Partial<Record<IoCause, IoCauseStats>>;
  /** All of these and what workers spooled. */
  writtenBytes: number;
  /** Of it, what went through scratch files. */
  spooledBytes: number;
  /** What this process has sent to devices since it started, where the system tells. */
  deviceBytes?: number;
  /** How long bulk writers have waited for commits. */
  waitedForCommitsMs: number;
}

export function ioStats(disk: MeasuredDisk, spooledBytes: number): IoStats {
  const byCause = disk.byCause();
  const own = Object.entries(byCause).filter(([cause]) => cause !== "spool");
  const deviceBytes = deviceBytesOfProcess();
  return {
    byCause,
    writtenBytes: own.reduce((sum, [, { writtenBytes }]) => sum + writtenBytes, spooledBytes),
    spooledBytes,
    ...(deviceBytes === undefined ? {} : { deviceBytes }),
    waitedForCommitsMs: Math.round(disk.waitedMs),
  };
}
