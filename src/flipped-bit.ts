import { crc32cTables } from "./crc32c.ts";

/**
 * Finds the one bit whose flip explains a wrong CRC-32C, or `undefined` when no single bit does.
 *
 * A CRC is linear over exclusive or: flipping a bit changes it by a value that depends only on how many bytes follow.
 * So the difference between the checksum wanted and the one found names the bit, found by going backwards from the
 * last byte and advancing eight such values by one zero byte at a time. (Source: the algebra of cyclic codes; that a
 * CRC can correct single-bit errors within its period is in any text on them.)
 *
 * @param bytes what the checksum covers
 * @param wanted the checksum the bytes should have
 * @param found the checksum they have, with the same seed
 * @returns the bit's number, counted from the first byte's lowest bit
 */
export function flippedBit(bytes: Uint8Array, wanted: number, found: number): number | undefined {
  const difference = wanted ^ found;
  if (difference === 0) return undefined;
  const effects = Int32Array.from({ length: 8 }, (_, bit) => TABLE[1 << bit]!);
  for (let at = bytes.byteLength - 1; at >= 0; at--) {
    for (let bit = 0; bit < 8; bit++) {
      if (effects[bit] === difference) return at * 8 + bit;
      effects[bit] = followedByZero(effects[bit]!);
    }
  }
  return undefined;
}

/** What a byte does to the checksum of bytes that end with it. */
const TABLE = crc32cTables(1);

function followedByZero(effect: number): number {
  return (effect >>> 8) ^ TABLE[effect & 0xff]!;
}

/** Flips a bit of `bytes` in place. */
export function flipBit(bytes: Uint8Array, bit: number): void {
  bytes[bit >> 3]! ^= 1 << (bit & 7);
}

/** Tries each bit of the first `limitBytes` until `good` accepts what it makes; leaves the bytes mended, or as they were. */
export function flipUntil(bytes: Uint8Array, limitBytes: number, good: () => boolean): boolean {
  for (let bit = 0; bit < Math.min(limitBytes, bytes.byteLength) * 8; bit++) {
    flipBit(bytes, bit);
    if (good()) return true;
    flipBit(bytes, bit);
  }
  return false;
}
