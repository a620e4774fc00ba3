import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { OptimizerSettings } from "../../checkpoints/optimizer/settings.ts";
import type { Tensor } from "../../formats/tensor.ts";
import { openStore, type Store } from "../../open-store.ts";
import { Random } from "../../src/disk/random.ts";
import { seeded } from "./seeded.ts";
import { type Hyperparameters, type Rule, Trainer } from "./trainer.ts";

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "varve-replay-"));
  store = await openStore(join(directory, "store"), { create: true, workers: 0 });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const SIZES = {
  "block.0.weight": 30_000,
  "block.0.bias": 300,
  "block.1.weight": 80_000,
  "head.weight": 7000,
};

interface Saved {
  ref?: string;
  optimizer?: OptimizerSettings;
  step?: number;
}

/** Saves, restores, compares every bit; returns raw over stored bytes. */
async function saveAndCompare(
  tensors: [string, Tensor][],
  { ref = "run", ...options }: Saved,
): Promise<number> {
  const { version, logicalBytes, storedBytes } = await store.checkpoints.save(ref, tensors, options).durable;
  const restored = await store.checkpoints.restore(`${ref}@${version}`);
  expect(restored.size).toBe(tensors.length);
  for (const [name, { data }] of tensors) {
    const back = restored.get(name)!.data as Float32Array;
    expect(
      Buffer.compare(Buffer.from(back.buffer, back.byteOffset, back.byteLength), bytesOf(data)),
      name,
    ).toBe(0);
  }
  return logicalBytes / storedBytes;
}

const bytesOf = (data: ArrayBufferView) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/** A run's versions of consecutive steps; the ratio of the last one. */
async function ratioOf(
  trainer: Trainer,
  optimizer: OptimizerSettings | undefined,
  change: { versions?: number; order?: (tensors: [string, Tensor][]) => [string, Tensor][] } = {},
): Promise<number> {
  let ratio = 0;
  for (let n = 0; n < (change.versions ?? 3); n++) {
    trainer.train();
    const tensors = (change.order ?? ((t) => t))(trainer.tensors());
    ratio = await saveAndCompare(tensors, {
      step: trainer.step,
      ...(optimizer === undefined ? {} : { optimizer }),
    });
  }
  return ratio;
}

function warmedUp(
  random: Random,
  rule: Rule,
  set: Hyperparameters,
  sizes: Record<string, number> = SIZES,
): Trainer {
  const trainer = new Trainer(rule, set, random, sizes);
  for (let i = 0; i < 10; i++) trainer.train();
  return trainer;
}

