import { crc32c } from "@node-rs/crc32";
import type { Disk } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";

/**
 * Where the history kept begins, once its oldest files were dropped by age or size: so that a file somebody removed is
 * not taken for one. Written in place before the files go, so that it takes no space on a full disk.
 *
 * ```
 *   one line: the first LSN kept, 16 digits
 *   one line: CRC-32C of the first as eight hex digits
 * ```
 */
const START_NAME = "kept-from";
const START_BYTES = 26;

/** The first LSN that must be there: 1 when nothing was ever dropped, `undefined` when the file does not read. */
export function readHistoryStart(disk: Disk, directory: string): number | undefined {
  const path = `${directory}/${START_NAME}`;
  if (disk.stat(path) === undefined) return 1;
  const file = disk.open(path, { access: "read" });
  try {
    const bytes = Buffer.alloc(START_BYTES);
    const [digits = "", sum] = bytes.toString("latin1", 0, file.readSync(bytes, 0)).split("\n");
    return sum === checksum(digits) ? Number(digits) : undefined;
  } finally {
    file.close();
  }
}

/** Makes it durable that the history begins with `lsn`; `false` when the disk has no space even for that. */
export function writeHistoryStart(disk: Disk, directory: string, lsn: number): boolean {
  const digits = String(lsn).padStart(16, "0");
  try {
    const file = disk.open(`${directory}/${START_NAME}`, { access: "write", create: "may" });
    try {
      file.writeSync(Buffer.from(`${digits}\n${checksum(digits)}\n`, "latin1"), 0);
      file.syncSync();
    } finally {
      file.close();
    }
    disk.syncDirectory(directory);
    return true;
  } catch (error) {
    if (isStoreError(error, "ERR_DISK_FULL")) return false;
    throw error;
  }
}

function checksum(digits: string): string {
  return crc32c(digits).toString(16).padStart(8, "0");
}
