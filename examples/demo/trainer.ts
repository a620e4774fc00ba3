/**
 * The training loop of the demo: a process of its own, so that it can be killed.
 *
 *     node trainer.js STORE
 *
 * It goes on from the newest version in the store, and prints one JSON line before and after each save.
 */
import { openStore, type Store } from "../../index.ts";
import { simulateMarket } from "./market.ts";
import { Network } from "./network.ts";
import { Random } from "./random.ts";

export const REF = "demo/return-model";
export const STEPS = 400;
const SAVE_EVERY = 20;
const BATCH = 32;

/** Everything a step depends on. */
export class Training {
  readonly network = new Network(1);
  readonly random = new Random(2);
  readonly #market = simulateMarket(4096, 3);
  readonly #heldOut = simulateMarket(1024, 4);

  step(): number {
    const rows = Uint32Array.from({ length: BATCH }, () => this.random.below(this.#market.count));
    const done = Math.min(1, this.network.step / STEPS);
    return this.network.train(this.#market, rows, 1e-3 * (1 + Math.cos(Math.PI * done)));
  }

  loss(): number {
    return this.network.evaluate(this.#heldOut);
  }
}

/** Puts the newest version's weights, moments, step and random state back. Returns its number, 0 without one. */
async function resume(store: Store, training: Training): Promise<number> {
  if (!store.checkpoints.refs().some(({ ref }) => ref === REF)) return 0;
  const checkpoint = await store.checkpoints.restoreInto(REF, training.network.tensors());
  training.network.step = checkpoint.step ?? 0;
  const state = await checkpoint.resume();
  if (state !== undefined) training.random.state.set(new Uint32Array(state.slice().buffer));
  return checkpoint.version;
}

function say(event: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

async function main(directory: string): Promise<void> {
  await using store = await openStore(directory, { create: true });
  const training = new Training();
  const version = await resume(store, training);
  say({ event: "start", version, step: training.network.step });
  while (training.network.step < STEPS) {
    training.step();
    const { step } = training.network;
    if (step % SAVE_EVERY !== 0) continue;
    const loss = training.loss();
    say({ event: "saving", step, loss });
    const { durable } = store.checkpoints.save(REF, training.network.tensors(), {
      step,
      metrics: { loss },
      resume: new Uint8Array(training.random.state.buffer.slice(0)),
    });
    const saved = await durable;
    say({ event: "durable", step, loss, version: saved.version, storedBytes: saved.storedBytes });
  }
}

if (process.argv[1]?.endsWith("trainer.js")) await main(process.argv[2]!);
