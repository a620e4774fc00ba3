import { fork } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { linearModel } from "../../dist/examples/online-learner/linear-model.js";
import { openStore } from "../../dist/index.js";

const FEATURES = 4096;
const CHILD = fileURLToPath(new URL("./server-learner.child.mjs", import.meta.url));
const CONTROL = fileURLToPath(new URL("./loop-control.child.mjs", import.meta.url));

/** A learner that saves and a process that follows and answers inference: update to live, and what held its loop. */
export async function learner({ say, rounds = 1000, intervalMs = 200 }) {
  const directory = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-learner-"));
  const path = join(directory, "model.onnx");
  const store = await openStore(join(directory, "store"), { create: true });
  try {
    const savedMs = new Map();
    const save = async (version) => {
      writeFileSync(path, linearModel(version, FEATURES));
      savedMs.set(version, Date.now());
      await store.checkpoints.saveFiles("learner", [path]);
    };
    await save(1);
    const child = fork(CHILD, [store.directory, String(FEATURES)]);
    let swaps = 0;
    child.on("message", (message) => {
      if (message.swaps !== undefined) swaps = message.swaps;
    });
    const ended = new Promise((resolve, reject) => {
      child.on("message", (message) => message.done && resolve(message));
      child.on("exit", (code) => reject(new Error(`the serving process ended with ${code}`)));
    });
    await new Promise((resolve) => child.once("message", resolve));
    const control = fork(CONTROL);
    let version = 1;
    // Swaps are counted, not versions: one that is passed over because the next is there already makes none.
    while (swaps < rounds) {
      version++;
      const startedMs = Date.now();
      await save(version);
      if (version % 100 === 0) say(`version ${version}, ${swaps} swaps`);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, intervalMs - (Date.now() - startedMs))));
    }
    child.send({ last: version });
    const report = await ended;
    const idle = await new Promise((resolve) => {
      control.once("message", resolve);
      control.send("stop");
    });
    const live = report.live
      .map(({ version, begunMs }) => begunMs - savedMs.get(version))
      .sort((a, b) => a - b);
    const at = (share) => live[Math.min(live.length - 1, Math.floor(live.length * share))];
    return {
      "a save every": `${intervalMs} ms, ${FEATURES} weights`,
      swaps: `${live.length}, of ${version - 1} versions`,
      inferences: `${report.inferences}: ${report.failed} failed, ${report.mixed} mixed, ${report.stale} stale, ${report.refused} versions refused`,
      "update to live": `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${live.at(-1)} ms`,
      "event loop: longest run of the thread": `${report.ranMs.toFixed(1)} ms`,
      "event loop: held, waiting for a processor aside": `${report.heldMs.toFixed(1)} ms; over 20 ms: ${report.over20} of ${report.turns} turns`,
      "event loop: held, everything": `${report.longestMs.toFixed(1)} ms; of an idle process meanwhile ${idle.longestMs.toFixed(1)} ms, over 20 ms: ${idle.over20} of ${idle.turns}`,
      "event loop: collections of garbage": `longest ${report.longestGcMs.toFixed(1)} ms of the clock; the longest hold had ${report.gcOfLongestMs.toFixed(1)} ms of them`,
    };
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
