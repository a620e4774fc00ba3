import { describe, expect, it } from "vitest";
import {
  DTYPES,
  dtypeBits,
  isDType,
  type Tensor,
  tensorBytes,
  tensorFromBytes,
  tensorSizeBytes,
} from "../../formats/tensor.ts";

const refusal = expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" });

describe("the size of a tensor", () => {
  it.each([
    ["F32", [2, 3], 24],
    ["F32", [], 4],
    ["F32", [0], 0],
    ["BOOL", [7], 7],
    ["F4", [2], 1],
    ["F6_E2M3", [4], 3],
    ["F6_E3M2", [8], 6],
    ["C64", [1], 8],
    ["U8", [Number.MAX_SAFE_INTEGER], Number.MAX_SAFE_INTEGER],
    ["U8", [0, 2 ** 40, 2 ** 40], 0],
    ["F4", [Number.MAX_SAFE_INTEGER - 1], (Number.MAX_SAFE_INTEGER - 1) / 2],
  ] as const)("of %s %j is %d bytes", (dtype, shape, sizeBytes) => {
    expect(tensorSizeBytes(dtype, shape)).toBe(sizeBytes);
  });

  it.each([
    ["U8", [2 ** 32, 2 ** 32], "larger than any file"],
    ["U8", [2 ** 32, 2 ** 32, 0], "larger than any file"],
    ["F64", [2 ** 51], "larger than any file"],
    ["F4", [3], "whole byte"],
    ["F6_E2M3", [2], "whole byte"],
    ["F32", [-1], "whole number"],
    ["F32", [0.5], "whole number"],
    ["F32", [2 ** 53], "whole number"],
    ["F32", [Number.NaN], "whole number"],
    ["F32", [2 ** 30, 2 ** 30, -1], "whole number"],
    ["F32", Array(256).fill(1) as number[], "255 axes"],
  ] as const)("of %s %j is refused", (dtype, shape, reason) => {
    expect(() => tensorSizeBytes(dtype, shape, "w")).toThrow(refusal);
    expect(() => tensorSizeBytes(dtype, shape, "w")).toThrow(new RegExp(`^tensor "w" .*${reason}`));
  });

  it("takes 255 axes and knows no dtype by an object's own name", () => {
    expect(tensorSizeBytes("U8", Array(255).fill(1))).toBe(1);
    expect(isDType("__proto__") || isDType("constructor") || isDType("f32")).toBe(false);
    expect(() => tensorSizeBytes("toString" as "U8", [])).toThrow(refusal);
  });
});

describe("a tensor's bytes", () => {
  it("are a view of its typed array", () => {
    const data = new Float32Array([1, 2, 3]).subarray(1);
    const bytes = tensorBytes({ dtype: "F32", shape: [2], data });
    expect(bytes.buffer).toBe(data.buffer);
    expect([...bytes]).toEqual([0, 0, 0, 0x40, 0, 0, 0x40, 0x40]);
  });

  it("may lie in shared memory", () => {
    const data = new Float32Array(new SharedArrayBuffer(8));
    expect(tensorBytes({ dtype: "F32", shape: [2], data }).buffer).toBe(data.buffer);
  });

  it.each(DTYPES)("come back from %s bytes, aligned or not", (dtype) => {
    const shape = [2, 4];
    const sizeBytes = (8 * dtypeBits(dtype)) / 8;
    const buffer = new Uint8Array(sizeBytes + 1).map((_, index) => index + 1);
    for (const start of [0, 1]) {
      const bytes = buffer.subarray(start, start + sizeBytes);
      const tensor = tensorFromBytes(dtype, shape, bytes, "w");
      expect(tensor).toMatchObject({ dtype, shape });
      expect(Buffer.compare(tensorBytes(tensor), bytes)).toBe(0);
      const wide = !(tensor.data instanceof Uint8Array) && tensor.data.BYTES_PER_ELEMENT > 1;
      expect(tensor.data.buffer === buffer.buffer).toBe(start === 0 || !wide);
    }
  });

  it("may be a 16-bit float's bits, and only the dtype's own typed array otherwise", () => {
    expect(tensorBytes({ dtype: "BF16", shape: [2], data: new Uint16Array(2) }).byteLength).toBe(4);
    expect(tensorBytes({ dtype: "F16", shape: [2], data: Buffer.alloc(4) }).byteLength).toBe(4);
    const wrong: Tensor[] = [
      { dtype: "I64", shape: [1], data: new Float64Array(1) },
      { dtype: "F32", shape: [1], data: new Int32Array(1) },
      { dtype: "F32", shape: [2], data: new Float64Array(1) },
      { dtype: "U8", shape: [1], data: new Uint8ClampedArray(1) as unknown as Uint8Array },
      { dtype: "U8", shape: [1], data: new DataView(new ArrayBuffer(1)) as unknown as Uint8Array },
      { dtype: "U8", shape: [1], data: [1] as unknown as Uint8Array },
      { dtype: "F32", shape: [2], data: new Float32Array(3) },
      { dtype: "F32", shape: "2" as unknown as number[], data: new Float32Array(2) },
    ];
    for (const tensor of wrong) expect(() => tensorBytes(tensor, "w")).toThrow(refusal);
    expect(() => tensorBytes(wrong[0]!, "w")).toThrow(/tensor "w" of dtype I64 comes as a Float64Array/);
    expect(() => tensorFromBytes("F32", [2], new Uint8Array(7), "w")).toThrow(refusal);
  });
});
