import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type ByteSource, sourceOf } from "../../formats/byte-source.ts";
import { readOnnxLayout } from "../../formats/onnx/reader.ts";
import { openStore } from "../../index.ts";
import { isStoreError } from "../../src/errors.ts";
import { ONNX_DEPTH_MAX, ONNX_TENSOR_BYTES_MIN } from "../../src/limits.ts";
import { attributeOf, field, graphOf, intField, modelOf, nodeOf, tensorOf, varint } from "./onnx-file.ts";
import { randomOf } from "./random-bytes.ts";

const filled = (length: number, value = 1) => Buffer.alloc(length, value);
const weights = (name: string, value = 1) => tensorOf({ name, dims: [16, 16], raw: filled(1024, value) });

function spansOf(file: Uint8Array) {
  return readOnnxLayout(sourceOf(file)).layout.spans.map(({ name, dtype, shape, offset, sizeBytes }) => ({
    name,
    dtype,
    shape,
    first: file[offset],
    sizeBytes,
  }));
}

function ruleOf(file: Uint8Array): unknown {
  try {
    readOnnxLayout(sourceOf(file));
  } catch (error) {
    if (isStoreError(error, "ERR_FORMAT_ONNX")) return error.context["rule"];
    throw error;
  }
  return "accepted";
}

describe("an ONNX model", () => {
  it("has its tensors wherever it keeps them: initializers, attributes, graphs inside, functions, sparse ones", () => {
    const inner = graphOf({
      initializers: [weights("inner", 2)],
      nodes: [nodeOf("const", [attributeOf("value", field(5, weights("", 3)))])],
    });
    const branch = attributeOf("then_branch", field(6, inner));
    const trees = attributeOf("nodes_values", field(7, filled(2048, 4)));
    const several = attributeOf("parts", field(10, weights("x", 5)), field(10, weights("x", 6)));
    const sparse = Buffer.concat([
      field(1, tensorOf({ name: "sp", dims: [256], raw: filled(1024, 7) })),
      field(2, tensorOf({ type: 7, dims: [256], raw: filled(2048, 8) })),
    ]);
    const graph = graphOf({
      nodes: [nodeOf("If_0", [branch]), nodeOf("", [trees, several], "scores")],
      initializers: [weights("w"), weights("w", 9)],
      sparse: [sparse],
    });
    const fn = Buffer.concat([
      field(1, "Gelu"),
      field(7, nodeOf("k", [attributeOf("value", field(5, weights("", 10)))])),
    ]);
    const found = spansOf(modelOf(graph, field(25, fn)));
    expect(found.map(({ name, first }) => [name, first])).toEqual([
      ["If_0.then_branch/const.value", 3],
      ["If_0.then_branch/inner", 2],
      ["scores.nodes_values", 4],
      ["scores.parts", 5],
      ["scores.parts~2", 6],
      ["w", 1],
      ["w~2", 9],
      ["sp", 7],
      ["sparse_initializer.indices", 8],
      ["Gelu/k.value", 10],
    ]);
  });

  it.each([
    [1, "F32", 4],
    [2, "U8", 1],
    [3, "I8", 1],
    [4, "U16", 2],
    [5, "I16", 2],
    [6, "I32", 4],
    [7, "I64", 8],
    [9, "BOOL", 1],
    [10, "F16", 2],
    [11, "F64", 8],
    [12, "U32", 4],
    [13, "U64", 8],
    [14, "C64", 8],
    [16, "BF16", 2],
    [17, "F8_E4M3", 1],
    [18, "F8_E4M3FNUZ", 1],
    [19, "F8_E5M2", 1],
    [20, "F8_E5M2FNUZ", 1],
    [24, "F8_E8M0", 1],
  ])("reads type %d as %s", (type, dtype, width) => {
    const file = modelOf(
      graphOf({ initializers: [tensorOf({ name: "w", type, dims: [2, 512], raw: filled(1024 * width) })] }),
    );
    expect(spansOf(file)).toEqual([{ name: "w", dtype, shape: [2, 512], first: 1, sizeBytes: 1024 * width }]);
  });

  it("reads packed half bytes as bytes, 128-bit complex numbers as pairs, lists of floats as what they hold", () => {
    const half = tensorOf({ name: "h", type: 22, dims: [2000], raw: filled(1000) });
    const complex = tensorOf({ name: "c", type: 15, dims: [100], raw: filled(1600) });
    const listed = Buffer.concat([
      field(1, varint(200)),
      intField(2, 1),
      field(4, filled(800)),
      field(8, "l"),
    ]);
    const doubles = Buffer.concat([
      field(1, varint(100)),
      intField(2, 11),
      field(10, filled(800)),
      field(8, "d"),
    ]);
    expect(spansOf(modelOf(graphOf({ initializers: [half, complex, listed, doubles] })))).toMatchObject([
      { name: "h", dtype: "U8", shape: [1000] },
      { name: "c", dtype: "F64", shape: [100, 2] },
      { name: "l", dtype: "F32", shape: [200] },
      { name: "d", dtype: "F64", shape: [100] },
    ]);
  });

  it("keeps small tensors, texts and unknown types in its skeleton", () => {
    const least = ONNX_TENSOR_BYTES_MIN;
    const initializers = [
      tensorOf({ name: "small", type: 2, dims: [least - 1], raw: filled(least - 1) }),
      tensorOf({ name: "large enough", type: 2, dims: [least], raw: filled(least) }),
      tensorOf({ name: "text", type: 8, dims: [1], raw: filled(1000) }),
      tensorOf({ name: "later", type: 99, dims: [1], raw: filled(1000) }),
    ];
    expect(spansOf(modelOf(graphOf({ initializers }))).map(({ name }) => name)).toEqual(["large enough"]);
  });

  it("is read in constant memory: payloads are passed over, never read", () => {
    const sizeBytes = 3 * 2 ** 30;
    const tensor = Buffer.concat([
      field(1, varint(sizeBytes)),
      intField(2, 2),
      field(8, "huge"),
      varint(9 * 8 + 2),
      varint(sizeBytes),
    ]);
    const initializer = Buffer.concat([varint(5 * 8 + 2), varint(tensor.byteLength + sizeBytes), tensor]);
    const head = Buffer.concat([
      intField(1, 8),
      varint(7 * 8 + 2),
      varint(initializer.byteLength + sizeBytes),
      initializer,
    ]);
    let readBytes = 0;
    const source: ByteSource = {
      sizeBytes: head.byteLength + sizeBytes,
      read(offset, bytes) {
        readBytes += bytes;
        const part = Buffer.alloc(Math.max(0, Math.min(bytes, head.byteLength + sizeBytes - offset)));
        head.copy(part, 0, offset, Math.min(head.byteLength, offset + bytes));
        return part;
      },
    };
    const { layout } = readOnnxLayout(source);
    expect(layout.spans).toEqual([
      { name: "huge", dtype: "U8", shape: [sizeBytes], offset: head.byteLength, sizeBytes },
    ]);
    expect(readBytes).toBeLessThan(1 << 20);
  });
});

