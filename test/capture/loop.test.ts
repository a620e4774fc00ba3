import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Tensor } from "../../formats/tensor.ts";
import { type OpenStoreOptions, openStore, type Store } from "../../open-store.ts";
import { isStoreError } from "../../src/errors.ts";

let directory: string;
let store: Store;

const open = (options: OpenStoreOptions = {}) =>
  openStore(join(directory, "store"), { create: true, ...options });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-loop-"));
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

type Model = Record<string, Tensor>;

const shape = (...axes: number[]) => ({ dtype: "F32" as const, shape: axes });
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "resolved",
    (error: unknown) => (isStoreError(error) ? error.code : String(error)),
  );

describe("memory that was taken away between two saves", () => {
  it("is refused, and never what was there before", async () => {
    store = await open({ workers: 0, stagingBytes: 1 << 20 });
    for (const sizeBytes of [400, 3 << 20]) {
      const data = new Uint8Array(sizeBytes).fill(7);
      const model: Model = { w: { dtype: "U8", shape: [sizeBytes], data } };
      await store.checkpoints.save(`m${sizeBytes}`, model).durable;
      structuredClone(data.buffer, { transfer: [data.buffer] });
      expect(() => store.checkpoints.save(`m${sizeBytes}`, model)).toThrowError(/needs \d+ bytes but has 0/);
    }
  });
});

describe("memory that was saved", () => {
  it("is nobody's but the caller's once that save is durable, with and without the scratch file", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    store = await open({ workers: 0, stagingBytes: 2 << 20 });
    const held: WeakRef<object>[] = [];
    const saveOne = async (ref: string, sizeBytes: number) => {
      const { w } = store.checkpoints.allocate({ w: { dtype: "U8", shape: [sizeBytes] } });
      held.push(new WeakRef(w.data.buffer));
      await store.checkpoints.save(ref, { w }).durable;
    };
    for (const sizeBytes of [1000, 8 << 20]) await saveOne(`m${sizeBytes}`, sizeBytes);
    await expect
      .poll(() => {
        collect();
        return held.filter((each) => each.deref() !== undefined).length;
      })
      .toBe(0);
  });
});

describe("fences that nobody waits for", () => {
  it("end no process when their save is aborted, and carry the reason", async () => {
    store = await open({ workers: 2 });
    const unhandled: unknown[] = [];
    const note = (error: unknown) => unhandled.push(error);
    process.on("unhandledRejection", note);
    try {
      const model = store.checkpoints.allocate({ w: shape(1 << 20) });
      const stop = new AbortController();
      const ticket = store.checkpoints.save("m", model, { signal: stop.signal });
      const fence = ticket.tensorCaptured("w");
      const reason = new Error("enough");
      stop.abort(reason);
      const error = await ticket.durable.catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "ERR_ABORTED", cause: reason });
      await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).toEqual([]);
      await fence.catch(() => {});
    } finally {
      process.off("unhandledRejection", note);
    }
  });

  it("are not begun for options that mean nothing", async () => {
    store = await open({ workers: 0, stagingBytes: 1 << 20, spoolBytes: 0 });
    const model = store.checkpoints.allocate({ w: shape(1 << 20) });
    for (const options of [{ onPressure: "drop" }, { signal: {} }]) {
      const { durable } = store.checkpoints.save("m", model, options as never);
      expect(await codeOf(durable)).toBe("ERR_INVALID_ARGUMENT");
    }
    // They hold no room: this one would wait for it for ever.
    await Promise.all([1, 2].map(() => store.checkpoints.save("m", model).durable));
  });
});

