import type { Disk } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import type { Job } from "../workers/job.ts";

/**
 * Removes a scratch file that nobody has open any more. The system gives back the memory of a large one meanwhile: a tenth
 * of a second a gigabyte, which the calling thread has not.
 */
export const removeSpoolJob: Job = { url: import.meta.url, name: "removeSpool" };

export interface RemoveSpoolRequest {
  path: string;
  /** Where it is; given only to a job on the calling thread. */
  disk?: Disk;
}

export function removeSpool({ path, disk = realDisk }: RemoveSpoolRequest): void {
  disk.remove(path);
}
