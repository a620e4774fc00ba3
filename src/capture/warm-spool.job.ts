import { setImmediate as turn } from "node:timers/promises";
import type { Disk } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import type { Job } from "../workers/job.ts";

/**
 * Has the system find the pages of a scratch file before a capture needs them: reading the holes of an empty file brings
 * zeroed pages into the page cache, clean, so that nothing is written to the device and the system can take them back.
 */
export const warmSpoolJob: Job = { url: import.meta.url, name: "warmSpool" };

/** The job goes on; is told to end, which it does within a step; has found all. */
export const WARMTH = { warming: 0, stop: 1, warm: 2 } as const;

export interface WarmSpoolRequest {
  path: string;
  sizeBytes: number;
  /** In shared memory: where the job is, see `WARMTH`. */
  warming: Int32Array;
  /** Where the file is; given only to a job on the calling thread. */
  disk?: Disk;
}

/** A tenth of a millisecond in memory that the machine has at hand, two where its host has to provide it. */
const STEP_BYTES = 1 << 20;

/** Other jobs of the thread begin between two steps. */
export async function warmSpool(request: WarmSpoolRequest): Promise<void> {
  const { path, sizeBytes, warming } = request;
  const file = (request.disk ?? realDisk).open(path, { access: "read" });
  const step = new Uint8Array(STEP_BYTES);
  try {
    for (let at = 0; at < sizeBytes && Atomics.load(warming, 0) === WARMTH.warming; at += STEP_BYTES) {
      file.readSync(step, at);
      await turn();
    }
    Atomics.compareExchange(warming, 0, WARMTH.warming, WARMTH.warm);
  } finally {
    file.close();
  }
}
