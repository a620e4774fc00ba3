import { dirname } from "node:path";
import type { Disk } from "./disk.ts";

/**
 * Makes a directory whose name, and those of the parents it needed, survive a power cut.
 *
 * Syncing what lies in a directory does not make the directory's own name durable: that is an entry of its parent.
 */
export function makeDurableDirectory(disk: Disk, directory: string): void {
  const missing: string[] = [];
  for (let at = directory; disk.stat(at) === undefined && dirname(at) !== at; at = dirname(at))
    missing.push(at);
  disk.makeDirectory(directory);
  // One that is there may have been made by somebody who was killed before its name was durable.
  for (const made of missing.length > 0 ? missing.reverse() : [directory]) disk.syncDirectory(dirname(made));
}
