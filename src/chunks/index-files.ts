import type { Disk } from "../disk/disk.ts";

/** Whether there is an index on disk at all; nothing is opened, and LMDB is not loaded. */
export function indexExists(disk: Disk, indexDirectory: string): boolean {
  return disk.stat(`${indexDirectory}/data.mdb`) !== undefined;
}