describe("an optimizer's step done again", () => {
  // What is left is the gradient: one tensor of two, three or four, at about four fifths of its bits.
  const runs: [string, Rule, Hyperparameters, number][] = [
    ["SGD with momentum", "sgd", { lr: 0.01, momentum: 0.9, weightDecay: 1e-4 }, 2.1],
    ["SGD with Nesterov's momentum", "sgd", { lr: 0.01, momentum: 0.9, nesterov: true }, 2.1],
    ["Adam", "adam", { lr: 1e-3, betas: [0.9, 0.999], weightDecay: 0.01 }, 3.2],
    ["AdamW", "adamw", { lr: 1e-3, betas: [0.9, 0.95], weightDecay: 0.1 }, 3.2],
    ["AMSGrad", "adam", { lr: 1e-3, amsgrad: true, weightDecay: 0 }, 4.2],
    ["Adagrad", "adagrad", { lr: 0.01 }, 2.1],
    ["RMSprop", "rmsprop", { lr: 1e-3, alpha: 0.99 }, 2.1],
    ["RMSprop with momentum", "rmsprop", { lr: 1e-3, alpha: 0.99, momentum: 0.9 }, 3],
  ];
  it.each(runs)("predicts all but the gradient of %s", async (_, rule, set, atLeast) => {
    await seeded(async (random) => {
      const ratio = await ratioOf(warmedUp(random, rule, set), { kind: rule, ...set });
      expect(ratio).toBeGreaterThan(atLeast);
    });
  });

  it("finds a learning rate and a decay that nobody stated", async () => {
    await seeded(async (random) => {
      const set = { lr: 7e-4, betas: [0.9, 0.999] as [number, number], weightDecay: 0.05 };
      expect(await ratioOf(warmedUp(random, "adamw", set), undefined)).toBeGreaterThan(2.8);
    });
  });

  it("takes hyperparameters that are all wrong, and loses bytes alone", async () => {
    await seeded(async (random) => {
      const trainer = warmedUp(random, "adamw", { lr: 1e-3 });
      const wrong = { kind: "adam", lr: 50, betas: [0.1, 0.2], eps: 1, weightDecay: 9, step: 1 } as const;
      expect(await ratioOf(trainer, wrong)).toBeGreaterThan(1.1);
    });
  });

  it("is exact when tensors are renamed, shuffled, of another shape, or skipped steps", async () => {
    await seeded(async (random) => {
      const trainer = warmedUp(random, "adamw", { lr: 1e-3 });
      const optimizer = { kind: "adamw", lr: 1e-3 };
      const save = async (tensors: [string, Tensor][]) => {
        await saveAndCompare(tensors, { optimizer, step: trainer.step });
      };
      await save(trainer.tensors());
      trainer.train();
      await save(trainer.tensors((name) => `renamed.${name}`));
      trainer.train();
      await save(
        shuffled(
          trainer.tensors((name) => `renamed.${name}`),
          random,
        ),
      );
      for (let i = 0; i < 5; i++) trainer.train();
      await save(shuffled(trainer.tensors(), random));
      const other = warmedUp(random, "adamw", { lr: 1e-3 }, { "block.0.weight": 31_000, "block.0.bias": 20 });
      await save(other.tensors());
      other.train();
      await save(other.tensors());
    });
  });

  it("costs no more than the parent alone when steps were skipped", async () => {
    await seeded(async (random) => {
      const trainer = warmedUp(random, "adamw", { lr: 1e-3 });
      await ratioOf(trainer, { kind: "adamw", lr: 1e-3 }, { versions: 1 });
      for (let i = 0; i < 40; i++) trainer.train();
      expect(await ratioOf(trainer, { kind: "adamw", lr: 1e-3 }, { versions: 1 })).toBeGreaterThan(1.05);
    });
  });

  it("keeps not-a-number, infinities and both zeros as they are", async () => {
    await seeded(async (random) => {
      const trainer = warmedUp(random, "adamw", { lr: 1e-3 });
      const special = new Uint32Array([
        0x7fc00001, 0xffffffff, 0x7f800001, 0xff800000, 0x80000000, 1, 0x7f7fffff,
      ]);
      for (let version = 0; version < 3; version++) {
        trainer.train();
        const tensors = trainer.tensors();
        for (const [, { data }] of tensors) {
          const bits = new Uint32Array((data as Float32Array).buffer);
          for (let i = 0; i < 50; i++)
            bits[random.below(bits.length)] = special[random.below(special.length)]!;
        }
        await saveAndCompare(tensors, { optimizer: { kind: "adamw", lr: 1e-3 }, step: trainer.step });
      }
    });
  });

  it("refuses hyperparameters that are no numbers", async () => {
    const tensors = new Trainer("sgd", { lr: 1 }, new Random(1), { w: 4 }).tensors();
    const save = async () =>
      store.checkpoints.save("run", tensors, { optimizer: { lr: Number.NaN } }).durable;
    await expect(save()).rejects.toThrow(/optimizer\.lr/);
  });

  it("survives gc and a check that reads everything", async () => {
    await seeded(async (random) => {
      const trainer = warmedUp(random, "adamw", { lr: 1e-3 });
      for (let n = 0; n < 4; n++) await ratioOf(trainer, { kind: "adamw", lr: 1e-3 }, { versions: 1 });
      const last = trainer.tensors();
      await store.checkpoints.prune("run", { keepLast: 1 });
      await store.gc();
      const restored = await store.checkpoints.restore("run");
      for (const [name, { data }] of last) {
        expect(Buffer.compare(bytesOf(restored.get(name)!.data as Float32Array), bytesOf(data))).toBe(0);
      }
    });
  });
});

function shuffled<T>(items: T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)[0]!);
}
