import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DTYPES, type DType, dtypeBits, type Tensor, tensorBytes } from "../../formats/tensor.ts";
import { type OpenStoreOptions, openStore, type Store } from "../../open-store.ts";
import { Random } from "../../src/disk/random.ts";
import { isStoreError, type StoreError } from "../../src/errors.ts";
import { seeded } from "./seeded.ts";

let directory: string;
let store: Store;

const open = (options: OpenStoreOptions = {}) =>
  openStore(join(directory, "store"), { create: true, ...options });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "varve-api-"));
  store = await open({ workers: 0 });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const f32 = (...values: number[]): Tensor => ({
  dtype: "F32",
  shape: [values.length],
  data: Float32Array.from(values),
});
const one = (value: number) => ({ w: f32(value, 2, 3) });
const save = (ref: string, value: number, options = {}) =>
  store.checkpoints.save(ref, one(value), options).durable;
const valueAt = async (selector: string) => (await store.checkpoints.restore(selector)).get("w")!.data[0];
const code = (wanted: string) => expect.toSatisfy((error) => isStoreError(error) && error.code === wanted);

async function errorOf(action: () => unknown): Promise<StoreError> {
  try {
    await action();
  } catch (error) {
    if (isStoreError(error)) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

describe("a save's ticket", () => {
  it("lets the tensors be overwritten once captured", async () => {
    for (const shared of [false, true]) {
      const data = new Float32Array(shared ? new SharedArrayBuffer(400_000) : new ArrayBuffer(400_000)).fill(
        1,
      );
      const ticket = store.checkpoints.save("m", { w: { dtype: "F32", shape: [100_000], data } });
      await ticket.captured;
      data.fill(2);
      const { version } = await ticket.durable;
      const restored = (await store.checkpoints.restore(`m@${version}`)).get("w")!.data as Float32Array;
      expect(restored.every((value) => value === 1)).toBe(true);
    }
  });

  it("records the metrics of the moment it was asked, whatever becomes of the object", async () => {
    const metrics = { loss: 1 };
    const metadata = { note: "first" };
    const ticket = store.checkpoints.save("m", one(1), { metrics, metadata });
    metrics.loss = 2;
    metadata.note = "second";
    await ticket.durable;
    expect(store.checkpoints.log("m")[0]).toMatchObject({
      metrics: { loss: 1 },
      metadata: { note: "first" },
    });
  });

  it("hands a failure nobody watches to onError, fails the next save, and then goes on", async () => {
    const told: unknown[] = [];
    await store.close();
    store = await open({ workers: 0, onError: (error) => told.push(error) });
    store.checkpoints.save("m", one(1), { step: -1 });
    await expect.poll(() => told.length).toBe(1);
    const refused = await errorOf(() => save("m", 2));
    expect(refused.code).toBe("ERR_ABORTED");
    expect(isStoreError(refused.cause, "ERR_INVALID_ARGUMENT")).toBe(true);
    expect((await save("m", 3)).version).toBe(1);
  });

  it("tells of a failure after captured even if captured alone was awaited", async () => {
    const told: unknown[] = [];
    await store.close();
    store = await open({ workers: 0, onError: (error) => told.push(error) });
    await save("m", 1);
    await save("m", 2);
    const ticket = store.checkpoints.save("m", one(3), { parent: 1 });
    await ticket.captured;
    await expect.poll(() => told.length).toBe(1);
    expect(isStoreError(told[0], "ERR_CONFLICT")).toBe(true);
  });

  it("tells only the one who watches", async () => {
    const told: unknown[] = [];
    await store.close();
    store = await open({ workers: 0, onError: (error) => told.push(error) });
    await expect(save("m", 1, { step: 0.5 })).rejects.toThrowError(code("ERR_INVALID_ARGUMENT"));
    await expect(store.checkpoints.save("m", one(1), { step: -1 }).captured).rejects.toThrowError();
    expect(told).toEqual([]);
    await save("m", 1);
  });

  it("lets close wait for what is in flight, and takes nothing after it", async () => {
    const tickets = [1, 2, 3].map((value) => store.checkpoints.save("m", one(value)));
    const collecting = store.gc();
    await store.close();
    await collecting;
    expect(
      (await Promise.all(tickets.map((ticket) => ticket.durable))).map(({ version }) => version),
    ).toEqual([1, 2, 3]);
    expect((await errorOf(() => save("m", 4))).code).toBe("ERR_CLOSED");
    expect((await errorOf(() => store.checkpoints.open("m"))).code).toBe("ERR_CLOSED");
    expect((await errorOf(() => store.gc())).code).toBe("ERR_CLOSED");
    expect((await errorOf(() => store.checkpoints.refs())).code).toBe("ERR_CLOSED");
    store = await open({ workers: 0 });
    expect(store.checkpoints.log("m").length).toBe(3);
  });

  it("leaves nothing visible when it is aborted, wherever that hits", async () => {
    await seeded(async (random: Random) => {
      await save("m", 1);
      const data = random.fill(new Uint8Array(3 << 20));
      const tensors: Record<string, Tensor> = { big: { dtype: "U8", shape: [data.byteLength], data } };
      for (let round = 0; round < 8; round++) {
        const controller = new AbortController();
        const limit = random.below(4 << 20);
        const onProgress = ({ doneBytes }: { doneBytes: number }) => {
          if (doneBytes >= limit) controller.abort();
        };
        const options = { signal: controller.signal, onProgress };
        await store.checkpoints.save("m", tensors, options).durable.catch((error) => {
          expect(isStoreError(error, "ERR_ABORTED"), String(error)).toBe(true);
        });
      }
      const versions = store.checkpoints.log("m").length;
      await store.gc();
      const check = await store.check({ readData: true });
      expect(check.problems).toEqual([]);
      expect(await valueAt("m@1")).toBe(1);
      expect((await save("m", 5)).version).toBe(versions + 1);
    });
  });
});

describe("parents and branches", () => {
  it("refuse a save from a version that is no longer the newest, and change nothing", async () => {
    await save("m", 1);
    await save("m", 2);
    const refused = await errorOf(() => save("m", 3, { parent: 1 }));
    expect(refused.code).toBe("ERR_CONFLICT");
    expect(refused.hint).toMatch(/another ref/);
    expect(store.checkpoints.log("m").map(({ version }) => version)).toEqual([1, 2]);
    expect((await save("m", 3, { parent: 2 })).version).toBe(3);
  });

  it("let a branch begin under another ref at any version", async () => {
    for (const value of [1, 2, 3]) await save("m", value);
    await save("branch", 9, { parent: "m@1" });
    expect(store.checkpoints.log("branch")[0]).toMatchObject({
      version: 1,
      parent: { ref: "m", version: 1 },
    });
    expect(await valueAt("branch")).toBe(9);
    expect((await errorOf(() => save("branch", 9, { parent: "m@2" }))).code).toBe("ERR_CONFLICT");
  });

  it("name a parent that is not there", async () => {
    await save("m", 1);
    expect((await errorOf(() => save("m", 1, { parent: 7 }))).code).toBe("ERR_NOT_FOUND");
    expect((await errorOf(() => save("m", 1, { parent: "nowhere@1" }))).code).toBe("ERR_NOT_FOUND");
  });
});

describe("selectors", () => {
  beforeEach(async () => {
    await save("model", 1, { step: 100, metrics: { loss: 0.5, acc: 0.1 } });
    await save("model", 2, { step: 200, metrics: { loss: 0.2, acc: 0.9 } });
    await save("model", 3, { step: 300, metrics: { loss: 0.3 } });
    await store.checkpoints.tag("model@1", "deployed");
  });

  it("find versions by number, recency, tag, step and metric", async () => {
    const expected = { "@2": 2, "@latest": 3, "": 3, "@deployed": 1, "@step:200": 2, "@best:loss": 2 };
    for (const [selector, value] of Object.entries(expected)) {
      expect(await valueAt(`model${selector}`), selector).toBe(value);
    }
    expect(await valueAt("model@best:loss:max")).toBe(1);
    expect(await valueAt("model@best:acc:max")).toBe(2);
    expect(await valueAt("model@best:acc:min")).toBe(1);
  });

  it("say what is nearest when they find nothing", async () => {
    const hints = {
      modle: "model",
      "model@9": "3, 2, 1",
      "model@deploid": "deployed",
      "model@step:210": "step:200",
      "model@best:los": "loss",
    };
    for (const [selector, nearest] of Object.entries(hints)) {
      const { code, hint } = await errorOf(() => store.checkpoints.open(selector));
      expect({ code, near: hint?.includes(nearest) }, selector).toEqual({
        code: "ERR_NOT_FOUND",
        near: true,
      });
    }
    const { hint } = await errorOf(async () => (await store.checkpoints.open("model")).tensor("v"));
    expect(hint).toMatch(/w/);
  });

  it("refuse a tag that moves, one on a pruned version, and names that look like selectors", async () => {
    expect((await errorOf(() => store.checkpoints.tag("model@2", "deployed"))).code).toBe("ERR_CONFLICT");
    await store.checkpoints.tag("model@1", "deployed");
    for (const name of ["12", "latest", "", "a b", "step:3", "-x", "x".repeat(256)]) {
      expect((await errorOf(() => store.checkpoints.tag("model@1", name))).code, name).toBe(
        "ERR_INVALID_ARGUMENT",
      );
    }
    // Pruned by another process between look-up and tag.
    const other = await open({ workers: 0 });
    const tagging = store.checkpoints.registry.tag("model", 2, "late");
    await other.close();
    await tagging;
    await store.checkpoints.prune("model", { keepTags: true });
    expect((await errorOf(() => store.checkpoints.registry.tag("model", 99, "never"))).code).toBe(
      "ERR_NOT_FOUND",
    );
  });
});

describe("prune", () => {
  const kept = async (options: Parameters<Store["checkpoints"]["prune"]>[1]) =>
    (await store.checkpoints.prune("m", { ...options, dryRun: true })).kept;

  beforeEach(async () => {
    for (let i = 1; i <= 10; i++) await save("m", i, { step: i * 10, metrics: { loss: Math.abs(i - 4) } });
    await store.checkpoints.tag("m@2", "t");
  });

  it("keeps what any rule keeps, the current version and tagged ones", async () => {
    expect(await kept({ keepLast: 1 })).toEqual([2, 10]);
    expect(await kept({ keepLast: 3 })).toEqual([2, 8, 9, 10]);
    expect(await kept({ keepEvery: 50 })).toEqual([1, 2, 5, 10]);
    expect(await kept({ keepBest: { metric: "loss", mode: "min" } })).toEqual([2, 4, 10]);
    expect(await kept({ keepBest: { metric: "loss", mode: "max" }, keepLast: 2 })).toEqual([2, 9, 10]);
    expect(await kept({ keepTags: true })).toEqual([2, 10]);
    expect(await kept({ keepLast: 2, keepEvery: 50, keepBest: { metric: "loss", mode: "min" } })).toEqual([
      1, 2, 4, 5, 9, 10,
    ]);
    expect(store.checkpoints.log("m").length).toBe(10);
  });

  it("removes the rest for good, never numbers them again, and gc takes their bytes", async () => {
    const { pruned } = await store.checkpoints.prune("m", { keepLast: 1 });
    expect(pruned).toEqual([1, 3, 4, 5, 6, 7, 8, 9]);
    expect((await errorOf(() => store.checkpoints.open("m@3"))).code).toBe("ERR_NOT_FOUND");
    expect((await store.gc()).chunksRemoved).toBeGreaterThan(0);
    expect([await valueAt("m@2"), await valueAt("m")]).toEqual([2, 10]);
    expect((await save("m", 11)).version).toBe(11);
    expect((await store.check({ readData: true })).problems).toEqual([]);
  });

  it("does nothing without a rule or with a senseless one", async () => {
    for (const options of [{}, { keepLast: 0 }, { keepLast: 1.5 }, { keepEvery: -3 }]) {
      expect((await errorOf(() => store.checkpoints.prune("m", options))).code).toBe("ERR_INVALID_ARGUMENT");
    }
  });
});

/** A tensor of a dtype with random bits. */
function randomTensor(random: Random, dtype: DType, shape: number[]): Tensor {
  const bits = shape.reduce((product, axis) => product * axis, 1) * dtypeBits(dtype);
  return { dtype, shape, data: random.fill(new Uint8Array(bits / 8)) };
}

describe("tensors", () => {
  it("of every dtype and odd shapes and names come back bit by bit", async () => {
    await seeded(async (random) => {
      const tensors = new Map<string, Tensor>();
      for (const dtype of DTYPES) {
        tensors.set(`${dtype} matrix`, randomTensor(random, dtype, [6, 8]));
        tensors.set(`${dtype} empty`, randomTensor(random, dtype, [0, 3]));
        if (dtypeBits(dtype) % 8 === 0) tensors.set(`${dtype} scalar`, randomTensor(random, dtype, []));
      }
      for (const name of [
        "__proto__",
        "constructor",
        "../../x",
        "/etc/passwd",
        "",
        "a\0b",
        "ü\u{1f980}",
        "x".repeat(5000),
      ]) {
        tensors.set(name, randomTensor(random, "I16", [3]));
      }
      tensors.set("large", randomTensor(random, "BF16", [300, 400]));
      for (let round = 0; round < 2; round++) {
        await store.checkpoints.save("m", tensors).durable;
        const restored = await store.checkpoints.restore("m");
        expect([...restored.keys()].sort()).toEqual([...tensors.keys()].sort());
        const checkpoint = await store.checkpoints.open("m");
        for (const [name, saved] of tensors) {
          for (const found of [restored.get(name)!, await checkpoint.tensor(name)]) {
            expect({ dtype: found.dtype, shape: found.shape }).toEqual({
              dtype: saved.dtype,
              shape: saved.shape,
            });
            expect(Buffer.compare(tensorBytes(found), tensorBytes(saved)), name).toBe(0);
          }
        }
        (tensors.get("large")!.data as Uint8Array)[17] = round;
      }
    });
  });

  it("are refused when two have one name", async () => {
    const error = await errorOf(
      () =>
        store.checkpoints.save("m", [
          ["w", f32(1)],
          ["w", f32(2)],
        ]).durable,
    );
    expect(error.code).toBe("ERR_INVALID_ARGUMENT");
  });

  it("are restored into memory of either kind, all or none", async () => {
    const big = Float32Array.from({ length: 200_000 }, (_, i) => i);
    await store.checkpoints.save("m", { a: f32(1, 2), big: { dtype: "F32", shape: [200_000], data: big } })
      .durable;
    for (const make of [(n: number) => new ArrayBuffer(n), (n: number) => new SharedArrayBuffer(n)]) {
      const a = new Float32Array(make(8));
      const target = new Float32Array(make(800_000));
      await store.checkpoints.restoreInto("m", {
        a: { dtype: "F32", shape: [2], data: a },
        big: { dtype: "F32", shape: [200_000], data: target },
      });
      expect([...a]).toEqual([1, 2]);
      expect(target.every((value, i) => value === i)).toBe(true);
    }
    const a = Float32Array.of(7, 7);
    for (const wrong of [f32(1, 2, 3), { dtype: "I32", shape: [2], data: Int32Array.of(1, 2) } as const]) {
      const misfit = { a: { dtype: "F32", shape: [2], data: a }, big: wrong } as Record<string, Tensor>;
      expect((await errorOf(() => store.checkpoints.restoreInto("m", misfit))).code).toBe("ERR_CONFLICT");
      expect([...a]).toEqual([7, 7]);
    }
  });

  it("bring their resume blob back, empty or large", async () => {
    for (const sizeBytes of [0, 1, 3_000_000]) {
      const resume = new Random(3).fill(new Uint8Array(sizeBytes));
      await save("m", 1, { resume });
      expect(Buffer.compare((await store.checkpoints.readResume("m"))!, resume)).toBe(0);
    }
    await save("m", 1);
    expect(await store.checkpoints.readResume("m")).toBeUndefined();
  });
});

describe("diff", () => {
  it("agrees with a plain comparison of every element", async () => {
    await seeded(async (random) => {
      const a = Float32Array.from({ length: 150_000 }, () => random.next() / 2 ** 30);
      const b = a.map((value) => (random.chance(0.1) ? value + 0.5 : value));
      b[3] = Number.NaN;
      const ints = BigInt64Array.of(2n ** 60n, 5n, -(2n ** 62n));
      const others = BigInt64Array.of(2n ** 60n + 1n, 5n, 2n ** 62n);
      const at = (w: Float32Array, i: BigInt64Array, extra: Record<string, Tensor>) => ({
        w: { dtype: "F32", shape: [150_000], data: w } as Tensor,
        i: { dtype: "I64", shape: [3], data: i } as Tensor,
        reshaped: f32(...Object.keys(extra).map(() => 1)),
        ...extra,
      });
      await store.checkpoints.save("m", at(a, ints, { gone: f32(1) })).durable;
      await store.checkpoints.save("m", at(b, others, { new1: f32(1), new2: f32(2) })).durable;
      const diffs = new Map((await store.checkpoints.diff("m@1", "m@2")).map((each) => [each.name, each]));
      let [changed, sum, max, normA] = [0, 0, 0, 0];
      a.forEach((x, i) => {
        normA += x * x;
        if (!Object.is(x, b[i])) changed += 1;
        if (Number.isNaN(b[i])) return;
        sum += Math.abs(x - b[i]!);
        max = Math.max(max, Math.abs(x - b[i]!));
      });
      const w = diffs.get("w")!;
      expect(w.status).toBe("changed");
      expect(w.changed).toBe(changed);
      expect(w.maxAbs).toBe(max);
      expect(w.meanAbs).toBeCloseTo(sum / 149_999, 9);
      expect(w.normA).toBeCloseTo(Math.sqrt(normA), 3);
      expect(diffs.get("i")).toMatchObject({ changed: 2, maxAbs: 2 ** 63 });
      expect(diffs.get("i")!.meanAbs).toBe((1 + 2 ** 63) / 3);
      expect(["gone", "new1", "reshaped"].map((name) => diffs.get(name)?.status)).toEqual([
        "removed",
        "added",
        "reshaped",
      ]);
      expect((await store.checkpoints.diff("m@1", "m@1")).every(({ status }) => status === "same")).toBe(
        true,
      );
    });
  });
});

describe("a store opened for reading", () => {
  it("restores and changes nothing", async () => {
    await save("m", 4);
    const reader = await open({ readOnly: true, create: false, workers: 0 });
    try {
      const restored = await reader.checkpoints.restore("m");
      expect(restored.get("w")!.data[0]).toBe(4);
      for (const change of [
        () => reader.checkpoints.save("m", one(5)).durable,
        () => reader.checkpoints.tag("m@1", "t"),
        () => reader.checkpoints.prune("m", { keepLast: 1 }),
        () => reader.gc(),
      ]) {
        expect((await errorOf(change)).code).toBe("ERR_INVALID_ARGUMENT");
      }
      await save("m", 6);
      expect(reader.checkpoints.log("m").length).toBe(2);
    } finally {
      await reader.close();
    }
  });
});
