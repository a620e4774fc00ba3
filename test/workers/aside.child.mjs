// A process with a job aside that never ends: `node aside.child.mjs`; runs the built code.
import { isMainThread } from "node:worker_threads";

export const never = () => new Promise((resolve) => setTimeout(resolve, 2 ** 31 - 1));
export const done = () => "done";

if (isMainThread) {
  const { createWorkerPool } = await import("../../dist/src/workers/pool.js");
  const pool = createWorkerPool(1);
  pool.runAside({ url: import.meta.url, name: "never" }).catch(() => {});
  // Jobs that somebody waits for keep the process until they end, whatever runs aside.
  console.log(await pool.run({ url: import.meta.url, name: "done" }));
}
