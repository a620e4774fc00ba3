import { isStoreError, StoreError } from "../errors.ts";
import type { Disk, DiskFile } from "./disk.ts";

const LOCK_NAME = "writer.lock";

/** A reader that asks whether a writer lives holds the lock for microseconds: so often a writer tries again. */
const ATTEMPTS = 10;
const PAUSE_MS = 3;

/**
 * Takes the kernel's lock on a directory that one process writes, which the kernel frees the instant the process
 * dies, and writes this process's id beside it for whoever is refused.
 *
 * @throws ERR_STORE_LOCKED with `context.pid`, the holder's process id where it could be read.
 */
export function lockDirectory(disk: Disk, directory: string): DiskFile {
  const path = `${directory}/${LOCK_NAME}`;
  const file = disk.open(path, { access: "write", create: "may" });
  for (let attempt = 0; !file.tryLock("exclusive"); attempt++) {
    if (attempt === ATTEMPTS) {
      const pid = holderOf(file);
      file.close();
      throw new StoreError(
        "ERR_STORE_LOCKED",
        `${directory} is being written by ${pid === undefined ? "another process" : `process ${pid}`}`,
        {
          context: { path, pid },
          retryable: true,
          hint: "Open it read-only, or stop the process that holds it; its lock is freed the instant it ends.",
        },
      );
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
  }
  // What a longer id leaves behind it is not read. Cutting it off first would take longer than all else here.
  file.writeSync(new TextEncoder().encode(`${process.pid}\n`), 0);
  return file;
}

/** Whether two paths, of which the first is locked, lead to one directory. */
export function sharesLock(disk: Disk, locked: string, other: string): boolean {
  const [a, b] = [locked, other].map((directory) => disk.stat(`${directory}/${LOCK_NAME}`));
  return a !== undefined && a.inode === b?.inode && a.device === b.device;
}

/** The process that writes the directory now, if one does; its id is 0 where it could not be read. */
export function findWriter(disk: Disk, directory: string): { pid: number } | undefined {
  let file: DiskFile;
  try {
    file = disk.open(`${directory}/${LOCK_NAME}`, { access: "read" });
  } catch (error) {
    if (isStoreError(error, "ERR_NOT_FOUND")) return undefined;
    throw error;
  }
  try {
    return file.tryLock("shared") ? undefined : { pid: holderOf(file) ?? 0 };
  } finally {
    file.close();
  }
}

function holderOf(file: DiskFile): number | undefined {
  const text = new Uint8Array(20);
  const count = file.readSync(text, 0);
  const match = /^(\d+)\n/.exec(new TextDecoder().decode(text.subarray(0, count)));
  return match === null ? undefined : Number(match[1]);
}
