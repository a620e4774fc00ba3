import { randomBytes } from "node:crypto";
import { isStoreError } from "../errors.ts";
import type { Disk, DiskFile } from "./disk.ts";

/**
 * Files that their maker keeps locked as long as it uses them: the lock tells them from what killed processes left behind,
 * which anybody may remove.
 */

/** Makes a file and locks it. */
export function createClaimed(
  disk: Disk,
  nameOf: (unique: string) => string,
): { path: string; file: DiskFile } {
  for (;;) {
    const path = nameOf(randomBytes(8).toString("hex"));
    const file = disk.open(path, { access: "write", create: "must" });
    // Whoever swept it before it was locked has removed it.
    if (file.tryLock("exclusive") && disk.stat(path) !== undefined) return { path, file };
    file.close();
  }
}

/** Removes a file unless somebody holds it, or it cannot be removed: then it is swept another time. */
export function removeUnclaimed(disk: Disk, path: string): void {
  let file: DiskFile | undefined;
  try {
    file = disk.open(path, { access: "write" });
    if (file.tryLock("exclusive")) disk.remove(path);
  } catch (error) {
    // It has been finished or removed meanwhile, or it is nothing of ours.
    if (!isStoreError(error)) throw error;
  } finally {
    file?.close();
  }
}

/** Removes what nobody holds of the files whose names end so. */
export function sweepUnclaimed(disk: Disk, directory: string, suffix: string): void {
  for (const name of disk.list(directory)) {
    if (name.endsWith(suffix)) removeUnclaimed(disk, `${directory}/${name}`);
  }
}
