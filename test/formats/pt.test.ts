import { describe, expect, it } from "vitest";
import { sourceOf } from "../../formats/byte-source.ts";
import { readPtLayout } from "../../formats/pt/reader.ts";
import { isStoreError } from "../../src/errors.ts";
import { PICKLE_RANK_MAX } from "../../src/limits.ts";
import { type Pickled, pickleOf, ptOf, tensor, zipOf } from "./pt-file.ts";
import { randomOf } from "./random-bytes.ts";

const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => i);
const matrix = { key: "0", elements: 6, shape: [2, 3], stride: [3, 1] };

function spansOf(file: Uint8Array) {
  return readPtLayout(sourceOf(file))?.spans.map(({ name, dtype, shape, offset, sizeBytes }) => ({
    name,
    dtype,
    shape,
    data: [...file.subarray(offset, offset + sizeBytes)],
  }));
}

function ruleOf(file: Uint8Array): unknown {
  try {
    readPtLayout(sourceOf(file));
  } catch (error) {
    if (isStoreError(error, "ERR_FORMAT_PT")) return error.context["rule"];
    throw error;
  }
  return "accepted";
}

describe("a .pt file", () => {
  it("has its tensors under the paths to them, each where its bytes lie", () => {
    const state: Pickled = {
      dict: [
        ["model", { dict: [["w", tensor(matrix)]] }],
        [
          "optimizer",
          { dict: [["state", { dict: [[0, tensor({ ...matrix, key: "1", storage: "HalfStorage" })]] }]] },
        ],
        [
          "history",
          [{ tuple: [tensor({ key: "2", storage: "BoolStorage", elements: 2, shape: [2], stride: [1] })] }],
        ],
        ["step", 7],
      ],
    };
    expect(spansOf(ptOf(state, { 0: bytes(24), 1: bytes(12), 2: bytes(2) }))).toEqual([
      { name: "model.w", dtype: "F32", shape: [2, 3], data: [...bytes(24)] },
      { name: "optimizer.state.0", dtype: "F16", shape: [2, 3], data: [...bytes(12)] },
      { name: "history.0.0", dtype: "BOOL", shape: [2], data: [0, 1] },
    ]);
  });

  it("gives shared bytes to one tensor: tied weights, slices and transposed views are the storage's", () => {
    const view = { ...matrix, elements: 6 };
    const state: Pickled = {
      dict: [
        ["transposed", tensor({ ...view, shape: [3, 2], stride: [1, 3] })],
        ["whole", tensor(view)],
        ["tied", tensor(view)],
        ["row", tensor({ ...view, offset: 3, shape: [3], stride: [1] })],
        ["alone", tensor({ ...view, key: "1", shape: [3, 2], stride: [1, 3] })],
        ["first", tensor({ key: "2", elements: 4, shape: [2], stride: [1] })],
        ["second", tensor({ key: "2", elements: 4, offset: 2, shape: [2], stride: [1] })],
      ],
    };
    const spans = spansOf(ptOf(state, { 0: bytes(24), 1: bytes(24), 2: bytes(16) }));
    expect(spans?.map(({ name, shape }) => [name, shape])).toEqual([
      ["transposed (storage)", [6]],
      ["alone (storage)", [6]],
      ["first", [2]],
      ["second", [2]],
    ]);
  });

  it("numbers paths that are taken, and looks once into what is reached twice", () => {
    const twice: Pickled = {
      dict: [
        ["a.b", tensor(matrix)],
        ["a", { dict: [["b", tensor({ ...matrix, key: "1" })]] }],
      ],
    };
    expect(spansOf(ptOf(twice, { 0: bytes(24), 1: bytes(24) }))?.map(({ name }) => name)).toEqual([
      "a.b",
      "a.b~2",
    ]);
    // ] q 0 ( h 0 e .  : a list that holds itself
    expect(spansOf(ptOf(Buffer.from([0x80, 2, 0x5d, 0x71, 0, 0x28, 0x68, 0, 0x65, 0x2e]), {}))).toEqual([]);
  });

  it("is left alone when it is TorchScript, big-endian or another archive", () => {
    expect(spansOf(zipOf([{ name: "word/document.xml", data: bytes(3) }]))).toBeUndefined();
    const script = [{ name: "m/constants.pkl", data: bytes(1) }];
    expect(spansOf(ptOf({ global: "__torch__.Net" }, {}, script))).toBeUndefined();
    const big = [{ name: "m/byteorder", data: Buffer.from("big") }];
    expect(spansOf(ptOf(tensor(matrix), { 0: bytes(24) }, big))).toBeUndefined();
    const little = [{ name: "m/byteorder", data: Buffer.from("little") }];
    expect(spansOf(ptOf(tensor(matrix), { 0: bytes(24) }, little))).toHaveLength(1);
  });
});

