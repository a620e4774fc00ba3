import { basename, dirname } from "node:path";
import type { Disk } from "./disk.ts";

/** Whether its directory lists a path: also a link to nowhere, of which `stat` knows nothing. */
export function isListed(disk: Disk, path: string): boolean {
  return disk.list(dirname(path)).includes(basename(path));
}
