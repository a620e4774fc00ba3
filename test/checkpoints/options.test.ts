import { rmSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Tensor } from "../../formats/tensor.ts";
import { openStore, type Store } from "../../open-store.ts";
import { temporaryDirectory } from "./processes.ts";

let directory: string;
let store: Store;
let tensors: { w: Tensor };

beforeEach(async () => {
  directory = temporaryDirectory();
  store = await openStore(`${directory}/store`, { create: true, workers: 0 });
  tensors = store.checkpoints.allocate({ w: { dtype: "F32", shape: [4] } });
  await store.checkpoints.save("m", tensors, { metrics: { loss: 1 } }).durable;
  await store.checkpoints.save("m", tensors, { metrics: { loss: 2 } }).durable;
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Refused before anything was done, by an error of ours that names what was given. */
async function expectRefused(call: () => unknown, what: RegExp, code = "ERR_INVALID_ARGUMENT") {
  const error = await (async () => call())().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error, String(what)).toMatchObject({ code, message: expect.stringMatching(what) });
}

describe("options that are not what they may be", () => {
  it("of openStore are refused by name: none makes a store that never answers", async () => {
    const wrong: Record<string, unknown[]> = {
      workers: [-1, Number.NaN, 1.5, "2", 1e9, null],
      ioBudget: [0, -1, Number.NaN, "64", true, null],
      create: ["yes", 1],
      readOnly: ["no"],
      strict: [1],
      onError: ["x"],
      onWarning: [{}],
      featureCacheBytes: ["1", -1],
      mirror: [1],
      disk: [null],
    };
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values) {
        await expectRefused(
          async () => (await openStore(`${directory}/store`, { [name]: value })).close(),
          new RegExp(`openStore: ${name} is `),
        );
      }
    }
    await expectRefused(() => openStore(`${directory}/store`, null as never), /openStore/);
  });

  it("of saves, loops, reads and upkeep are refused by name", async () => {
    const { checkpoints } = store;
    const save: Record<string, unknown[]> = {
      profile: ["fastest", 1],
      metrics: ["x", 1],
      metadata: ["x"],
      resume: ["x", 5, [1]],
      strict: [1],
      signal: ["x"],
      onProgress: [1],
      touched: [{}, "x", [null], [1], null],
    };
    for (const [name, values] of Object.entries(save)) {
      for (const value of values) {
        await expectRefused(
          () => checkpoints.save("m", tensors, { [name]: value } as never).durable,
          new RegExp(name),
        );
      }
    }
    await expectRefused(() => checkpoints.save("m", tensors, null as never).durable, /save/);
    await expectRefused(() => checkpoints.save("m", null as never), /tensors/);
    await expectRefused(() => checkpoints.allocate(undefined as never), /allocate/);
    await expectRefused(() => checkpoints.loop("m", tensors, { onDurable: 1 as never }).next(), /onDurable/);
    await expectRefused(() => checkpoints.follow("m", { signal: 1 as never }).next(), /signal/);
    await expectRefused(() => checkpoints.restore("m", { signal: 1 as never }), /signal/);
    await expectRefused(() => checkpoints.restoreInto("m", tensors, { from: 1 as never }), /from/);
    await expectRefused(() => store.gc({ dryRun: "yes" as never }), /dryRun/);
    await expectRefused(() => checkpoints.recompress({ bytesPerSecond: "1" as never }), /bytesPerSecond/);
    for (const ref of [undefined, null, 5, {}] as never[]) {
      await expectRefused(() => checkpoints.pin(ref), /ref/);
      await expectRefused(() => checkpoints.unpin(ref), /ref/);
      await expectRefused(() => checkpoints.log(ref), /ref/);
      await expectRefused(() => checkpoints.open(ref), /selector/);
    }
    expect(checkpoints.log("m").map(({ version }) => version)).toEqual([1, 2]);
  });

  it("never prune what nobody meant: the best by a metric that no version has is no rule", async () => {
    const { checkpoints } = store;
    for (const keepBest of [
      "loss",
      5,
      {},
      { metric: "loss" },
      { metric: "loss", mode: "least" },
    ] as never[]) {
      await expectRefused(() => checkpoints.prune("m", { keepBest }), /keepBest/);
    }
    const keepBest = { metric: "los", mode: "min" } as const;
    await expectRefused(() => checkpoints.prune("m", { keepBest }), /metric "los"/, "ERR_NOT_FOUND");
    expect(checkpoints.log("m").length).toBe(2);
  });

  it("name a file that is not there", async () => {
    await expectRefused(
      () => store.checkpoints.restore("m", { file: "no" }),
      /no file "no"/,
      "ERR_NOT_FOUND",
    );
  });

  it("come too late once the store is closed", async () => {
    await store.close();
    await expectRefused(() => store.backup(`${directory}/backup`), /closed/, "ERR_CLOSED");
  });
});
