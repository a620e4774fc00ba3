import { setTimeout as delay } from "node:timers/promises";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";

const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 50;

/**
 * The lock between those who count on chunks (shared: saves, checks) and the sweep (exclusive). Closing the file frees
 * it; so does the kernel when the process ends.
 *
 * Waiting is asking again: a wait inside the kernel would take a thread of the pool that whoever holds the lock needs
 * for its writes, and a few of them would never end.
 */
export async function lockGc(
  disk: Disk,
  chunksDirectory: string,
  mode: "shared" | "exclusive",
): Promise<DiskFile> {
  const file = disk.open(`${chunksDirectory}/gc.lock`, { access: "write", create: "may" });
  return waitFor(file, mode);
}

/** The same for a reader, which may not be allowed to create the file; without one there has been no save. */
export async function lockGcForReading(disk: Disk, chunksDirectory: string): Promise<DiskFile | undefined> {
  try {
    return await waitFor(disk.open(`${chunksDirectory}/gc.lock`, { access: "read" }), "shared");
  } catch (error) {
    if (isStoreError(error, "ERR_NOT_FOUND")) return undefined;
    throw error;
  }
}

async function waitFor(file: DiskFile, mode: "shared" | "exclusive"): Promise<DiskFile> {
  try {
    for (let waitMs = FIRST_WAIT_MS; !file.tryLock(mode); waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      await delay(waitMs);
    }
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}
