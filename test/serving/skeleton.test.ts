import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sourceOf } from "../../formats/byte-source.ts";
import { readOnnxLayout } from "../../formats/onnx/reader.ts";
import { OnnxSkeleton } from "../../formats/onnx/skeleton.ts";
import { openStore, type SkeletonOptions, type Store, type Tensor } from "../../index.ts";
import { ONNX_EXTERNAL_BYTES_MIN } from "../../src/limits.ts";
import { attributeOf, field, graphOf, intField, modelOf, nodeOf, tensorOf } from "../formats/onnx-file.ts";
import { runtime } from "./runtime.ts";

const F32 = (shape: number[], value: number): Tensor => ({
  dtype: "F32",
  shape,
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
});
const bytesOf = ({ data }: Tensor) => new Uint8Array(data.buffer);
const N = 2048;

/**
 * `y = (x · w + b) + k`, where w is large, b is small, k sits in a node of its own, and a constant of another kind says
 * how long the answer is: the four ways in which real models keep numbers.
 */
function affineModel({ external = false } = {}): Uint8Array {
  const node = (operator: string, inputs: string[], output: string, ...attributes: Buffer[]) =>
    Buffer.concat([
      ...inputs.map((name) => field(1, name)),
      field(2, output),
      field(3, `${operator}-${output}`),
      field(4, operator),
      ...attributes.map((each) => field(5, each)),
    ]);
  const value = (name: string) => {
    const shape = field(2, field(1, intField(1, N)));
    return Buffer.concat([field(1, name), field(2, field(1, Buffer.concat([intField(1, 1), shape])))]);
  };
  const own = external
    ? { external: { location: "weights.bin", offset: "0", length: String(4 * N) } }
    : { raw: bytesOf(F32([N], 1)) };
  const constant = attributeOf(
    "value",
    field(5, tensorOf({ dims: [1], raw: bytesOf(F32([1], 0)) })),
    intField(20, 4),
  );
  const graph = Buffer.concat([
    graphOf({
      nodes: [
        node("Mul", ["x", "w"], "p"),
        node("Add", ["p", "b"], "q"),
        node("Constant", [], "k", constant),
        node("Add", ["q", "k"], "r"),
        node("Reshape", ["r", "shape"], "y"),
      ],
      initializers: [
        tensorOf({ name: "w", dims: [N], ...own }),
        tensorOf({ name: "b", dims: [1], raw: bytesOf(F32([1], 0)) }),
        tensorOf({
          name: "shape",
          type: 7,
          dims: [1],
          raw: new Uint8Array(BigInt64Array.of(BigInt(N)).buffer),
        }),
      ],
    }),
    field(2, "affine"),
    field(11, value("x")),
    field(12, value("y")),
  ]);
  return Buffer.concat([intField(1, 8), field(7, graph), field(8, intField(2, 13))]);
}

