import type { Disk } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";

const LOCK_FILE_BYTES = 12 << 10;
const PAUSE_MS = 1;
const PAUSES_MAX = 1000;

/**
 * LMDB maps its lock file and makes it as a hole: on a full disk the first touch of it kills the process. So it is made
 * here, with its space, and LMDB takes it as it is; a little larger than needed, for the size depends on the system.
 *
 * One process makes it at a time and no one opens the index before it is there: a lock file that was replaced, or
 * written, under somebody who uses it would let two write at once.
 *
 * @throws ERR_DISK_FULL
 */
export function makeLockFile(disk: Disk, directory: string): void {
  const path = `${directory}/lock.mdb`;
  if (disk.stat(path) !== undefined || disk.stat(directory) === undefined) return;
  try {
    const turn = disk.open(`${directory}/lock.turn`, { access: "write", create: "may" });
    try {
      for (let pauses = 0; !turn.tryLock("exclusive"); pauses++) {
        if (pauses === PAUSES_MAX) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
      }
      if (disk.stat(path) === undefined) writeWhole(disk, path);
    } finally {
      turn.close();
    }
  } catch (error) {
    // Where nothing can be written at all, LMDB reads without a lock file, or says why it cannot.
    if (isStoreError(error, "ERR_DISK_FULL")) throw error;
  }
}

function writeWhole(disk: Disk, path: string): void {
  const made = `${path}.new`;
  try {
    const file = disk.open(made, { access: "write", create: "may" });
    try {
      file.writeSync(new Uint8Array(LOCK_FILE_BYTES), 0);
    } finally {
      file.close();
    }
    disk.rename(made, path);
  } catch (error) {
    disk.remove(made);
    throw error;
  }
}