describe("a file that calls itself .onnx", () => {
  const initializer = (tensor: Buffer) => modelOf(graphOf({ initializers: [tensor] }));
  const nested = (depth: number): Buffer =>
    depth === 0
      ? graphOf({})
      : graphOf({ nodes: [nodeOf("n", [attributeOf("g", field(6, nested(depth - 1)))])] });

  it.each([
    ["nothing in it", new Uint8Array(0), "graph"],
    ["no graph", intField(1, 8), "graph"],
    ["text in it", Buffer.from("this is no model at all"), "wire"],
    ["a group", Buffer.from([0x0b]), "wire"],
    ["field number 0", Buffer.from([0x00, 0x01]), "wire"],
    ["a number that does not end", Buffer.alloc(11, 0xff), "wire"],
    ["a field past the end", Buffer.concat([varint(7 * 8 + 2), varint(1000)]), "wire"],
    ["a field past its message", modelOf(Buffer.concat([varint(5 * 8 + 2), varint(1000)])), "wire"],
    [
      "a length past 2^53",
      Buffer.concat([varint(7 * 8 + 2), Buffer.alloc(9, 0xff), Buffer.from([1])]),
      "wire",
    ],
    ["too few raw bytes", initializer(tensorOf({ name: "w", dims: [300], raw: filled(1199) })), "size"],
    ["too many raw bytes", initializer(tensorOf({ name: "w", dims: [300], raw: filled(1201) })), "size"],
    [
      "a negative axis",
      initializer(
        Buffer.concat([Buffer.from([0x08]), Buffer.alloc(9, 0xff), Buffer.from([1]), intField(2, 1)]),
      ),
      "shape",
    ],
    ["256 axes", initializer(tensorOf({ dims: Array(256).fill(1), raw: filled(4) })), "shape"],
    ["a shape past 2^64", initializer(tensorOf({ dims: [2 ** 50, 2 ** 50], raw: filled(4) })), "shape"],
    [
      "a name of a megabyte",
      initializer(tensorOf({ name: "n".repeat(1 << 20), dims: [1], raw: filled(4) })),
      "limit",
    ],
    ["graphs in graphs past the limit", modelOf(nested(ONNX_DEPTH_MAX + 1)), "depth"],
    ["graphs in graphs up to the limit", modelOf(nested(ONNX_DEPTH_MAX)), "accepted"],
  ])("with %s is held to the rule", (_, file, rule) => {
    expect(ruleOf(file)).toBe(rule);
  });

  it("ends in its error and no other, whatever bytes are changed or cut", () => {
    const random = randomOf();
    const inner = graphOf({ initializers: [weights("inner")] });
    const good = modelOf(
      graphOf({ nodes: [nodeOf("If", [attributeOf("b", field(6, inner))])], initializers: [weights("w")] }),
    );
    for (let round = 0; round < 6000; round++) {
      const file = Buffer.from(
        good.subarray(0, random.below(8) === 0 ? random.below(good.byteLength) : undefined),
      );
      for (let n = random.below(4); n >= 0 && file.byteLength > 0; n--) {
        // The payloads say nothing: most changes go where the structure is.
        const place =
          random.below(3) === 0 ? random.below(file.byteLength) : random.below(Math.min(80, file.byteLength));
        file[place] = random.below(256);
      }
      try {
        let end = 0;
        for (const span of readOnnxLayout(sourceOf(file)).layout.spans) {
          expect(span.offset).toBeGreaterThanOrEqual(end);
          end = span.offset + span.sizeBytes;
        }
        expect(end).toBeLessThanOrEqual(file.byteLength);
      } catch (error) {
        if (!isStoreError(error, "ERR_FORMAT_ONNX")) throw new Error(random.says, { cause: error });
      }
    }
  });
});

