import { beforeAll, describe, expect, it } from "vitest";
import { type Kernels, loadKernels } from "../../src/kernels/kernels.ts";
import { noise, SEED } from "../codec/seeded.ts";

let kernels: Kernels;
beforeAll(async () => {
  kernels = await loadKernels();
});

function referencePlanes(bytes: Uint8Array, count: number, width: number): Uint8Array {
  const planes = new Uint8Array(count * width);
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < width; b++) planes[b * count + i] = bytes[i * width + b]!;
  }
  return planes;
}

describe("byte planes", () => {
  it.each([1, 2, 4, 8])("of width %i are split and joined as the plain loop does", (width) => {
    const { exports, memory, at } = kernels;
    const next = noise(SEED);
    for (const count of [0, 1, 15, 16, 17, 63, 64, 1000, 4099]) {
      const bytes = new Uint8Array(count * width).map(() => next() >>> 5);
      memory.set(bytes, at.input);
      exports.splitPlanes(at.input, at.work, count, width);
      const planes = memory.slice(at.work, at.work + bytes.length);
      expect(planes).toEqual(referencePlanes(bytes, count, width));
      exports.joinPlanes(at.work, at.output, count, width);
      expect(memory.slice(at.output, at.output + bytes.length)).toEqual(bytes);
    }
  });

  it("are exclusive-or'ed byte by byte up to the last one", () => {
    const { exports, memory, at } = kernels;
    const next = noise(SEED);
    for (const sizeBytes of [0, 1, 15, 16, 33]) {
      const a = new Uint8Array(sizeBytes).map(() => next());
      const b = new Uint8Array(sizeBytes).map(() => next());
      memory.set(a, at.input);
      memory.set(b, at.base);
      memory.fill(7, at.work, at.work + 64);
      exports.xorInto(at.work, at.input, at.base, sizeBytes);
      const expected = new Uint8Array(64).fill(7);
      expected.set(a.map((byte, i) => byte ^ b[i]!));
      expect(memory.slice(at.work, at.work + 64)).toEqual(expected);
    }
  });
});
