import type { ByteSource } from "./byte-source.ts";

/** Scales counts to frequencies that add up to 2^bits, none of what occurs being 0. An empty context is all of bin 0. */
export function scaleCounts(counts: Uint32Array, bits: number): Uint16Array {
  const total = 1 << bits;
  let sum = 0;
  for (const count of counts) sum += count;
  const frequencies = new Uint16Array(counts.length);
  if (sum === 0) {
    frequencies[0] = total;
    return frequencies;
  }
  let given = 0;
  let most = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] === 0) continue;
    frequencies[i] = Math.max(1, Math.round((counts[i]! * total) / sum));
    given += frequencies[i]!;
    if (counts[i]! > counts[most]!) most = i;
  }
  while (given !== total) {
    // What rounding left goes to, or comes from, the largest: they notice it least.
    let largest = 0;
    for (let i = 1; i < frequencies.length; i++) if (frequencies[i]! > frequencies[largest]!) largest = i;
    const change = given < total ? total - given : -Math.min(given - total, frequencies[largest]! >> 1);
    frequencies[largest]! += change;
    given += change;
  }
  return frequencies;
}

/**
 * Frequencies as bits, least significant first: the number of bits of each in 4 (0 for 0), then those below the leading
 * one; 15 in place of a number of bits, and 4 more bits n, are n + 2 zeros.
 */
export function packFrequencies(tables: readonly Uint16Array[]): Uint8Array {
  const bytes: number[] = [];
  let held = 0;
  let fill = 0;
  const put = (value: number, bits: number) => {
    held |= value << fill;
    fill += bits;
    for (; fill >= 8; fill -= 8) {
      bytes.push(held & 255);
      held >>>= 8;
    }
  };
  for (const table of tables) {
    for (let i = 0; i < table.length; ) {
      let zeros = 0;
      while (i + zeros < table.length && table[i + zeros] === 0 && zeros < 17) zeros++;
      if (zeros >= 2) {
        put(15, 4);
        put(zeros - 2, 4);
        i += zeros;
        continue;
      }
      const frequency = table[i++]!;
      const bits = 32 - Math.clz32(frequency);
      put(bits, 4);
      if (bits > 1) put(frequency & ((1 << (bits - 1)) - 1), bits - 1);
    }
  }
  if (fill > 0) bytes.push(held);
  return Uint8Array.from(bytes);
}

/** Bits that counted values take by scaled frequencies. */
export function costOf(counts: Uint32Array, frequencies: Uint16Array, bits: number): number {
  let cost = 0;
  for (let i = 0; i < counts.length; i++) {
    if (counts[i] !== 0) cost += counts[i]! * (bits - Math.log2(frequencies[i]!));
  }
  return cost;
}

/** Reads `contexts` tables of `bins` frequencies, one after the other. */
export function unpackFrequencies(source: ByteSource, contexts: number, bins: number): Uint16Array {
  const target = new Uint16Array(contexts * bins);
  let held = 0;
  let fill = 0;
  const take = (bits: number) => {
    for (; fill < bits; fill += 8) held |= source.u8() << fill;
    const value = held & ((1 << bits) - 1);
    held >>>= bits;
    fill -= bits;
    return value;
  };
  for (let context = 0; context < contexts; context++) {
    const from = context * bins;
    for (let i = 0; i < bins; ) {
      const bits = take(4);
      if (bits === 15) {
        const zeros = take(4) + 2;
        if (i + zeros > bins) throw source.corrupt("more frequencies than bins");
        target.fill(0, from + i, from + i + zeros);
        i += zeros;
      } else if (bits > 13) throw source.corrupt(`a frequency of ${bits} bits`);
      else target[from + i++] = bits < 2 ? bits : (1 << (bits - 1)) | take(bits - 1);
    }
  }
  return target;
}
