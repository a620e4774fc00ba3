/**
 * varve's main jobs in under a minute: train a small model, save it as it learns, kill the trainer in the middle of a
 * save, go on from what was durable, and end with the very weights of a run that was never interrupted. Ticks are appended
 * to the same store meanwhile; features are published and loaded, and a price is read as of an instant. Then run a trading
 * engine, kill it between orders, and show that nothing it acknowledged is missing and no nonce comes twice.
 *
 *     npm run demo
 */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { openStore } from "../index.ts";
import { killBetweenOrders } from "./demo/kill-engine.ts";
import { appendTicksDuring, readTicks } from "./demo/ticks.ts";
import { REF, STEPS, Training } from "./demo/trainer.ts";

const KILL_AT_STEP = 240;

const directory = join(tmpdir(), "varve-demo");
const best = join(tmpdir(), "varve-demo-best.safetensors");
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const print = (text = "") => process.stdout.write(`${text}\n`);

interface TrainerEvent {
  event: "start" | "saving" | "durable";
  step: number;
  version: number;
  loss: number;
  storedBytes: number;
}

/** Runs the trainer to its end, or kills it with SIGKILL as soon as it begins to save `killAtStep`. */
async function train(killAtStep?: number): Promise<TrainerEvent[]> {
  const events: TrainerEvent[] = [];
  const child = spawn(process.execPath, [here("./demo/trainer.js"), directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as TrainerEvent;
    events.push(event);
    if (event.event === "durable") {
      const kilobytes = (event.storedBytes / 1000).toFixed(0).padStart(4);
      print(
        `  step ${String(event.step).padStart(3)}  loss ${event.loss.toFixed(5)}  → version ${event.version}, ${kilobytes} kB stored`,
      );
    }
    if (event.event === "saving" && event.step === killAtStep) child.kill("SIGKILL");
  }
  const code = await ended;
  if (code !== 0 && killAtStep === undefined) throw new Error(`the trainer ended with code ${code}`);
  return events;
}

/** Shows a command line and what it prints. */
async function varve(...args: string[]): Promise<void> {
  const shown = args.map((arg) => (/^[\w@:./-]+$/.test(arg) ? arg : `'${arg}'`));
  print(`\n$ varve --store ${directory} ${shown.join(" ")}`);
  const child = spawn(process.execPath, [here("../cli/main.js"), "--store", directory, ...args], {
    stdio: "inherit",
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`varve ${args[0]} ended with code ${code}`);
}

/** The same training without a store and without an interruption. */
function trainUninterrupted(): Training {
  const training = new Training();
  while (training.network.step < STEPS) training.step();
  return training;
}

async function compareWithUninterrupted(): Promise<void> {
  const reference = trainUninterrupted();
  await using store = await openStore(directory, { readOnly: true });
  const restored = await store.checkpoints.restore(REF);
  let weights = 0;
  for (const [name, { data }] of Object.entries(reference.network.tensors())) {
    const saved = restored.get(name)!.data as Float32Array;
    const [a, b] = [bytesOf(saved), bytesOf(data)];
    if (Buffer.compare(a, b) !== 0) throw new Error(`tensor ${name} differs from the uninterrupted run`);
    weights += data.length;
  }
  print(`  all ${weights} numbers (weights and optimizer moments) are equal, bit for bit`);
}

function bytesOf(array: Float32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

rmSync(directory, { recursive: true, force: true });
rmSync(best, { force: true });

print(`1. Train a model on a simulated market and save it every 20 steps into ${directory}`);
const first = await train(KILL_AT_STEP);
const durable = first.filter(({ event }) => event === "durable").at(-1)!;
print(
  `  ✗ killed with SIGKILL while step ${KILL_AT_STEP} was being saved; acknowledged last: version ${durable.version}`,
);

print("\n2. Start the trainer again: it goes on from the newest durable version");
const second = await appendTicksDuring(directory, train(), print);
const [start] = second;
print(`  it went on from version ${start!.version} (step ${start!.step})`);
if (start!.version < durable.version) throw new Error("an acknowledged version is missing");

print(`\n3. Compare with ${STEPS} steps that were never interrupted`);
await compareWithUninterrupted();

print("\n4. The history, and the best version as a file that other tools read");
await varve("log", REF);
await varve("restore", `${REF}@best:loss`, "--out", best);
await varve("check", "--read-data");
print("\n5. The ticks that came meanwhile: features of them, and a price as of an instant");
await readTicks(directory, print, varve);
print("\n6. Run a trading engine beside it and kill it between orders, again and again");
await killBetweenOrders(directory, print, varve);
print(`\nLook around: npx varve --store ${directory} diff ${REF}@1 ${REF}@latest`);