describe("ONNX versions in a store", () => {
  async function inStore(
    use: (directory: string, store: Awaited<ReturnType<typeof openStore>>) => Promise<void>,
  ) {
    const directory = mkdtempSync(join(tmpdir(), "varve-onnx-"));
    const store = await openStore(join(directory, "store"), { create: true, workers: 0 });
    try {
      await use(directory, store);
    } finally {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    }
  }

  it("keep external data as the tensors the model says it is", () =>
    inStore(async (directory, store) => {
      const external = (offset: number) => ({
        location: "model.onnx.data",
        offset: String(offset),
        length: "1024",
      });
      const initializers = [
        tensorOf({ name: "a", dims: [16, 16], external: external(4096) }),
        tensorOf({ name: "b", dims: [256], external: external(0) }),
        tensorOf({ name: "tied", dims: [256], external: external(0) }),
        tensorOf({
          name: "elsewhere",
          dims: [256],
          external: { ...external(0), location: "../../etc/passwd" },
        }),
        tensorOf({ name: "past the end", dims: [256], external: external(1 << 20) }),
      ];
      const data = Buffer.from(Uint8Array.from({ length: 6000 }, (_, i) => i));
      writeFileSync(join(directory, "model.onnx"), modelOf(graphOf({ initializers })));
      writeFileSync(join(directory, "model.onnx.data"), data);
      const paths = ["model.onnx", "model.onnx.data"].map((name) => join(directory, name));
      await store.checkpoints.saveFiles("external", paths);
      const { fileList } = await store.checkpoints.show("external");
      expect(
        fileList.map(({ name, format, tensors }) => [name, format, tensors.map((tensor) => tensor.name)]),
      ).toEqual([
        ["model.onnx", "opaque", []],
        ["model.onnx.data", "onnx-data", ["b", "a"]],
      ]);
      await store.checkpoints.restoreFiles("external", { out: `${directory}/out/` });
      expect(readFileSync(join(directory, "out/model.onnx.data"))).toEqual(data);
    }));

  it("take little more than what changed", () =>
    inStore(async (directory, store) => {
      const path = join(directory, "m.onnx");
      const floats = new Float32Array(100_000).map((_, i) => Math.sin(i * i));
      const save = () => {
        const raw = new Uint8Array(floats.buffer);
        writeFileSync(
          path,
          modelOf(graphOf({ initializers: [tensorOf({ name: "w", dims: [100_000], raw })] })),
        );
        return store.checkpoints.saveFiles("delta", [path]);
      };
      const first = await save();
      for (let i = 0; i < floats.length; i += 97) floats[i]! += 1e-6;
      const second = await save();
      expect(second.storedBytes).toBeLessThan(first.storedBytes / 8);
    }));

  const models = join(import.meta.dirname, "../../bench/node_modules/@ricky0123/vad-web/dist");
  const real = existsSync(models) ? readdirSync(models).filter((name) => name.endsWith(".onnx")) : [];

  it.skipIf(real.length === 0)(
    "are real models too, byte for byte: silero keeps its weights in nodes of branches",
    () =>
      inStore(async (directory, store) => {
        for (const name of real) {
          await store.checkpoints.saveFiles("silero", [join(models, name)]);
          const { fileList } = await store.checkpoints.show("silero");
          const tensorBytes = fileList[0]!.tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
          expect(tensorBytes / fileList[0]!.sizeBytes).toBeGreaterThan(0.8);
          const out = join(directory, name);
          await store.checkpoints.restoreFiles("silero", { out });
          expect(readFileSync(out).equals(readFileSync(join(models, name)))).toBe(true);
        }
      }),
  );
});
