import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromFloat32, type SmallFloatDType, toFloat32 } from "../../formats/floats.ts";
import { dtypeBits } from "../../formats/tensor.ts";
import { checkProperty } from "./seed.ts";

const dtypes: SmallFloatDType[] = [
  "BF16",
  "F16",
  "F8_E5M2",
  "F8_E4M3",
  "F8_E4M3FNUZ",
  "F8_E5M2FNUZ",
  "F8_E8M0",
];

function decode(dtype: SmallFloatDType, ...codes: number[]): number[] {
  const data = dtypeBits(dtype) === 16 ? new Uint16Array(codes) : new Uint8Array(codes);
  return [...toFloat32({ dtype, shape: [codes.length], data })];
}

function encode(dtype: SmallFloatDType, ...values: number[]): number[] {
  const { data } = fromFloat32(dtype, [values.length], new Float32Array(values));
  const bytes = data as Uint8Array;
  return [...(dtypeBits(dtype) === 16 ? new Uint16Array(bytes.buffer) : bytes)];
}

const every = (dtype: SmallFloatDType) => Array.from({ length: 2 ** dtypeBits(dtype) }, (_, code) => code);

/** Every code that is a number, by value. */
function numbersOf(dtype: SmallFloatDType): { code: number; value: number }[] {
  const values = decode(dtype, ...every(dtype));
  return values
    .map((value, code) => ({ code, value }))
    .filter(({ value }) => Number.isFinite(value))
    .sort((a, b) => a.value - b.value);
}

describe.each(dtypes)("%s", (dtype) => {
  it("comes back from float32 code for code", () => {
    const codes = every(dtype);
    const values = decode(dtype, ...codes);
    const back = encode(dtype, ...values);
    const wrong = codes.filter((code) => !Number.isNaN(values[code]) && back[code] !== code);
    expect(wrong).toEqual([]);
    expect(
      codes.filter((code) => Number.isNaN(values[code]) && !Number.isNaN(decode(dtype, back[code]!)[0])),
    ).toEqual([]);
  });

  it("rounds every float32 to the nearest value, ties to the even code", () => {
    const numbers = numbersOf(dtype).filter(({ code, value }) => !(Object.is(value, -0) && code !== 0));
    const highest = numbers.length - 1;
    const anyBits = fc.nat(0xffffffff).map((bits) => new Float32Array(new Uint32Array([bits]).buffer)[0]!);
    const nearTies = fc.tuple(fc.nat(highest - 1), fc.integer({ min: -1, max: 1 })).map(([at, ulps]) => {
      const tie = new Float32Array([(numbers[at]!.value + numbers[at + 1]!.value) / 2]);
      const bits = new Uint32Array(tie.buffer);
      bits[0] = (bits[0]! + ulps) >>> 0;
      return tie[0]!;
    });
    checkProperty(fc.oneof(anyBits, nearTies), (value) => {
      if (Number.isNaN(value)) return;
      if (value < numbers[0]!.value || value > numbers[highest]!.value) return;
      let low = 0;
      for (let high = highest; high - low > 1; ) {
        const middle = (low + high) >> 1;
        if (numbers[middle]!.value <= value) low = middle;
        else high = middle;
      }
      const below = numbers[low]!;
      const above = numbers[Math.min(low + 1, highest)]!;
      const down = value - below.value;
      const up = above.value - value;
      const nearest = down < up ? below : up < down ? above : below.code % 2 === 0 ? below : above;
      expect(
        decode(dtype, encode(dtype, value)[0]!)[0] === nearest.value,
        `${value} -> ${nearest.value}`,
      ).toBe(true);
    });
  });
});

describe("the ends of the small floats", () => {
  const { NaN: none, POSITIVE_INFINITY: infinity } = Number;

  it.each([
    ["BF16", 3.3895313892515355e38, 0x7f80, 0x7fc0],
    ["F16", 65504, 0x7c00, 0x7e00],
    ["F8_E5M2", 57344, 0x7c, 0x7e],
    ["F8_E4M3", 448, 0x7f, 0x7f],
    ["F8_E4M3FNUZ", 240, 0x80, 0x80],
    ["F8_E5M2FNUZ", 57344, 0x80, 0x80],
    ["F8_E8M0", 2 ** 127, 0xff, 0xff],
  ] as const)("of %s: largest %d, infinity as %d, NaN as %d", (dtype, largest, infinityCode, nanCode) => {
    expect(numbersOf(dtype).at(-1)?.value).toBe(largest);
    expect(encode(dtype, infinity, none)).toEqual([infinityCode, nanCode]);
  });

  it("round just past the largest value to it, and further out to infinity or NaN", () => {
    expect(encode("F16", 65519, 65520)).toEqual([0x7bff, 0x7c00]);
    expect(encode("F8_E4M3", 464, 465)).toEqual([0x7e, 0x7f]);
    expect(encode("F8_E5M2", -61439, -61440)).toEqual([0xfb, 0xfc]);
    expect(encode("F8_E4M3FNUZ", 247, 248)).toEqual([0x7f, 0x80]);
  });

  it("keep the sign of zero where the type has one", () => {
    expect(encode("F16", -0)).toEqual([0x8000]);
    expect(encode("F8_E4M3", -0)).toEqual([0x80]);
    expect(encode("F8_E4M3FNUZ", -0, -1e-9)).toEqual([0, 0]);
  });

  it("make a scale of powers of two alone: no zero, no sign", () => {
    expect(decode("F8_E8M0", 0, 1, 127, 254, 255)).toEqual([2 ** -127, 2 ** -126, 1, 2 ** 127, none]);
    expect(encode("F8_E8M0", 0, -0, -1, 3, 2.9, 6)).toEqual([0, 0, 0xff, 128, 128, 130]);
    expect(encode("F8_E8M0", 1.5 * 2 ** -127, 1.6 * 2 ** -127)).toEqual([0, 1]);
  });

  it("keep the payload of a BF16 NaN both ways", () => {
    const values = toFloat32({ dtype: "BF16", shape: [1], data: new Uint16Array([0xffc1]) });
    expect([...new Uint16Array((fromFloat32("BF16", [1], values).data as Uint8Array).buffer)]).toEqual([
      0xffc1,
    ]);
  });
});

describe("what does not convert", () => {
  it("is refused by name", () => {
    const refusal = expect.objectContaining({
      code: "ERR_INVALID_ARGUMENT",
      context: expect.objectContaining({ tensor: "w" }),
    });
    expect(() => toFloat32({ dtype: "F32", shape: [1], data: new Float32Array(1) }, "w")).toThrow(refusal);
    expect(() => fromFloat32("I8" as SmallFloatDType, [1], new Float32Array(1), "w")).toThrow(refusal);
    expect(() => fromFloat32("BF16", [2], new Float32Array(1), "w")).toThrow(refusal);
    expect(() => toFloat32({ dtype: "BF16", shape: [2], data: new Uint8Array(2) }, "w")).toThrow(refusal);
  });

  it("reads 16-bit codes from an odd place in memory", () => {
    const bytes = new Uint8Array(5).subarray(1);
    bytes.set([0x80, 0x3f, 0x00, 0x40]);
    expect([...toFloat32({ dtype: "BF16", shape: [2], data: bytes })]).toEqual([1, 2]);
  });
});
