/**
 * The serving process: follows the ref and runs inferences all the time, several at once. A model answers its own
 * version everywhere, so that whatever else comes back is a mixed or stale one.
 */
import { openStore } from "../../dist/index.js";
import { LoopWatch } from "./loop-watch.mjs";

const AT_ONCE = 3;
const [directory, features] = [process.argv[2], Number(process.argv[3])];
const x = { dtype: "F32", shape: [features], data: new Float32Array(features).fill(1) };
const store = await openStore(directory);
const swapsMs = new Map();
const counts = { inferences: 0, failed: 0, mixed: 0, stale: 0, refused: 0 };
const live = [];
let last = Number.POSITIVE_INFINITY;
// It would go on for ever without whoever tells it to end.
const orphaned = () => process.exit(1);
process.on("disconnect", orphaned);
process.on("message", (message) => {
  last = message.last;
});
const model = await store.checkpoints.serve("learner", {
  onnx: true,
  runtime: import.meta.resolve("onnxruntime-node"),
  probe: { inputs: { x } },
  onSwap: ({ version }) => swapsMs.set(version, Date.now()),
  onRefused: () => counts.refused++,
});
process.send({ ready: true });
const watch = new LoopWatch();
let seen = model.version;

async function infer() {
  while (seen < last) {
    const begunMs = Date.now();
    const newest = Math.max(seen, ...swapsMs.keys());
    const answer = await model.run({ x }).catch(() => undefined);
    counts.inferences++;
    if (answer === undefined) {
      counts.failed++;
      continue;
    }
    const { version, outputs } = answer;
    if (!outputs.y.data.every((value) => value === version)) counts.mixed++;
    if (version < newest) counts.stale++;
    if (version <= seen) continue;
    seen = version;
    live.push({ version, begunMs });
    process.send({ swaps: live.length });
    for (const swapped of swapsMs.keys()) if (swapped < version) swapsMs.delete(swapped);
  }
}

await Promise.all(Array.from({ length: AT_ONCE }, infer));
const loop = watch.stop();
process.send({ done: true, ...counts, ...loop, live });
await model.close();
await store.close();
process.off("disconnect", orphaned);
process.disconnect();
