import { dirname } from "node:path";
import type { Disk } from "./disk.ts";

/**
 * Writes a file beside its place, as `PATH.new`, and renames it there: readers and recovery find the old content whole
 * or the new, never a part. Durable when it returns; what fails before the rename leaves the old content.
 */
export function replaceFile(disk: Disk, path: string, bytes: Uint8Array): void {
  const temporary = `${path}.new`;
  // A process that was killed here may have left one, of another size.
  disk.remove(temporary);
  const file = disk.open(temporary, { access: "write", create: "must" });
  try {
    file.writeSync(bytes, 0);
    file.syncSync();
  } finally {
    file.close();
  }
  disk.rename(temporary, path);
  disk.syncDirectory(dirname(path));
}
