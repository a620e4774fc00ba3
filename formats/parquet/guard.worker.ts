/** Beside the thread that decodes, which may never look up again: ends the process when a step takes too much. */
import { workerData } from "node:worker_threads";
import { OUT_OF_MEMORY, OUT_OF_TIME } from "./messages.ts";

export interface GuardStart {
  /** In shared memory: counts steps; 0 between batches. */
  steps: Int32Array;
  stepMs: number;
  memoryBytes: number;
  /** Without it nobody waits for the answer. */
  parent: number;
}

const LOOK_MS = 50;
const { steps, stepMs, memoryBytes, parent } = workerData as GuardStart;

let step = 0;
let looks = 0;
setInterval(() => {
  const now = Atomics.load(steps, 0);
  looks = now === step && now > 0 ? looks + 1 : 0;
  step = now;
  if (process.memoryUsage.rss() > memoryBytes) process.kill(process.pid, OUT_OF_MEMORY);
  if (process.ppid !== parent) process.kill(process.pid, OUT_OF_MEMORY);
  // Looks that were missed because the whole machine slept are none.
  if (looks * LOOK_MS > stepMs) process.kill(process.pid, OUT_OF_TIME);
}, LOOK_MS);
