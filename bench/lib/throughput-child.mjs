// One save or restore in a process of its own, so that its memory can be told apart. Prints one line of JSON.
//   node throughput-child.mjs save STORE REF FILE PARENT|none PROFILE    node throughput-child.mjs restore STORE REF OUT
//   node throughput-child.mjs load STORE REF
import { openStore } from "../../dist/index.js";

const [verb, path, ref, file, parent, profile] = process.argv.slice(2);
const idleBytes = process.memoryUsage.rss();
const store = await openStore(path, { create: true });
const start = performance.now();
let answer = {};
if (verb === "save") {
  const from = parent === "none" ? {} : { parent };
  const { storedBytes, logicalBytes } = await store.checkpoints.saveFiles(ref, [file], { profile, ...from });
  answer = { storedBytes, logicalBytes };
} else if (verb === "restore") {
  await store.checkpoints.restoreFiles(ref, { out: file, force: true });
} else {
  const tensors = await store.checkpoints.restore(ref);
  answer = { tensors: tensors.size };
}
const ms = performance.now() - start;
await store.close();
const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
const cpuMs = (userCPUTime + systemCPUTime) / 1000;
console.log(JSON.stringify({ ...answer, ms, idleBytes, peakBytes: maxRSS * 1024, cpuMs }));
