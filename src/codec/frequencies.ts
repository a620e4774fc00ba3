import { CHUNK_ELEMENTS } from "../limits.ts";

/** Frequencies of a plane's bytes add up to this. */
const TOTAL = 4096;

/**
 * Scales byte counts to frequencies that add up to 4096, none of a byte that occurs being 0. `counts` has 256 entries,
 * not all of them 0.
 */
export function frequenciesOf(counts: Uint32Array, total: number): Uint16Array {
  const frequencies = new Uint16Array(256);
  let sum = 0;
  for (let byte = 0; byte < 256; byte++) {
    const count = counts[byte]!;
    if (count === 0) continue;
    frequencies[byte] = Math.max(1, Math.round((count * TOTAL) / total));
    sum += frequencies[byte]!;
  }
  // What rounding left over goes to or comes from the most frequent ones, which notice it least.
  while (sum !== TOTAL) {
    let most = 0;
    for (let byte = 1; byte < 256; byte++) if (frequencies[byte]! > frequencies[most]!) most = byte;
    const change = sum < TOTAL ? TOTAL - sum : -Math.min(sum - TOTAL, frequencies[most]! >> 1);
    frequencies[most]! += change;
    sum += change;
  }
  return frequencies;
}

/** Bits that the bytes take at their frequencies. */
export function entropyBits(counts: Uint32Array, total: number): number {
  let bits = timesLog2(total);
  for (let byte = 0; byte < 256; byte++) bits -= timesLog2(counts[byte]!);
  return bits;
}

/** n log2(n) of as many as an element's plane has, filled when first needed. */
const TIMES_LOG2 = new Float64Array(CHUNK_ELEMENTS + 1);

function timesLog2(n: number): number {
  if (n <= 1) return 0;
  if (n > CHUNK_ELEMENTS) return n * Math.log2(n);
  const known = TIMES_LOG2[n]!;
  if (known !== 0) return known;
  const value = n * Math.log2(n);
  TIMES_LOG2[n] = value;
  return value;
}

/**
 * First and last byte that occurs, u8 each; then for each byte from the one to the other its frequency plus 1 in Elias
 * gamma code (n - 1 zeros, then the n bits, least significant bit of a byte first), filled with zeros to a whole byte.
 */
export function writeFrequencies(frequencies: Uint16Array): Uint8Array {
  let first = 0;
  let last = 255;
  while (first < 255 && frequencies[first] === 0) first++;
  while (last > first && frequencies[last] === 0) last--;
  const bytes = new Uint8Array(WRITTEN_BYTES_MAX);
  bytes[0] = first;
  bytes[1] = last;
  let at = 16;
  for (let byte = first; byte <= last; byte++) {
    const value = frequencies[byte]! + 1;
    const length = 32 - Math.clz32(value);
    at += length - 1;
    for (let i = length - 1; i >= 0; i--, at++) bytes[at >> 3]! |= ((value >> i) & 1) << (at & 7);
  }
  return bytes.subarray(0, (at + 7) >> 3);
}

/** 256 numbers of up to 25 bits, and which they are. */
const WRITTEN_BYTES_MAX = 2 + (256 * 25) / 8;

/** Reads what `writeFrequencies` wrote; undefined for anything that is no table. `sizeBytes` is how long it was. */
export function readFrequencies(
  bytes: Uint8Array,
): { frequencies: Uint16Array; sizeBytes: number } | undefined {
  const first = bytes[0];
  const last = bytes[1];
  if (first === undefined || last === undefined || first > last) return undefined;
  const frequencies = new Uint16Array(256);
  let at = 16;
  const end = bytes.length * 8;
  const bit = () => {
    const value = at < end ? (bytes[at >> 3]! >> (at & 7)) & 1 : 0;
    at++;
    return value;
  };
  for (let byte = first; byte <= last; byte++) {
    let zeros = 0;
    while (bit() === 0) if (++zeros > 12) return undefined;
    let value = 1;
    for (let i = 0; i < zeros; i++) value = value * 2 + bit();
    if (value - 1 > TOTAL) return undefined;
    frequencies[byte] = value - 1;
  }
  if (at > end) return undefined;
  return { frequencies, sizeBytes: Math.ceil(at / 8) };
}