describe("a malicious .pt file", () => {
  const call = (name: string, ...args: Pickled[]): Pickled => ({ call: name, args });

  it.each([
    ["posix.system", call("posix.system", "id")],
    ["os.system", call("os.system", "id")],
    ["builtins.eval", call("builtins.eval", "1")],
    ["builtins.getattr", call("builtins.getattr", { global: "builtins.int" }, "x")],
    ["subprocess.Popen", call("subprocess.Popen", ["id"])],
    ["torch.load", call("torch.load", "x")],
    ["torch.storage._load_from_bytes", call("torch.storage._load_from_bytes", "x")],
    ["torch.hub.load", call("torch.hub.load", "x")],
    ["operator.attrgetter", call("operator.attrgetter", "x")],
    ["__builtin__.__import__", call("__builtin__.__import__", "os")],
    ["torch.__dict__", { global: "torch.__dict__" } satisfies Pickled],
    ["collections.OrderedDict.fromkeys", { global: "collections.OrderedDict.fromkeys" } satisfies Pickled],
    ["torch.nn.modules.linear.Linear", call("torch.nn.modules.linear.Linear")],
  ])("is refused for the name %s", (_, value) => {
    expect(ruleOf(ptOf({ dict: [["x", value]] }, {}))).toBe("name");
  });

  it.each([
    ["an opcode of protocol 0", Buffer.from("I1\n."), "opcode"],
    ["INST", Buffer.from("\x80\x02(ios\nsystem\n."), "opcode"],
    ["an extension", Buffer.from([0x80, 2, 0x82, 1, 0x2e]), "opcode"],
    ["protocol 1", Buffer.from([0x80, 1, 0x4e, 0x2e]), "pickle"],
    ["an empty stack", Buffer.from([0x80, 2, 0x2e]), "pickle"],
    ["no end", Buffer.from([0x80, 2, 0x4e]), "pickle"],
    ["a memo never set", Buffer.from([0x80, 2, 0x68, 9, 0x2e]), "pickle"],
    ["a text longer than the pickle", Buffer.from([0x80, 2, 0x58, 255, 255, 255, 255, 0x2e]), "pickle"],
    [
      "8-byte lengths past 2^53",
      Buffer.concat([Buffer.from([0x80, 4, 0x8d]), Buffer.alloc(8, 255)]),
      "pickle",
    ],
    ["an integer of 2 GiB", Buffer.from([0x80, 2, 0x8b, 255, 255, 255, 127, 0x2e]), "pickle"],
    ["a call of a text", `${pickleOf("x").subarray(0, -1).toString("latin1")})R.`, "pickle"],
    ["no mark", Buffer.from([0x80, 2, 0x74, 0x2e]), "pickle"],
    ["a key without a value", Buffer.from([0x80, 2, 0x7d, 0x28, 0x4e, 0x75, 0x2e]), "pickle"],
  ])("is refused for %s", (_, pickle, rule) => {
    expect(ruleOf(ptOf(typeof pickle === "string" ? Buffer.from(pickle, "latin1") : pickle, {}))).toBe(rule);
  });

  it.each([
    ["a storage that is not there", tensor({ ...matrix, key: "9" }), "storage"],
    ["a storage of another size", tensor({ ...matrix, elements: 7 }), "storage"],
    ["a key that climbs", tensor({ ...matrix, key: "../data.pkl" }), "storage"],
    ["a tensor past its storage", tensor({ ...matrix, offset: 1 }), "tensor"],
    ["strides past its storage", tensor({ ...matrix, stride: [2 ** 30, 1] }), "tensor"],
    ["a negative offset", tensor({ ...matrix, offset: -1 }), "tensor"],
    ["a negative axis", tensor({ ...matrix, shape: [-2, 3] }), "tensor"],
    ["an axis without a stride", tensor({ ...matrix, stride: [1] }), "tensor"],
    [
      "a tensor of nothing",
      { call: "torch._utils._rebuild_tensor_v2", args: [] } satisfies Pickled,
      "tensor",
    ],
    ["a reference to no storage", { persistent: "x" } satisfies Pickled, "storage"],
    ["a storage of a class that is none", tensor({ ...matrix, storage: "Size" }), "storage"],
    [
      `${PICKLE_RANK_MAX + 1} axes`,
      tensor({
        ...matrix,
        shape: Array(PICKLE_RANK_MAX + 1).fill(1),
        stride: Array(PICKLE_RANK_MAX + 1).fill(1),
      }),
      "limit",
    ],
  ])("is refused for %s", (_, value, rule) => {
    expect(ruleOf(ptOf({ dict: [["x", value]] }, { 0: bytes(24) }))).toBe(rule);
  });

  it(`is read with ${PICKLE_RANK_MAX} axes`, () => {
    const ones = Array(PICKLE_RANK_MAX).fill(1);
    expect(ruleOf(ptOf(tensor({ key: "0", elements: 1, shape: ones, stride: ones }), { 0: bytes(4) }))).toBe(
      "accepted",
    );
  });

  it.each([
    [
      "a directory past the end",
      zipOf([{ name: "m/data.pkl", data: bytes(9) }], { directoryOffset: 1 << 30 }),
    ],
    ["more entries than it has", zipOf([{ name: "m/data.pkl", data: bytes(9) }], { entries: 7 })],
    [
      "a directory that points into data",
      zipOf([{ name: "m/data.pkl", data: bytes(90) }], { directoryOffset: 40 }),
    ],
    ["a compressed pickle", zipOf([{ name: "m/data.pkl", data: pickleOf(null), method: 8 }])],
    ["an archive cut short", ptOf(null, { 0: bytes(24) }).subarray(0, 60)],
    [
      "a second entry of one name",
      ptOf(null, {}, [
        { name: "m/x", data: bytes(1) },
        { name: "m/x", data: bytes(1) },
      ]),
    ],
  ])("is refused for %s", (_, file) => {
    expect(ruleOf(file)).toBe("zip");
  });

  it("costs no more than its size when it names one list ten thousand times", () => {
    // ( ] q0 (N…e  then  c builtins set / h0 85 R  again and again
    const call = Buffer.concat([Buffer.from("cbuiltins\nset\n"), Buffer.from([0x68, 0, 0x85, 0x52])]);
    const list = [
      Buffer.from([0x80, 2, 0x28, 0x5d, 0x71, 0, 0x28]),
      Buffer.alloc(50_000, "N"),
      Buffer.from("e"),
    ];
    const pickle = Buffer.concat([...list, ...Array.from({ length: 10_000 }, () => call), Buffer.from("t.")]);
    const before = process.memoryUsage().heapUsed;
    expect(ruleOf(ptOf(pickle, {}))).toBe("accepted");
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(200 << 20);
  });

  it("ends in its error and no other, whatever bytes are changed or cut", () => {
    const random = randomOf();
    const state: Pickled = {
      dict: [
        ["w", tensor(matrix)],
        ["n", [1, { tuple: ["x", null, true] }]],
      ],
    };
    const good = ptOf(state, { 0: bytes(24) });
    for (let round = 0; round < 4000; round++) {
      const file = Buffer.from(
        good.subarray(0, random.below(8) === 0 ? random.below(good.byteLength) : undefined),
      );
      for (let n = random.below(4); n >= 0 && file.byteLength > 0; n--) {
        file[random.below(file.byteLength)] = random.below(256);
      }
      try {
        const layout = readPtLayout(sourceOf(file));
        for (const span of layout?.spans ?? [])
          expect(span.offset + span.sizeBytes).toBeLessThanOrEqual(file.byteLength);
      } catch (error) {
        if (!isStoreError(error, "ERR_FORMAT_PT")) throw new Error(random.says, { cause: error });
      }
    }
  });
});
