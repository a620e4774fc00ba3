import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { getHeapSpaceStatistics } from "node:v8";
import { openStore } from "../../dist/index.js";
import { allocateModel, generator } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

const SAMPLE_MS = 20;

/**
 * Resident memory above the tensors, stage by stage: a bare process, the library loaded, the store with every part in use,
 * and the peaks while a model of which every weight moves is saved, restored from chunks, imaged, and restored from its
 * image. All of the process counts, Node.js' own code and heaps too; the bare process is what to take off for the rest. Of
 * each figure, what is anonymous (heaps, buffers), mapped from files (code, LMDB) and shared; and of the anonymous part,
 * the calling thread's young generation, which V8 sizes. Dirty page cache is the system's, and stands beside.
 */
export async function memory({ say, megabytes = 1000, rounds = 3 }) {
  return withDirectory(async (directory) => {
    const figures = {};
    figures["bare Node.js process"] = inProcess("");
    figures["library imported"] = inProcess('await import("../../dist/index.js");');
    const store = await openStore(`${directory}/store`, {
      create: true,
      stagingBytes: 64e6,
      ioBudget: Number.POSITIVE_INFINITY,
    });
    figures["store just opened, this bench loaded"] = shown(partsNow());
    await useEveryPart(store);
    figures["every part in use"] = shown(partsNow());
    const model = allocateModel(store, megabytes);
    const tensorBytes = Object.values(model).reduce((sum, { data }) => sum + data.byteLength, 0);
    figures["tensors allocated: above them"] = shown(partsNow(), tensorBytes);
    const random = generator(5);
    const move = () => {
      for (const { data } of Object.values(model)) {
        for (let i = 0; i < data.length; i++) data[i] *= 1 + (random() / 2 ** 32 - 0.5) * 1e-4;
      }
    };
    const peak = async (what, step, heldBytes = tensorBytes) => {
      say(what);
      const watch = watchPeak();
      await step();
      const { parts, dirtyMb } = watch();
      figures[`peak, ${what} (dirty page cache)`] = `${shown(parts, heldBytes)} (${dirtyMb} MB)`;
    };
    const save = () => store.checkpoints.save("m", model, { profile: "fast" }).durable;
    const restore = () => store.checkpoints.restoreInto("m", model);
    await peak("save of everything", save);
    await peak("restore from chunks", restore);
    for (let round = 1; round <= rounds; round++) {
      move();
      await peak(`save, every weight moved, ${round}`, save);
    }
    await peak("restore from chunks and their parents", restore);
    // The model it gives is the caller's: it is held, so that its bytes can be told from the rest.
    let pinned;
    const pin = async () => {
      pinned = await store.checkpoints.pin("m");
      await pinned.imaged;
    };
    await peak("pinned: a second model read, image written", pin, 2 * tensorBytes);
    await peak("restore from the image", restore, (pinned.tensors.size > 0 ? 2 : 1) * tensorBytes);
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
  store.cache.map("metrics").set("pnl", 1);
  const values = Float64Array.from({ length: 1000 }, (_, i) => i / 7);
  await store.features.publish("alpha", {
    rows: 1000,
    columns: [{ name: "x", type: "f64", rows: 1000, values }],
  });
  await store.features.loadColumns("alpha");
}

/** The same of a process of its own that has run `program`. */
function inProcess(program) {
  const script = `${program} process.stdout.write((await import("node:fs")).readFileSync("/proc/self/status"))`;
  const text = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    encoding: "utf8",
  });
  return shown(partsOf(text));
}

function partsOf(status) {
  const bytes = (name) => Number(new RegExp(`${name}:\\s*(\\d+) kB`).exec(status)[1]) * 1024;
  const [total, anonymous, file, shared] = ["VmRSS", "RssAnon", "RssFile", "RssShmem"].map(bytes);
  return { total, anonymous, file, shared, highest: bytes("VmHWM") };
}

function partsNow() {
  const parts = partsOf(readFileSync("/proc/self/status", "utf8"));
  const spaces = getHeapSpaceStatistics().filter(({ space_name }) => space_name.startsWith("new"));
  return { ...parts, young: spaces.reduce((sum, space) => sum + space.physical_space_size, 0) };
}

function shown({ total, anonymous, file, shared, young }, heldBytes = 0) {
  const mb = (bytes) => (bytes / 1e6).toFixed(0);
  // Tensors are anonymous memory, or shared memory where V8 asks the system for that.
  const inShared = shared >= heldBytes;
  const own = [anonymous - (inShared ? 0 : heldBytes), file, shared - (inShared ? heldBytes : 0)];
  const ofIt = young === undefined ? "" : `, young generation ${mb(young)}`;
  return `${mb(total - heldBytes)} MB = ${own.map(mb).join(" + ")} anonymous + file + shared${ofIt}`;
}

/** From here on the peak counts anew; the function returned says what it was, and of which parts at the highest look. */
function watchPeak() {
  writeFileSync("/proc/self/clear_refs", "5");
  let most = partsNow();
  let dirty = 0;
  const look = () => {
    const parts = partsNow();
    if (parts.total > most.total) most = parts;
    const kib = Number(/Dirty:\s*(\d+) kB/.exec(readFileSync("/proc/meminfo", "utf8"))[1]);
    dirty = Math.max(dirty, kib * 1024);
  };
  const timer = setInterval(look, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    look();
    const { highest } = partsNow();
    // What grew between two looks was not seen by parts: it is heaps and buffers.
    const unseen = Math.max(0, highest - most.total);
    const parts = { ...most, total: most.total + unseen, anonymous: most.anonymous + unseen };
    return { parts, dirtyMb: (dirty / 1e6).toFixed(0) };
  };
}
