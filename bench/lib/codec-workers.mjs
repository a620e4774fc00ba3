// Saving and restoring a large checkpoint with one worker thread and with two, alternately: real versions, tiled.
// Like the control beside it (threads that only encode and decode in their own memory, which is how far this machine
// scales) it is measured warm, after a save and a restore: the engine's compiler threads work for all workers alike.
//
// VARVE_BENCH_TENSORS=many: copies side by side, thousands of small tensors, instead of a few long ones.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { openStore } from "../../dist/index.js";

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

export async function workerScaling(files, weights) {
  if (!existsSync(weights)) return console.log(`workers: skipped, no ${weights}`);
  const megabytes = Number(process.env.VARVE_BENCH_MB ?? 256);
  const tile = process.env.VARVE_BENCH_TENSORS === "many" ? sideBySide : stacked;
  const directory = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-workers-"));
  const paths = files.slice(-3).map((file, i) => {
    const path = join(directory, `${i}.safetensors`);
    writeFileSync(path, tile(readFileSync(file), megabytes * 1e6));
    return path;
  });
  const times = { 1: { save: [], restore: [] }, 2: { save: [], restore: [] } };
  const scaling = [];
  const threads = await controlThreads(files);
  try {
    for (let round = 0; round < 3; round++) {
      for (const workers of [1, 2]) await measure(directory, paths, workers, times[workers]);
      scaling.push(await controlScaling(threads));
    }
  } finally {
    for (const thread of threads) await thread.terminate();
    rmSync(directory, { recursive: true });
  }
  for (const what of ["save", "restore"]) {
    const [one, two] = [median(times[1][what]), median(times[2][what])];
    console.log(
      `${what} ${megabytes} MB of bf16 against its parent: one worker ${((megabytes * 1000) / one).toFixed(0)} MB/s,` +
        ` two ${((megabytes * 1000) / two).toFixed(0)} MB/s, ${(one / two).toFixed(2)} times (${availableParallelism()} cores)`,
    );
  }
  console.log(`control, threads that only code in memory: ${median(scaling).toFixed(2)} times`);
}

/** Bytes that a thread of the control codes in one round. */
const CONTROL_BYTES = 64e6;

async function controlThreads(files) {
  const workerData = { files: files.slice(-2).map((file) => readFileSync(file)), sizeBytes: CONTROL_BYTES };
  const url = new URL("./codec-control.child.mjs", import.meta.url);
  const threads = [1, 2].map(() => new Worker(url, { workerData }));
  await Promise.all(threads.map(answerOf));
  return threads;
}

const answerOf = (thread) =>
  new Promise((resolve, reject) => {
    thread.once("message", resolve);
    thread.once("error", reject);
  });

/** How many times as much two threads do as one, each with as much to do. */
async function controlScaling(threads) {
  const run = (some) => {
    const answers = some.map(answerOf);
    for (const thread of some) thread.postMessage("go");
    return Promise.all(answers);
  };
  const [alone] = await run(threads.slice(0, 1));
  const together = Math.max(...(await run(threads)));
  return (2 * alone) / together;
}

async function measure(directory, [first, parent, child], workers, times) {
  const path = join(directory, "store");
  const store = await openStore(path, { create: true, workers });
  try {
    await store.checkpoints.saveFiles("run", [first]);
    await store.checkpoints.saveFiles("run", [parent]);
    await store.checkpoints.restoreFiles("run", { out: join(directory, "out") });
    let start = performance.now();
    await store.checkpoints.saveFiles("run", [child]);
    times.save.push(performance.now() - start);
    start = performance.now();
    await store.checkpoints.restoreFiles("run", { out: join(directory, "out"), force: true });
    times.restore.push(performance.now() - start);
  } finally {
    await store.close();
    rmSync(path, { recursive: true });
    rmSync(join(directory, "out"), { force: true });
  }
}

/** A file of as many copies of another one's tensors, each under a name of its own and a little different. */
function sideBySide(file, sizeBytes) {
  const { entries, data } = partsOf(file);
  const copies = Math.ceil(sizeBytes / data.length);
  const header = {};
  const parts = [];
  for (let copy = 0; copy < copies; copy++) {
    for (const [
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ] of entries) {
      const at = copy * data.length;
      header[`${copy}.${name}`] = { dtype, shape, data_offsets: [at + from, at + to] };
    }
    parts.push(changed(data, copy));
  }
  return fileOf(header, parts);
}

/** A file of the same tensors, each as many times as long: what a model of that size has. */
function stacked(file, sizeBytes) {
  const { entries, data } = partsOf(file);
  const copies = Math.ceil(sizeBytes / data.length);
  const header = {};
  const parts = [];
  for (const [
    name,
    {
      dtype,
      shape: [rows = 1, ...others],
      data_offsets: [from, to],
    },
  ] of entries) {
    header[name] = {
      dtype,
      shape: [rows * copies, ...others],
      data_offsets: [from * copies, to * copies],
    };
    for (let copy = 0; copy < copies; copy++) parts.push(changed(data.subarray(from, to), copy));
  }
  return fileOf(header, parts);
}

function partsOf(file) {
  const dataAt = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(file.subarray(8, dataAt).toString());
  const byPlace = Object.entries(entries).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  return { entries: byPlace, data: file.subarray(dataAt) };
}

/** One mantissa bit here and there, so that no copy is a chunk that is there already. */
function changed(data, copy) {
  const part = Buffer.from(data);
  for (let at = copy * 2; at < part.length; at += 8192) part[at] ^= 1;
  return part;
}

function fileOf(header, parts) {
  const text = JSON.stringify(header);
  const padded = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...parts]);
}
