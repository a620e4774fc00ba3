import { setTimeout as delay } from "node:timers/promises";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";

const FIRST_WAIT_MS = 1;
const LONGEST_WAIT_MS = 50;

/**
 * The lock between those who count on chunks (shared: saves, checks) and the sweep (exclusive). Closing the file frees
 * it; so does the kernel when the process ends.
 *
 * Whoever asks passes a gate first, and keeps it until it has the lock: while a sweep waits for the saves under way, no
 * new one begins, or saves that overlap would keep it waiting for ever.
 *
 * Waiting is asking again: a wait inside the kernel would take a thread of the pool that whoever holds the lock needs
 * for its writes, and a few of them would never end.
 */
export async function lockGc(
  disk: Disk,
  chunksDirectory: string,
  mode: "shared" | "exclusive",
): Promise<DiskFile> {
  const open = (name: string) => disk.open(`${chunksDirectory}/${name}`, { access: "write", create: "may" });
  const gate = await waitFor(open("gc.gate"), mode);
  try {
    return await waitFor(open("gc.lock"), mode);
  } finally {
    gate.close();
  }
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
