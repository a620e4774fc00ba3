import { describe, expect, it } from "vitest";
import { allocatePages } from "../../src/disk/aligned.ts";
import { RANGE_SUM_BYTES_MAX, RangeSums } from "../../src/kernels/range-sum.ts";

/** The definition, word by word: see assembly/range-sum. */
function expectedSum(bytes: Uint8Array): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sums = new Array<bigint>(8).fill(0n);
  const sumsOfSums = new Array<bigint>(8).fill(0n);
  for (let word = 0; word < bytes.byteLength / 4; word++) {
    const lane = word % 8;
    sums[lane]! += BigInt(view.getUint32(word * 4, true));
    sumsOfSums[lane]! += sums[lane]!;
  }
  let sum = BigInt(bytes.byteLength);
  for (const value of [...sums, ...sumsOfSums]) {
    sum = BigInt.asUintN(64, (sum ^ value) * 0x9e3779b97f4a7c15n);
    sum ^= sum >> 32n;
  }
  return sum;
}

function randomBytes(sizeBytes: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length: sizeBytes }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

describe("the sum of a range", () => {
  it("is what its definition says, in memory of its own, in a copy, and at any place", async () => {
    const sums = await RangeSums.load();
    for (const sizeBytes of [0, 32, 64, 4096, 12_320]) {
      const bytes = randomBytes(sizeBytes, sizeBytes + 1);
      const expected = expectedSum(bytes);
      expect(sums.sum(bytes)).toBe(expected);
      const shared = allocatePages(sizeBytes + 4096, { shared: true });
      shared.set(bytes, 40);
      expect(sums.sum(shared.subarray(40, 40 + sizeBytes))).toBe(expected);
    }
  });

  it("stays exact for the longest range of the largest words, and takes none longer", async () => {
    const sums = await RangeSums.load();
    const bytes = new Uint8Array(RANGE_SUM_BYTES_MAX).fill(255);
    expect(sums.sum(bytes)).toBe(expectedSum(bytes));
    expect(() => sums.sum(new Uint8Array(RANGE_SUM_BYTES_MAX + 32))).toThrow("no longer than");
    expect(() => sums.sum(new Uint8Array(31))).toThrow("whole steps");
  });

  it("tells every flipped bit, and every pair of the same bit in words of one lane", async () => {
    const sums = await RangeSums.load();
    const bytes = randomBytes(256, 7);
    const right = sums.sum(bytes);
    const flip = (bit: number) => {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    };
    for (let bit = 0; bit < 2048; bit++) {
      flip(bit);
      expect(sums.sum(bytes)).not.toBe(right);
      for (let other = bit + 256; other < 2048; other += 256) {
        flip(other);
        expect(sums.sum(bytes)).not.toBe(right);
        flip(other);
      }
      flip(bit);
    }
    expect(sums.sum(bytes)).toBe(right);
  });

  it("tells words that changed places and zeros of another length", async () => {
    const sums = await RangeSums.load();
    const bytes = randomBytes(128, 9);
    const moved = Uint8Array.from(bytes);
    moved.copyWithin(0, 32, 36);
    moved.set(bytes.subarray(0, 4), 32);
    expect(sums.sum(moved)).not.toBe(sums.sum(bytes));
    expect(sums.sum(new Uint8Array(64))).not.toBe(sums.sum(new Uint8Array(96)));
  });
});
