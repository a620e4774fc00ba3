import { beforeAll, describe, expect, it } from "vitest";
import { findCut } from "../../src/kernels/cut.ts";
import { type Kernels, loadKernels } from "../../src/kernels/kernels.ts";
import { CUT_BYTES_AVG, CUT_BYTES_MAX, CUT_BYTES_MIN } from "../../src/limits.ts";
import { noise, SEED } from "../codec/seeded.ts";

const BOUNDS = { minBytes: CUT_BYTES_MIN, avgBytes: CUT_BYTES_AVG, maxBytes: CUT_BYTES_MAX };
let kernels: Kernels;
beforeAll(async () => {
  kernels = await loadKernels();
});

/** The rolling hash in plain TypeScript. */
function referenceCut(bytes: Uint8Array, gear: Uint32Array): number {
  const end = Math.min(bytes.length, CUT_BYTES_MAX);
  if (end <= CUT_BYTES_MIN) return end;
  let hash = 0;
  for (let i = CUT_BYTES_MIN - 32; i < end; i++) {
    hash = ((hash << 1) + gear[bytes[i]!]!) >>> 0;
    if (i < CUT_BYTES_MIN) continue;
    const bits = i < CUT_BYTES_AVG ? 17 : 14;
    if (hash >>> (32 - bits) === 0) return i + 1;
  }
  return end;
}

function randomBytes(sizeBytes: number, seed: number): Uint8Array {
  const next = noise(seed);
  return new Uint8Array(sizeBytes).map(() => next() >>> 9);
}

describe("content-defined cuts", () => {
  it("are those of the published gear hash with splitmix32's table", () => {
    const gear = new Uint32Array(256);
    let state = 0;
    for (let i = 0; i < 256; i++) {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      gear[i] = (z ^ (z >>> 16)) >>> 0;
    }
    expect([...gear].map((_, i) => kernels.exports.gearAt(i) >>> 0)).toEqual([...gear]);
    for (let i = 0; i < 12; i++) {
      const bytes = randomBytes(CUT_BYTES_MAX + 1000 - i * 20_001, SEED + i);
      expect(findCut(kernels, bytes, BOUNDS)).toBe(referenceCut(bytes, gear));
    }
  });

  it("stay where they are in every release", () => {
    const bytes = randomBytes(4 << 20, 12345);
    const cuts: number[] = [];
    for (let at = 0; at < bytes.length; ) {
      const sizeBytes = findCut(kernels, bytes.subarray(at, at + CUT_BYTES_MAX), BOUNDS);
      cuts.push(sizeBytes);
      at += sizeBytes;
    }
    expect(cuts.slice(0, 6)).toMatchInlineSnapshot(`
      [
        21305,
        67308,
        35995,
        76167,
        65664,
        70508,
      ]
    `);
    const mean = bytes.length / cuts.length;
    expect(mean).toBeGreaterThan(50_000);
    expect(mean).toBeLessThan(90_000);
  });

  it("find themselves again after bytes are inserted", () => {
    const bytes = randomBytes(2 << 20, 99);
    const cutsOf = (whole: Uint8Array) => {
      const ends = new Set<number>();
      for (let at = 0; at < whole.length; ) {
        at += findCut(kernels, whole.subarray(at, at + CUT_BYTES_MAX), BOUNDS);
        ends.add(whole.length - at);
      }
      return ends;
    };
    const inserted = new Uint8Array(bytes.length + 100);
    inserted.set(bytes, 100);
    const before = cutsOf(bytes);
    const kept = [...cutsOf(inserted)].filter((fromEnd) => before.has(fromEnd));
    expect(kept.length).toBeGreaterThan(before.size / 2);
  });

  it("end at the file's end, whatever is left of it", () => {
    for (const sizeBytes of [0, 1, 31, CUT_BYTES_MIN, CUT_BYTES_MIN + 1]) {
      expect(findCut(kernels, new Uint8Array(sizeBytes), BOUNDS)).toBe(sizeBytes);
    }
    expect(findCut(kernels, new Uint8Array(CUT_BYTES_MAX + 5), BOUNDS)).toBe(CUT_BYTES_MAX);
  });
});
