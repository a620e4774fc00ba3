import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type Store, type Tensor } from "../../index.ts";
import { linearModel } from "./onnx-model.ts";
import { bench, runtime } from "./runtime.ts";

const x = (value: number): Tensor => ({
  dtype: "F32",
  shape: [256],
  data: new Float32Array(256).fill(value),
});
const inputs = { x: x(2) };

describe.skipIf(runtime === undefined)("a served model", () => {
  let directory: string;
  let store: Store;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "varve-serving-"));
    store = await openStore(join(directory, "store"), { create: true, workers: 1 });
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function save(model: Uint8Array, ref = "m"): Promise<number> {
    const path = join(directory, "model.onnx");
    writeFileSync(path, model);
    return (await store.checkpoints.saveFiles(ref, [path])).version;
  }

  const serve = (selector = "m", more = {}) =>
    store.checkpoints.serve(selector, { onnx: true, runtime: runtime!, probe: { inputs }, ...more });

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  it("answers with the newest version and says which it was", async () => {
    await save(linearModel(3, 1));
    await using model = await serve();
    expect(model.signature).toEqual({
      inputs: [{ name: "x", type: "float32", shape: [256] }],
      outputs: [{ name: "y", type: "float32", shape: [256] }],
    });
    const { version, outputs } = await model.run(inputs);
    expect([version, outputs["y"]!.shape, outputs["y"]!.data[0]]).toEqual([1, [256], 7]);
    await save(linearModel(5, 0));
    await until(() => model.version === 2);
    expect((await model.run(inputs)).outputs["y"]!.data[255]).toBe(10);
  });

  it("never mixes versions, fails or goes back while they follow one another", async () => {
    await save(linearModel(1, 1));
    await using model = await serve();
    const swaps: number[] = [];
    let runs = 0;
    let saving = true;
    const saver = (async () => {
      for (let version = 2; version <= 12; version++) {
        await save(linearModel(version, version));
        const before = runs;
        await until(() => runs > before + 1);
      }
      saving = false;
    })();
    let last = 0;
    while (saving || last < 12) {
      const { version, outputs } = await model.run(inputs);
      const values = outputs["y"]!.data as Float32Array;
      // Version v is y = v x + v, with x = 2: every element says the same, and agrees with the number.
      expect(values.every((value) => value === 3 * version)).toBe(true);
      expect(version).toBeGreaterThanOrEqual(last);
      if (version !== last) swaps.push(version);
      last = version;
      runs++;
    }
    await saver;
    expect(swaps.at(-1)).toBe(12);
    expect(runs).toBeGreaterThan(12);
  });

  it("refuses a version that does not load, is not finite or fails its check, loudly, and goes on", async () => {
    const refused: [string, number][] = [];
    await save(linearModel(1, 0));
    const check = (outputs: Record<string, Tensor>) => {
      if (outputs["y"]!.data[0]! > 100) throw new Error("too large");
    };
    const onRefused = (error: { code: string }, version: number) => refused.push([error.code, version]);
    await using model = await serve("m", { probe: { inputs, check }, onRefused });
    const broken = Buffer.from(linearModel(1, 0));
    broken[broken.indexOf("Mul")] = "N".charCodeAt(0);
    for (const bad of [linearModel(Number.NaN, 0), linearModel(1000, 0), broken]) {
      const version = await save(bad);
      await until(() => refused.at(-1)?.[1] === version);
      const answer = await model.run(inputs);
      expect([answer.version, answer.outputs["y"]!.data[0]]).toEqual([1, 2]);
    }
    expect(refused).toEqual([
      ["ERR_CONFLICT", 2],
      ["ERR_CONFLICT", 3],
      ["ERR_FORMAT_ONNX", 4],
    ]);
    const good = await save(linearModel(2, 0));
    await until(() => model.version === good);
  });

  it("keeps a process alive while somebody waits for it, and no longer", async () => {
    await save(linearModel(3, 1));
    const child = join(import.meta.dirname, "alone.child.mjs");
    const { status, stdout } = spawnSync(process.execPath, [child, join(directory, "store"), runtime!], {
      encoding: "utf8",
    });
    expect([status, stdout]).toEqual([0, "7\n"]);
  });

  it("stays on the version that was named", async () => {
    await save(linearModel(1, 0));
    await save(linearModel(2, 0));
    await using model = await serve("m@1");
    await save(linearModel(3, 0));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect((await model.run(inputs)).version).toBe(1);
  });

  it("says what it cannot take, and ends the runs it has begun when it is closed", async () => {
    await save(linearModel(1, 0));
    const model = await serve();
    await expect(
      model.run({ x: { dtype: "F64", shape: [256], data: new Float64Array(256) } }),
    ).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
    });
    await expect(
      model.run({ x: { dtype: "BF16", shape: [256], data: new Uint8Array(512) } }),
    ).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
    });
    await expect(model.run({})).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    const running = Array.from({ length: 50 }, () => model.run(inputs));
    await model.close();
    expect((await Promise.all(running)).every(({ outputs }) => outputs["y"]!.data[0] === 2)).toBe(true);
    await expect(model.run(inputs)).rejects.toMatchObject({ code: "ERR_CLOSED" });
  });

  it("says that the runtime is missing", async () => {
    await save(linearModel(1, 0));
    await expect(store.checkpoints.serve("m", { onnx: true })).rejects.toMatchObject({
      code: "ERR_NOT_FOUND",
    });
    await expect(serve("never")).rejects.toMatchObject({ code: "ERR_NOT_FOUND" });
  });

  const silero = join(bench, "../node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx");
  it.skipIf(!existsSync(silero))(
    "answers as the file itself does: silero, restored from its chunks",
    async () => {
      await save(readFileSync(silero), "silero");
      const voice = {
        input: {
          dtype: "F32",
          shape: [1, 512],
          data: new Float32Array(512).map((_, i) => Math.sin(i / 7) / 3),
        },
        state: { dtype: "F32", shape: [2, 1, 128], data: new Float32Array(256) },
        sr: { dtype: "I64", shape: [], data: BigInt64Array.of(16000n) },
      } satisfies Record<string, Tensor>;
      await using model = await serve("silero", { probe: { inputs: voice } });
      const { outputs } = await model.run(voice);
      const ort = createRequire(bench)("onnxruntime-node");
      const session = await ort.InferenceSession.create(silero, { intraOpNumThreads: 1 });
      const direct = await session.run({
        input: new ort.Tensor("float32", voice.input.data, [1, 512]),
        state: new ort.Tensor("float32", voice.state.data, [2, 1, 128]),
        sr: new ort.Tensor("int64", voice.sr.data, []),
      });
      expect([...(outputs["output"]!.data as Float32Array)]).toEqual([...direct.output.data]);
      expect([...(outputs["stateN"]!.data as Float32Array)]).toEqual([...direct.stateN.data]);
      await session.release();
    },
  );
});
