import { beforeAll, describe, expect, it } from "vitest";
import { frequenciesOf, readFrequencies, writeFrequencies } from "../../src/codec/frequencies.ts";
import { type Kernels, loadKernels } from "../../src/kernels/kernels.ts";
import { canonicalCodes } from "../codec/reference-packed.ts";
import { noise, SEED } from "../codec/seeded.ts";

let kernels: Kernels;
beforeAll(async () => {
  kernels = await loadKernels();
});

/** The stream of a coded plane, one symbol at a time. */
function referencePlane(stream: Uint8Array, frequencies: Uint16Array, count: number): Uint8Array {
  const starts: number[] = [];
  let sum = 0;
  for (const frequency of frequencies) {
    starts.push(sum);
    sum += frequency;
  }
  const view = new DataView(stream.buffer, stream.byteOffset, stream.length);
  const states = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
  let at = 16;
  const plane = new Uint8Array(count).map((_, i) => {
    const state = states[i % 4]!;
    const slot = state % 4096;
    const byte = starts.findLastIndex((start, value) => start <= slot && frequencies[value]! > 0);
    let next = frequencies[byte]! * Math.floor(state / 4096) + slot - starts[byte]!;
    if (next < 32768) {
      next = next * 65536 + view.getUint16(at, true);
      at += 2;
    }
    states[i % 4] = next;
    return byte;
  });
  expect([...states, at]).toEqual([32768, 32768, 32768, 32768, stream.length]);
  return plane;
}

/** A plane of `kinds` byte values, the smaller ones more frequent. */
function planeOf(count: number, kinds: number, next: () => number): Uint8Array {
  return new Uint8Array(count).map(() => Math.min(next() % kinds, next() % kinds, next() % kinds));
}

describe("coded byte planes", () => {
  it("are decoded by the plain loop to what the kernel coded, and by the kernel", () => {
    const { exports, memory, at } = kernels;
    const next = noise(SEED);
    for (const kinds of [1, 2, 3, 40, 256]) {
      for (const count of [1, 2, 3, 4, 5, 1000, 1003]) {
        const plane = planeOf(count, kinds, next);
        memory.set(plane, at.work);
        const counts = new Uint32Array(memory.buffer, exports.histogram(at.work, count), 256).slice();
        const expected = new Uint32Array(256);
        for (const byte of plane) expected[byte]!++;
        expect(counts).toEqual(expected);

        const frequencies = frequenciesOf(counts, count);
        new Uint16Array(memory.buffer, exports.frequencyTable(), 256).set(frequencies);
        expect(exports.useFrequencies(1)).toBeTruthy();
        const stream = memory.slice(exports.bytesEncode(at.work, count), exports.streamEnd());
        expect(referencePlane(stream, frequencies, count)).toEqual(plane);
        memory.set(stream, at.bits);
        expect(exports.bytesDecode(at.output, count, stream.length)).toBeTruthy();
        expect(memory.slice(at.output, at.output + count)).toEqual(plane);
      }
    }
  });

  it("carry frequencies that add up, however rare or many the bytes are", () => {
    const next = noise(SEED);
    for (let round = 0; round < 200; round++) {
      const counts = new Uint32Array(256).map((_, byte) =>
        next() % 3 === 0 || byte === 7 ? 1 + (next() % 2 ** (next() % 20)) : 0,
      );
      const total = counts.reduce((sum, count) => sum + count, 0);
      const frequencies = frequenciesOf(counts, total);
      expect(frequencies.reduce((sum, frequency) => sum + frequency, 0)).toBe(4096);
      expect(frequencies.every((frequency, byte) => frequency > 0 === counts[byte]! > 0)).toBe(true);
      const written = writeFrequencies(frequencies);
      expect(readFrequencies(written)).toEqual({ frequencies, sizeBytes: written.length });
      for (let end = 0; end < written.length; end++)
        expect(readFrequencies(written.subarray(0, end))).toBe(undefined);
    }
  });

  it("refuse frequencies that do not add up", () => {
    const table = new Uint16Array(kernels.memory.buffer, kernels.exports.frequencyTable(), 256);
    for (const wrong of [[4095], [4097], [4000, 100], [65535], [0]]) {
      table.fill(0).set(wrong);
      expect(kernels.exports.useFrequencies(1)).toBeFalsy();
    }
  });
});

describe("Huffman codes of a plane", () => {
  const lengthsOf = () => {
    const at = kernels.exports.huffmanLengths();
    return kernels.memory.slice(at, at + 256);
  };

  it("are of the lengths that joining the two rarest over and over gives", () => {
    const next = noise(SEED);
    for (let round = 0; round < 200; round++) {
      const kinds = 2 + (next() % 60);
      // Frequencies of one order of magnitude: no code is near eleven bits.
      const counts = new Uint32Array(256);
      for (let i = 0; i < kinds; i++) counts[next() % 256] = 100 + (next() % 900);
      counts[next() % 256] = 100;
      if (counts.filter((count) => count > 0).length < 2) counts.fill(7, 0, 2);
      new Uint32Array(kernels.memory.buffer, kernels.exports.frequencyTable(), 256).set(counts);
      expect(kernels.exports.huffmanPlan(kernels.exports.frequencyTable())).toBe(plainHuffmanBits(counts));
      const lengths = lengthsOf();
      expect(lengths.every((length, byte) => length > 0 === counts[byte]! > 0)).toBe(true);
    }
  });

  it("are complete and of eleven bits at most, however rare some bytes are", () => {
    const fibonacci = [1, 1];
    while (fibonacci.length < 24) fibonacci.push(fibonacci.at(-1)! + fibonacci.at(-2)!);
    const next = noise(SEED);
    const steep = Array.from({ length: 256 }, () => 1 + (next() % 2 ** (next() % 20)));
    for (const counts of [fibonacci, steep, [1, 1_000_000], Array.from({ length: 256 }, () => 1)]) {
      const table = new Uint32Array(kernels.memory.buffer, kernels.exports.frequencyTable(), 256);
      table.fill(0).set(counts);
      kernels.exports.huffmanPlan(kernels.exports.frequencyTable());
      const lengths = [...lengthsOf()];
      expect(Math.max(...lengths)).toBeLessThanOrEqual(11);
      expect(lengths.reduce((sum, length) => sum + (length && 2 ** -length), 0)).toBe(1);
      expect(kernels.exports.huffmanUse(1)).toBeTruthy();
      expect(canonicalCodes(lengths, 0).size).toBe(counts.length);
    }
  });

  it("are refused where they are not complete or too long", () => {
    const { memory, exports } = kernels;
    for (const wrong of [[], [1], [1, 2], [1, 1, 1], [12, 12], [1, 15]]) {
      memory.fill(0, exports.huffmanLengths(), exports.huffmanLengths() + 256);
      memory.set(wrong, exports.huffmanLengths());
      expect(exports.huffmanUse(1)).toBeFalsy();
    }
  });
});

/** Bits of all codes together: every joining makes what is joined one bit longer. */
function plainHuffmanBits(counts: Uint32Array): number {
  const weights = [...counts].filter((count) => count > 0);
  let bits = 0;
  while (weights.length > 1) {
    weights.sort((a, b) => b - a);
    const joined = weights.pop()! + weights.pop()!;
    bits += joined;
    weights.push(joined);
  }
  return bits;
}
