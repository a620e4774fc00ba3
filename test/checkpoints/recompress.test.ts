import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Tensor } from "../../formats/tensor.ts";
import { openStore, type Store } from "../../open-store.ts";
import { Random } from "../../src/disk/random.ts";
import { isStoreError } from "../../src/errors.ts";
import { TokenBucket } from "../../src/pace/token-bucket.ts";
import { seeded } from "./seeded.ts";
import { Trainer } from "./trainer.ts";

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "varve-recompress-"));
  store = await openStore(join(directory, "store"), { create: true, workers: 0 });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Saves versions of a small model with the fast profile; what each held. */
async function saveFast(random: Random, ref: string, versions: number): Promise<[string, Tensor][][]> {
  const trainer = new Trainer("adamw", { lr: 1e-3 }, random, { "a.weight": 20_000, "b.weight": 70_000 });
  const saved: [string, Tensor][][] = [];
  for (let n = 0; n < versions; n++) {
    trainer.train();
    const tensors = trainer.tensors();
    await store.checkpoints.save(ref, tensors, { profile: "fast", step: trainer.step }).durable;
    saved.push(tensors);
  }
  return saved;
}

async function expectSaved(ref: string, saved: [string, Tensor][][]): Promise<void> {
  for (const [i, tensors] of saved.entries()) {
    const restored = await store.checkpoints.restore(`${ref}@${i + 1}`);
    for (const [name, { data }] of tensors) {
      const back = restored.get(name)!.data as Float32Array;
      expect(Buffer.compare(bytesOf(back), bytesOf(data)), `${name} of version ${i + 1}`).toBe(0);
    }
  }
}

const bytesOf = (data: ArrayBufferView) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
const quick = { bytesPerSecond: 1e12 };
const encodingsOf = async (selector: string) =>
  (await store.checkpoints.encodings(selector)).total.map(({ encoding }) => encoding);

describe("recompression", () => {
  it("makes older versions smaller, leaves the newest, and changes no bit of either", async () => {
    await seeded(async (random) => {
      const saved = await saveFast(random, "run", 4);
      expect(await encodingsOf("run@3")).toContain("packed-difference");
      const plan = await store.checkpoints.recompress({ ref: "run", dryRun: true });
      expect(plan.chunks).toBeGreaterThan(4);
      expect(plan.rewritten).toBe(0);
      const result = await store.checkpoints.recompress({ ref: "run", ...quick });
      expect(result.rewritten).toBeGreaterThan(0);
      expect(result.writtenBytes).toBeLessThan(result.deadBytes);
      expect(await encodingsOf("run@4")).toContain("packed-difference");
      await expectSaved("run", saved);
      await store.gc();
      await expectSaved("run", saved);
      expect((await store.check({ readData: true })).problems).toEqual([]);
      const again = await store.checkpoints.recompress({ ref: "run", ...quick });
      expect(again.chunks).toBe(result.chunks - result.rewritten);
    });
  });

  it("goes on beside saves and collections", async () => {
    await seeded(async (random) => {
      const saved = await saveFast(random, "run", 4);
      const other = saveFast(new Random(7), "other", 3);
      await Promise.all([store.checkpoints.recompress(quick), store.gc(), other]);
      await Promise.all([store.gc(), store.checkpoints.recompress(quick)]);
      await expectSaved("run", saved);
      await expectSaved("other", await other);
      expect((await store.check({ readData: true })).problems).toEqual([]);
    });
  });

  it("ends between batches when it is aborted, and says which arguments will not do", async () => {
    await saveFast(new Random(3), "run", 3);
    const signal = AbortSignal.abort(new Error("enough"));
    const failed = (promise: Promise<unknown>, code: string) =>
      expect(promise).rejects.toSatisfy((error) => isStoreError(error) && error.code === code);
    await failed(store.checkpoints.recompress({ signal }), "ERR_ABORTED");
    await failed(store.checkpoints.recompress({ bytesPerSecond: 0 }), "ERR_INVALID_ARGUMENT");
    await failed(store.checkpoints.recompress({ ref: "nobody" }), "ERR_NOT_FOUND");
  });
});

describe("a token bucket", () => {
  it("lets through what a second gives at once, and what is more at the rate", () => {
    let nowMs = 0;
    const bucket = new TokenBucket(1000, () => nowMs);
    expect(bucket.take(1000)).toBe(0);
    expect(bucket.take(500)).toBe(500);
    nowMs += 500;
    expect(bucket.take(100)).toBe(100);
    nowMs += 60_000;
    expect(bucket.take(1000)).toBe(0);
    expect(bucket.take(1)).toBe(1);
  });
});
