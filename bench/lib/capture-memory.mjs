import { readFileSync, writeFileSync } from "node:fs";
import { openStore } from "../../dist/index.js";
import { allocateModel, generator } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

/**
 * Resident memory above the tensors while a model of which every weight has moved is saved, and restored from chunks and
 * from its image, in a process that has every part of the store open. Dirty page cache is the system's, and stands beside.
 */
export async function memory({ say, megabytes = 1000, rounds = 2 }) {
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, {
      create: true,
      stagingBytes: 64e6,
      ioBudget: Number.POSITIVE_INFINITY,
    });
    const bareBytes = residentBytes();
    await useEveryPart(store);
    const model = allocateModel(store, megabytes);
    const tensorBytes = Object.values(model).reduce((sum, { data }) => sum + data.byteLength, 0);
    const above = (peak) => `${((peak - tensorBytes) / 1e6).toFixed(0)} MB`;
    const random = generator(5);
    const move = () => {
      for (const { data } of Object.values(model)) {
        for (let i = 0; i < data.length; i++) data[i] *= 1 + (random() / 2 ** 32 - 0.5) * 1e-4;
      }
    };
    const steps = {
      "save of everything": () => store.checkpoints.save("m", model, { profile: "fast" }).durable,
      "restore from chunks": () => store.checkpoints.restoreInto("m", model),
    };
    for (let round = 0; round < rounds; round++) {
      steps[`save, every weight moved, ${round + 1}`] = () => {
        move();
        resetPeak();
        return store.checkpoints.save("m", model, { profile: "fast" }).durable;
      };
    }
    steps["image written"] = async () => (await store.checkpoints.pin("m")).imaged;
    steps["restore from the image"] = () => store.checkpoints.restoreInto("m", model);
    const figures = { "resident with the store just opened": `${(bareBytes / 1e6).toFixed(0)} MB` };
    figures["every part in use, tensors allocated: above the tensors"] = above(residentBytes());
    for (const [what, step] of Object.entries(steps)) {
      say(what);
      resetPeak();
      const dirty = watchDirty();
      await step();
      const peak = peakBytes();
      figures[`${what}: peak above the tensors (dirty page cache)`] = `${above(peak)} (${dirty()} MB)`;
    }
    await store.close();
    return figures;
  });
}

async function useEveryPart(store) {
  const positions = store.critical.map("positions");
  for (let i = 0; i < 1000; i++) await store.critical.commitAsync((tx) => tx.put(positions, `s${i}`, { i }));
  const ticks = store.series.open("ticks", { columns: { ts: "ts_ns", price: "f64" }, key: "ts" });
  for (let i = 0n; i < 1000n; i++) ticks.append({ ts: i, price: Number(i) });
  store.state.map("strategy").put("position", 1);
}

const status = (name) =>
  Number(new RegExp(`${name}:\\s*(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
const residentBytes = () => status("VmRSS");
const peakBytes = () => status("VmHWM");
/** From here on the peak counts anew. */
const resetPeak = () => writeFileSync("/proc/self/clear_refs", "5");

function watchDirty() {
  let most = 0;
  const look = () => {
    const kib = Number(/Dirty:\s*(\d+) kB/.exec(readFileSync("/proc/meminfo", "utf8"))[1]);
    most = Math.max(most, kib * 1024);
  };
  const timer = setInterval(look, 50);
  return () => {
    clearInterval(timer);
    look();
    return (most / 1e6).toFixed(0);
  };
}
