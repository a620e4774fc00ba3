import { CRC32C_POLYNOMIAL, crc32cTables } from "../crc32c.ts";

/**
 * The CRC-32C of bytes from another start, without another look at the bytes.
 *
 * A CRC is linear: what a seed adds to the checksum of n bytes is that seed pushed through n zero bytes, which is a
 * multiplication by x^8n modulo the polynomial (M. Adler, zlib's crc32_combine). The thread that makes a payload takes its
 * checksum while it is in its cache; the one that learns where it will lie adds the place.
 */

/** The polynomial 1, bits reversed. */
const ONE = 0x80000000;

/** x^(8 * 2^k) modulo the polynomial: 32 squarings reach any size below 4 GiB. */
const POWERS = powers();

function powers(): Uint32Array {
  const table = new Uint32Array(32);
  let power = ONE >>> 8;
  for (let k = 0; k < table.length; k++) {
    table[k] = power;
    power = product(power, power);
  }
  return table;
}

/** The product of two polynomials modulo the third. */
function product(a: number, b: number): number {
  let sum = 0;
  let factor = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) {
      sum ^= factor;
      if ((a & (bit - 1)) === 0) break;
    }
    factor = (factor & 1) !== 0 ? (factor >>> 1) ^ CRC32C_POLYNOMIAL : factor >>> 1;
  }
  return sum >>> 0;
}

const BYTES = crc32cTables(1);

/**
 * `crc32c(bytes.subarray(start, end), seed)` for the few dozen bytes of a small frame's header, which take less time than
 * a call of native code does.
 */
export function shortCrc(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let crc = ~seed;
  for (let at = start; at < end; at++) crc = BYTES[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** What `crc32c(bytes, seed)` is, for bytes of which `crc = crc32c(bytes)` is known. */
export function seededCrc(crc: number, seed: number, sizeBytes: number): number {
  let shifted = seed;
  for (let k = 0, left = sizeBytes; left > 0; k++, left = Math.floor(left / 2)) {
    if (left % 2 === 1) shifted = product(POWERS[k]!, shifted);
  }
  return (crc ^ shifted) >>> 0;
}
