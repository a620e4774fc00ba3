import { describe, expect, it } from "vitest";
import { parseHeader } from "../../formats/safetensors/reader.ts";
import { planFile, safetensorsFile, type TensorDescription } from "../../formats/safetensors/writer.ts";
import { DTYPES, type Tensor, tensorSizeBytes } from "../../formats/tensor.ts";

const headerOf = (...planned: Parameters<typeof planFile>) => planFile(...planned).header;

const text = (bytes: Uint8Array) => Buffer.from(bytes.subarray(8)).toString("utf8");
const scalar = (name: string): TensorDescription => ({ name, dtype: "F32", shape: [] });

describe("writing safetensors", () => {
  it("gives the golden bytes of the documented example", () => {
    const file = safetensorsFile(
      new Map<string, Tensor>([["w", { dtype: "F32", shape: [2], data: new Float32Array([1, -2]) }]]),
      new Map([["step", "600"]]),
    );
    expect(Buffer.from(file).toString("latin1")).toBe(
      '\x58\0\0\0\0\0\0\0{"__metadata__":{"step":"600"},"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}    ' +
        "\0\0\x80\x3f\0\0\0\xc0",
    );
  });

  it("orders tensors as the reference writer does: widest dtype first, then by the bytes of the name", () => {
    // U+E000 sorts before U+1F600 in UTF-8 but after it in UTF-16.
    const names = ["b", "a", "\u{1f600}", "\ue000"];
    const tensors = [...DTYPES.map((dtype) => ({ name: dtype, dtype, shape: [4] })), ...names.map(scalar)];
    const header = headerOf(tensors);
    const expected = [...DTYPES].reverse();
    const dataBytes = tensors.reduce((sum, { dtype, shape }) => sum + tensorSizeBytes(dtype, shape), 0);
    const spans = parseHeader(header, header.byteLength + dataBytes).layout.spans;
    const wide = expected.indexOf("F32");
    expect(spans.map(({ name }) => name)).toEqual([
      ...expected.slice(0, wide + 1),
      "a",
      "b",
      "\ue000",
      "\u{1f600}",
      ...expected.slice(wide + 1),
    ]);
  });

  it("escapes what JSON must have escaped and nothing else", () => {
    expect(text(headerOf([{ name: '"\\/\x01\x1f\x7f\n\u2028é', dtype: "U8", shape: [0] }]))).toMatch(
      /^\{"\\"\\\\\/\\u0001\\u001f\x7f\\n\u2028é":\{"dtype":"U8","shape":\[0\],"data_offsets":\[0,0\]\}\} *$/,
    );
  });

  it("pads the header with spaces to 8 bytes and leaves empty metadata out", () => {
    expect(Buffer.from(headerOf([], new Map())).toString("latin1")).toBe("\x08\0\0\0\0\0\0\0{}      ");
    for (let length = 1; length < 20; length++) {
      expect(headerOf([scalar("x".repeat(length))]).byteLength % 8).toBe(0);
    }
  });

  it("refuses what no reader would take", () => {
    const refusal = { code: "ERR_INVALID_ARGUMENT" };
    const write =
      (...tensors: TensorDescription[]) =>
      () =>
        headerOf(tensors);
    expect(write(scalar("a"), scalar("a"))).toThrow(expect.objectContaining(refusal));
    expect(write(scalar("__metadata__"))).toThrow(expect.objectContaining(refusal));
    expect(write(scalar("\ud800"))).toThrow(expect.objectContaining(refusal));
    expect(write({ name: "a", dtype: "F4", shape: [1] })).toThrow(expect.objectContaining(refusal));
    expect(write({ name: "a", dtype: "F32", shape: [-1] })).toThrow(expect.objectContaining(refusal));
    expect(write({ name: "a", dtype: "F32", shape: [1.5] })).toThrow(expect.objectContaining(refusal));
    expect(write({ name: "a", dtype: "F16", shape: Array(256).fill(1) })).toThrow(
      expect.objectContaining(refusal),
    );
    expect(() => headerOf([], new Map([["k", "\udc00"]]))).toThrow(expect.objectContaining(refusal));
    const huge = { dtype: "U8" as const, shape: [2 ** 52] };
    expect(write({ name: "a", ...huge }, { name: "b", ...huge })).toThrow(expect.objectContaining(refusal));
  });

  it("refuses more metadata keys than the reader takes", () => {
    const keys = (count: number) =>
      new Map(Array.from({ length: count }, (_, index) => [`k${index}`, ""] as const));
    expect(headerOf([], keys(65_536)).byteLength).toBeGreaterThan(65_536);
    expect(() => headerOf([], keys(65_537))).toThrow(expect.objectContaining({ code: "ERR_LIMIT" }));
  });

  it("refuses more tensors than the reader takes", () => {
    const tensors = Array.from({ length: 262_145 }, (_, index) => scalar(`${index}`));
    expect(() => headerOf(tensors)).toThrow(expect.objectContaining({ code: "ERR_LIMIT" }));
  });

  it("refuses data that does not fit its shape, by the tensor's name", () => {
    const tensors = new Map<string, Tensor>([
      ["w1", { dtype: "F32", shape: [3], data: new Float32Array(2) }],
    ]);
    expect(() => safetensorsFile(tensors)).toThrow(/tensor "w1" .* needs 12 bytes but has 8/);
  });
});