describe("a skeleton", () => {
  it("names what can be replaced, as the model declares it", () => {
    const { tensors } = new OnnxSkeleton(affineModel());
    expect(tensors.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
      ["Constant-k.value", "F32", [1]],
      ["w", "F32", [N]],
      ["b", "F32", [1]],
      ["shape", "I64", [1]],
    ]);
    expect(tensors.filter(({ isInitializer }) => isInitializer).map(({ name }) => name)).toEqual([
      "w",
      "b",
      "shape",
    ]);
  });

  it("is, with its holes filled with its own values, the model it was", () => {
    const bytes = affineModel();
    const skeleton = new OnnxSkeleton(bytes);
    const { model, places } = skeleton.shell(new Set(skeleton.tensors));
    const layout = readOnnxLayout(sourceOf(bytes)).layout.spans;
    // What was large is outside now; what was small is in holes of its size.
    expect(model.byteLength).toBeLessThan(bytes.byteLength - 4 * N + 100);
    const again = new OnnxSkeleton(model);
    expect(again.tensors.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual(
      skeleton.tensors.map(({ name, dtype, shape }) => [name, dtype, shape]),
    );
    expect(again.locations).toEqual(["tensor-0"]);
    for (const { tensor, at } of places) {
      if ("location" in at) {
        expect([tensor.name, tensor.sizeBytes >= ONNX_EXTERNAL_BYTES_MIN]).toEqual(["w", true]);
        continue;
      }
      model.fill(7, at.offset, at.offset + tensor.sizeBytes);
      const filled = new OnnxSkeleton(model).shell(new Set());
      expect(Buffer.from(filled.model).equals(model)).toBe(true);
    }
    expect(layout.map(({ name }) => name)).toEqual(["w"]);
    expect(Buffer.from(model).includes(Buffer.alloc(8, 7))).toBe(true);
  });

  it("keeps initializers of every encoding replaceable, and others only where they are a run of bytes", () => {
    // Half-precision numbers as a list of varints (field 5), and an empty tensor.
    const listed = Buffer.concat([
      tensorOf({ name: "half", type: 10, dims: [3] }),
      field(5, Buffer.from([1, 2, 3])),
    ]);
    const empty = tensorOf({ name: "empty", dims: [0], raw: new Uint8Array(0) });
    const inNode = nodeOf("n", [
      attributeOf(
        "value",
        field(5, Buffer.concat([tensorOf({ type: 10, dims: [3] }), field(5, Buffer.from([1, 2, 3]))])),
      ),
    ]);
    const skeleton = new OnnxSkeleton(modelOf(graphOf({ nodes: [inNode], initializers: [listed, empty] })));
    const [node, half, none] = skeleton.tensors;
    const { places, model } = skeleton.shell(new Set([half!, none!]));
    expect(places.map(({ tensor }) => tensor.name)).toEqual(["half", "empty"]);
    expect(new OnnxSkeleton(model).tensors.map(({ name }) => name)).toEqual(["n.value", "half", "empty"]);
    expect(() => skeleton.shell(new Set([node!]))).toThrow(/no run of bytes/);
  });
});

