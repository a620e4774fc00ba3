import { CRITICAL_DIRECTORY, type CriticalStoreOptions, reachCritical } from "../open-critical.ts";
import type { Critical } from "../src/critical/critical.ts";
import type { Disk } from "../src/disk/disk.ts";
import type { BackupContext, BackupPart, PartResult } from "./part.ts";

export interface CriticalResult extends PartResult {
  /** The copy is the state right after this commit. */
  lsn: bigint;
}

/**
 * Orders, positions, nonces: a snapshot of one moment with the history up to it, its sequences fenced. It is made by
 * whoever has the partition open: this store object, or the engine of another process, through its socket; while
 * nobody has, it is opened for it.
 */
export function criticalPart(
  open: Critical | undefined,
  options: CriticalStoreOptions,
): BackupPart<CriticalResult> {
  return {
    name: "critical",
    sizeBytes: ({ disk, source }) => sizeOf(disk, source),
    async copy({ disk, source, destination, signal, onBytes }: BackupContext) {
      const directory = `${destination}/${CRITICAL_DIRECTORY}`;
      const copied = async (): Promise<CriticalResult> => {
        if (open !== undefined && !open.readOnly) return open.backup(directory, signal ? { signal } : {});
        const reached = await reachCritical(source, { access: "write", ...options });
        try {
          return await reached.call("backup", { directory });
        } finally {
          await reached.close();
        }
      };
      const result = await copied();
      onBytes(sizeOf(disk, source));
      return result;
    },
  };
}

/** Whether the store has ever had critical state. */
export function hasCritical(disk: Disk, source: string): boolean {
  return disk.list(`${source}/${CRITICAL_DIRECTORY}`).length > 0;
}

/** History and one snapshot. */
function sizeOf(disk: Disk, source: string): number {
  const directory = `${source}/${CRITICAL_DIRECTORY}`;
  const size = (path: string) => disk.stat(path)?.sizeBytes ?? 0;
  const history = disk.list(`${directory}/history`).map((name) => size(`${directory}/history/${name}`));
  const snapshot = Math.max(size(`${directory}/snapshot-a`), size(`${directory}/snapshot-b`));
  return history.reduce((sum, bytes) => sum + bytes, snapshot);
}