describe("a training loop", () => {
  it("saves as it goes, goes on where it was, and waits for what it saved", async () => {
    store = await open({ workers: 2 });
    const model = store.checkpoints.allocate({ w: shape(1000) });
    const durable: number[] = [];
    const options = {
      every: 3,
      steps: 7,
      onDurable: ({ version }: { version: number }) => durable.push(version),
    };
    for await (const step of store.checkpoints.loop("m", model, options)) {
      await step.update(() => model.w.data.fill(step.step as never));
      step.report({ metrics: { loss: 1 / step.step } });
      if (step.step === 7) step.save({ metadata: { note: "last" } });
    }
    expect(durable).toEqual([1, 2, 3]);
    expect(store.checkpoints.log("m").map(({ step }) => step)).toEqual([3, 6, 7]);
    expect(store.checkpoints.log("m")[2]).toMatchObject({
      metrics: { loss: 1 / 7 },
      metadata: { note: "last" },
    });
    model.w.data.fill(0 as never);
    const seen: number[] = [];
    for await (const step of store.checkpoints.loop("m", model, { steps: 9 })) {
      if (step.step === 8) {
        expect(step.resumed?.version).toBe(3);
        expect(model.w.data[0]).toBe(7);
      }
      seen.push(step.step);
    }
    expect(seen).toEqual([8, 9]);
  });

  it("throws a save's failure at the next step", async () => {
    store = await open({ workers: 0 });
    const model = store.checkpoints.allocate({ w: shape(10) });
    const run = async () => {
      for await (const step of store.checkpoints.loop("m", model, { every: 1, steps: 50 })) {
        step.report({ metrics: { loss: step.step === 2 ? Number.NaN : 1 } });
        await step.writable();
      }
    };
    expect(await codeOf(run())).toBe("ERR_INVALID_ARGUMENT");
  });

  it("throws it too when it is left by break or by its end, but never instead of the body's own", async () => {
    store = await open({ workers: 0 });
    const model = store.checkpoints.allocate({ w: shape(10) });
    const tooLarge = { metadata: { text: "x".repeat(2 << 20) } };
    const run = async (leave: (step: number) => boolean) => {
      for await (const step of store.checkpoints.loop("m", model, { steps: 2 })) {
        if (step.step === 1) step.save(tooLarge);
        if (leave(step.step)) break;
      }
    };
    expect(await codeOf(run((step) => step === 2))).toBe("ERR_LIMIT");
    expect(await codeOf(run(() => false))).toBe("ERR_LIMIT");
    const thrown = run((step) => {
      if (step === 2) throw new Error("the body's own");
      return false;
    });
    await expect(thrown).rejects.toThrowError("the body's own");
    const late = async () => {
      const stop = new AbortController();
      for await (const step of store.checkpoints.loop("m", model, {
        steps: 1,
        every: 1,
        signal: stop.signal,
      })) {
        setImmediate(() => stop.abort());
        await step.writable();
      }
    };
    const outcome = await codeOf(late());
    expect(outcome).toBe(store.checkpoints.refs().length === 1 ? "resolved" : "ERR_ABORTED");
  });

  it("waits for a save that a skipped one came after", async () => {
    store = await open({ workers: 1, stagingBytes: 1 << 20, spoolBytes: 0 });
    const model = store.checkpoints.allocate({ w: shape(4 << 20) });
    model.w.data.fill(1 as never);
    const options = { steps: 3, every: 1, onPressure: "skip" as const };
    for await (const step of store.checkpoints.loop("m", model, options)) {
      // The second step writes nothing, so that its save comes while the first is still being captured.
      if (step.step === 3) await step.update(() => model.w.data.fill(2 as never));
    }
    expect((await store.stats()).capture.skips).toBeGreaterThan(0);
    const saved = (await store.checkpoints.restore("m@1")).get("w")!.data as Float32Array;
    expect(saved.every((value) => value === 1)).toBe(true);
  });

  it("throws what its onDurable throws, and refuses senseless numbers", async () => {
    store = await open({ workers: 0 });
    const model = store.checkpoints.allocate({ w: shape(10) });
    const run = async (options: object) => {
      for await (const step of store.checkpoints.loop("m", model, { steps: 1, ...options }))
        await step.writable();
    };
    const onDurable = () => {
      throw new Error("the caller's own");
    };
    await expect(run({ every: 1, onDurable })).rejects.toThrowError("the caller's own");
    for (const options of [{ steps: Number.NaN }, { steps: -1 }, { every: 0 }, { every: 1.5 }]) {
      expect(await codeOf(run(options))).toBe("ERR_INVALID_ARGUMENT");
    }
  });
});