describe.skipIf(runtime === undefined)("weights in a skeleton", () => {
  let directory: string;
  let store: Store;
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), "varve-skeleton-"));
    store = await openStore(join(directory, "store"), { create: true, workers: 1 });
  });
  afterEach(async () => {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const inputs = { x: F32([N], 2) };
  const save = async (tensors: Record<string, Tensor>, ref = "weights") =>
    (await store.checkpoints.save(ref, tensors).durable).version;
  const serve = (onnx: SkeletonOptions, more = {}) =>
    store.checkpoints.serve("weights", { onnx, runtime: runtime!, probe: { inputs }, ...more });
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
  };

  it("go live as they are saved: large and small ones, and one in a node", async () => {
    const version = (w: number, b: number, k: number) => ({
      w: F32([N], w),
      b: F32([1], b),
      "Constant-k.value": F32([1], k),
    });
    await save(version(3, 1, 0));
    await using model = await serve({ skeleton: affineModel(), keep: ["shape"] });
    const answer = async () => (await model.run(inputs)).outputs["y"]!.data;
    expect([...(await answer())].every((value) => value === 7)).toBe(true);
    for (const [w, b, k] of [
      [5, 10, 100],
      [-1, 0.5, 0.25],
    ] as const) {
      const saved = await save(version(w, b, k));
      await until(() => model.version === saved);
      expect([...(await answer())].every((value) => value === 2 * w + b + k)).toBe(true);
    }
  });

  it("are named as they were saved, and may be part of a larger version", async () => {
    await save({ "model.w": F32([N], 4), "model.b": F32([1], 1), "optimizer.m": F32([3], 9) });
    const path = join(directory, "skeleton.onnx");
    writeFileSync(path, affineModel());
    await using prefixed = await serve({ skeleton: path, tensors: "model.", keep: ["shape"] });
    expect((await prefixed.run(inputs)).outputs["y"]!.data[0]).toBe(9);
    await using mapped = await serve({
      skeleton: path,
      tensors: { w: "model.w", b: "model.b" },
      keep: ["shape"],
    });
    expect((await mapped.run(inputs)).outputs["y"]!.data[0]).toBe(9);
  });

  it("come without the skeleton's own only when that is asked for", async () => {
    await save({ w: F32([N], 4) });
    await expect(serve({ skeleton: affineModel() })).rejects.toMatchObject({
      code: "ERR_CONFLICT",
      context: { missing: ["b", "shape"] },
    });
    await using model = await serve({ skeleton: affineModel(), keep: true });
    expect((await model.run(inputs)).outputs["y"]!.data[0]).toBe(8);
  });

  it("of another shape, dtype or name are refused loudly, and the version before goes on", async () => {
    const good = { w: F32([N], 1), b: F32([1], 0) };
    await save(good);
    const refused: { code: string; message: string; context: Record<string, unknown> }[] = [];
    const onRefused = (error: (typeof refused)[number]) => refused.push(error);
    await using model = await serve({ skeleton: affineModel(), keep: ["shape"] }, { onRefused });
    await save({ ...good, w: F32([N, 1], 1) });
    await until(() => refused.length === 1);
    await save({ ...good, b: { dtype: "F64", shape: [1], data: new Float64Array(1) } });
    await until(() => refused.length === 2);
    await save({ w: good.w, bias: good.b });
    await until(() => refused.length === 3);
    await save({ other: F32([2], 1) });
    await until(() => refused.length === 4);
    expect(refused.map(({ code }) => code)).toEqual(new Array(4).fill("ERR_CONFLICT"));
    expect(refused[0]!.context).toMatchObject({
      tensor: "w",
      expected: `F32 [${N}]`,
      found: `F32 [${N}, 1]`,
    });
    expect(refused[1]!.context).toMatchObject({ tensor: "b", expected: "F32 [1]", found: "F64 [1]" });
    expect(refused[2]!.message).toMatch(/lacks "b"/);
    expect((await model.run(inputs)).version).toBe(1);
    const version = await save({ ...good, b: F32([1], 5) });
    await until(() => model.version === version);
    expect((await model.run(inputs)).outputs["y"]!.data[0]).toBe(7);
  });

  it("are refused with a skeleton that is none, or names that it does not have", async () => {
    await save({ w: F32([N], 1), b: F32([1], 0) });
    await expect(serve({ skeleton: Buffer.from("no model at all") })).rejects.toMatchObject({
      code: "ERR_FORMAT_ONNX",
    });
    await expect(serve({ skeleton: join(directory, "none.onnx") })).rejects.toMatchObject({
      code: "ERR_NOT_FOUND",
    });
    await expect(serve({ skeleton: affineModel(), keep: ["shapes"] })).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
      context: { nearest: ["shape"] },
    });
  });

  it("go into a skeleton that is a version itself, whose own weights lie in a file beside it", async () => {
    const folder = join(directory, "export");
    const { mkdirSync } = await import("node:fs");
    mkdirSync(folder);
    writeFileSync(join(folder, "model.onnx"), affineModel({ external: true }));
    writeFileSync(join(folder, "weights.bin"), bytesOf(F32([N], 6)));
    await store.checkpoints.saveFiles("net", [folder]);
    // As it was exported: its external data are served with it.
    await using whole = await store.checkpoints.serve("net", {
      onnx: true,
      runtime: runtime!,
      probe: { inputs },
    });
    expect((await whole.run(inputs)).outputs["y"]!.data[0]).toBe(12);
    await save({ b: F32([1], 3) });
    const skeleton = { version: "net@1" };
    await using kept = await serve({ skeleton, keep: true });
    expect((await kept.run(inputs)).outputs["y"]!.data[N - 1]).toBe(15);
    await save({ w: F32([N], 1), b: F32([1], 3) });
    await until(() => kept.version === 2);
    expect((await kept.run(inputs)).outputs["y"]!.data[N - 1]).toBe(5);
    // Without the files beside it, what it keeps is nowhere.
    await save({ b: F32([1], 3) });
    const alone = serve({ skeleton: affineModel({ external: true }), keep: true });
    await expect(alone).rejects.toMatchObject({
      code: "ERR_CONFLICT",
      context: { locations: ["weights.bin"] },
    });
  });
});
