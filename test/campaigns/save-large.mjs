/**
 * Memory and time of saving and restoring files larger than memory limits and 32-bit offsets:
 *
 *     npm run build && node test/campaigns/save-large.mjs [GB]
 *
 * A safetensors file of GB (default 3) gigabytes in which no two chunks are equal and nothing compresses, saved twice
 * (the second time one byte in every hundredth chunk differs) and restored; then a sparse one of 5 GiB. Each step runs in a
 * process of its own, which prints how far its resident memory rose above that of the process with the store open and idle.
 * The limit is 100 MB.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore } from "../../dist/index.js";

const LIMIT_BYTES = 100e6;
const CHUNK_BYTES = 262_144;

function residentBytes(field) {
  const line = fs.readFileSync("/proc/self/status", "utf8").match(new RegExp(`${field}:\\s+(\\d+) kB`));
  return Number(line[1]) * 1024;
}

async function measured(directory, step) {
  const store = await openStore(directory, { create: true });
  await new Promise((resolve) => setTimeout(resolve, 500));
  global.gc?.();
  const idleBytes = residentBytes("VmRSS");
  fs.writeFileSync("/proc/self/clear_refs", "5");
  const startMs = performance.now();
  const result = await step(store);
  const seconds = (performance.now() - startMs) / 1000;
  const aboveBytes = residentBytes("VmHWM") - idleBytes;
  await store.close();
  console.log(JSON.stringify({ seconds, idleBytes, aboveBytes, ...result }));
}

/** A header of one F32 tensor that fills the file. */
function headerOf(dataBytes) {
  const json = `{"w":{"dtype":"F32","shape":[${dataBytes / 4}],"data_offsets":[0,${dataBytes}]}}`;
  const text = json.padEnd(Math.ceil(json.length / 8) * 8);
  const header = Buffer.alloc(8 + text.length);
  header.writeBigUInt64LE(BigInt(text.length), 0);
  header.write(text, 8);
  return header;
}

function generate(path, dataBytes, variant) {
  const block = Buffer.alloc(64 * CHUNK_BYTES);
  const noise = createNoise();
  const fd = fs.openSync(path, "w");
  let at = fs.writeSync(fd, headerOf(dataBytes));
  for (let done = 0, chunk = 0; done < dataBytes; ) {
    for (let i = 0; i < 64; i++, chunk++) {
      noise(block, i * CHUNK_BYTES, chunk);
      if (variant > 0 && chunk % 100 === 0) block[i * CHUNK_BYTES + 4 * (chunk % 1000)] ^= variant;
    }
    const bytes = block.subarray(0, Math.min(block.length, dataBytes - done));
    at += fs.writeSync(fd, bytes, 0, bytes.length, at);
    done += bytes.length;
  }
  fs.closeSync(fd);
}

/** Fills a chunk with numbers that depend on its place alone. */
function createNoise() {
  return (block, start, chunk) => {
    const words = new Uint32Array(block.buffer, block.byteOffset + start, CHUNK_BYTES / 4);
    let state = (chunk + 1) * 2654435761;
    for (let i = 0; i < words.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      words[i] = state;
    }
  };
}

function digestOfFile(path) {
  const hash = createHash("sha256");
  const fd = fs.openSync(path, "r");
  const window = Buffer.alloc(8 << 20);
  for (let at = 0; ; ) {
    const count = fs.readSync(fd, window, 0, window.length, at);
    if (count === 0) break;
    hash.update(window.subarray(0, count));
    at += count;
  }
  fs.closeSync(fd);
  return hash.digest("hex");
}

const [verb, ...rest] = process.argv.slice(2);
if (verb === "save") {
  const [directory, ref, path] = rest;
  await measured(directory, async (store) => {
    const { version, storedBytes } = await store.checkpoints.saveFiles(ref, [path]);
    return { version, storedBytes };
  });
} else if (verb === "restore") {
  const [directory, selector, out] = rest;
  await measured(directory, async (store) => {
    const { bytes } = await store.checkpoints.restoreFiles(selector, { out, force: true });
    return { bytes };
  });
} else {
  const scratch = fs.mkdtempSync(join(process.env.SCRATCH ?? tmpdir(), "varve-large-"));
  const child = (...args) => {
    const run = spawnSync(process.execPath, ["--expose-gc", fileURLToPath(import.meta.url), ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    if (run.status !== 0) throw new Error(`${args[0]} ended with ${run.status ?? run.signal}`);
    return JSON.parse(run.stdout.toString());
  };
  let worst = 0;
  const report = (what, { seconds, aboveBytes, storedBytes }, sizeBytes) => {
    worst = Math.max(worst, aboveBytes);
    const stored = storedBytes === undefined ? "" : `, stored ${(storedBytes / 1e6).toFixed(1)} MB`;
    const speed = (sizeBytes / 1e6 / seconds).toFixed(0);
    console.log(
      `${what}: ${seconds.toFixed(1)} s, ${speed} MB/s, ${(aboveBytes / 1e6).toFixed(1)} MB above idle${stored}`,
    );
  };
  try {
    const dataBytes = Math.round((Number(verb ?? 3) * 1e9) / CHUNK_BYTES) * CHUNK_BYTES;
    const [store, model, out] = ["store", "model.safetensors", "out.safetensors"].map((name) =>
      join(scratch, name),
    );
    for (const variant of [0, 1]) {
      generate(model, dataBytes, variant);
      const digest = digestOfFile(model);
      report(
        `save v${variant + 1} of ${(dataBytes / 1e9).toFixed(2)} GB`,
        child("save", store, "m", model),
        dataBytes,
      );
      fs.rmSync(model);
      report(`restore v${variant + 1}`, child("restore", store, `m@${variant + 1}`, out), dataBytes);
      if (digestOfFile(out) !== digest) throw new Error("restored other bytes than were saved");
      fs.rmSync(out);
    }
    fs.rmSync(store, { recursive: true });
    const sparseBytes = 5 * 2 ** 30;
    const header = headerOf(sparseBytes);
    fs.writeFileSync(model, header);
    fs.truncateSync(model, header.length + sparseBytes);
    const fd = fs.openSync(model, "r+");
    for (const at of [0, 2 ** 31 - 3, 2 ** 32 - 3, sparseBytes - 8])
      fs.writeSync(fd, "island!!", header.length + at);
    fs.closeSync(fd);
    const digest = digestOfFile(model);
    report("save a sparse 5 GiB", child("save", store, "m", model), sparseBytes);
    report("restore it", child("restore", store, "m", out), sparseBytes);
    if (digestOfFile(out) !== digest) throw new Error("restored other bytes than were saved");
    console.log(`at most ${(worst / 1e6).toFixed(1)} MB above idle; the limit is ${LIMIT_BYTES / 1e6} MB`);
    process.exitCode = worst < LIMIT_BYTES ? 0 : 1;
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}
