/**
 * A learner updates its weights and saves them as plain tensors; a server process follows, puts each version into an ONNX
 * skeleton and answers inference. Printed at the end: the time from a save's beginning to the first inference begun on
 * it, as measured in the serving process.
 *
 *     npm install onnxruntime-node
 *     npm run build && node dist/examples/online-learner.js [versions] [interval in ms]
 */
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openStore, type Tensor } from "../index.ts";
import { linearModel } from "./online-learner/linear-model.ts";

const FEATURES = 4096;
const input: Tensor = { dtype: "F32", shape: [FEATURES], data: new Float32Array(FEATURES).fill(1) };

/** The serving process: follows the ref and runs inferences all the time. */
async function serve(directory: string, versions: number): Promise<void> {
  await using store = await openStore(directory);
  const probe = { inputs: { x: input } };
  // The graph alone: its own weights, all zero, are never served.
  const onnx = { skeleton: linearModel(0, FEATURES) };
  await using model = await store.checkpoints.serve("learner", { onnx, probe });
  // Without the learner there is nothing to follow.
  process.on("disconnect", () => process.exit());
  process.send!({ ready: true });
  let last = model.version;
  let inferences = 0;
  let heldMs = 0;
  let turn = performance.now();
  const watch = setInterval(() => {
    const now = performance.now();
    heldMs = Math.max(heldMs, now - turn - 1);
    turn = now;
  }, 1);
  while (last < versions) {
    const begunMs = Date.now();
    const { version, outputs } = await model.run({ x: input });
    inferences++;
    // Version v answers v everywhere: anything else would be a mixed or stale model.
    const right = (outputs["y"]!.data as Float32Array).every((value) => value === version);
    if (!right || version < last) throw new Error(`version ${version} answered for another`);
    if (version > last) process.send!({ version, begunMs });
    last = version;
  }
  clearInterval(watch);
  process.send!({ done: true, inferences, heldMs });
}

/** The learner: each update writes all weights, in memory that is captured while it goes on. */
async function learn(versions: number, intervalMs: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "varve-learner-"));
  try {
    await using store = await openStore(join(directory, "store"), { create: true });
    const weights = store.checkpoints.allocate({ w: { dtype: "F32", shape: [FEATURES] } });
    const savedMs = new Map<number, number>();
    const save = async (version: number) => {
      (weights.w.data as Float32Array).fill(version);
      savedMs.set(version, Date.now());
      await store.checkpoints.save("learner", weights).durable;
    };
    await save(1);
    const server = fork(fileURLToPath(import.meta.url), ["--serve", store.directory, String(versions)]);
    const liveMs: number[] = [];
    const ended = new Promise<{ inferences: number; heldMs: number }>((resolve, reject) => {
      server.on("message", (message: Record<string, number>) => {
        if (message["begunMs"] !== undefined)
          liveMs.push(message["begunMs"] - savedMs.get(message["version"]!)!);
        if (message["done"]) resolve({ inferences: message["inferences"]!, heldMs: message["heldMs"]! });
      });
      server.on("exit", (code) => reject(new Error(`the server ended with ${code}`)));
    });
    await new Promise((resolve) => server.once("message", resolve));
    for (let version = 2; version <= versions; version++) {
      const started = Date.now();
      await save(version);
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, intervalMs - (Date.now() - started))));
    }
    const { inferences, heldMs } = await ended;
    liveMs.sort((a, b) => a - b);
    const at = (share: number) => liveMs[Math.min(liveMs.length - 1, Math.floor(liveMs.length * share))];
    console.log(`${versions} versions saved, ${liveMs.length} swaps, ${inferences} inferences, none wrong`);
    console.log(`update to live: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
    console.log(`the server's event loop was held for at most ${heldMs.toFixed(1)} ms`);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === "--serve") await serve(rest[0]!, Number(rest[1]));
else await learn(Number(mode ?? 50), Number(rest[0] ?? 200));
