import { createRequire } from "node:module";

type Crc32c = (bytes: Uint8Array, initial?: number) => number;
let loadedCrc: Crc32c | undefined;

/** Up to here the loop below is faster than a call into the library, which a commit finds in no cache. */
const LOOP_BYTES_MAX = 1024;

/** The reversed polynomial of Castagnoli, Bräuer and Herrmann (1993). */
const POLYNOMIAL = 0x82f63b78;

/** Remainders of each byte with 0 to 3 bytes behind it: slicing by four (Kounavis and Berry, Intel, 2005). */
const tables = makeTables();

function makeTables(): Int32Array {
  const made = new Int32Array(4 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ POLYNOMIAL;
    }
    made[byte] = remainder;
  }
  for (let at = 256; at < made.length; at++) {
    const before = made[at - 256]!;
    made[at] = (before >>> 8) ^ made[before & 0xff]!;
  }
  return made;
}

/**
 * CRC-32C (Castagnoli) of the first `length` bytes of a block. A solo commit has a few hundred of them.
 *
 * @param view of the same memory as `bytes`.
 */
export function blockChecksum(bytes: Uint8Array, view: DataView, length: number): number {
  if (length > LOOP_BYTES_MAX) return library()(bytes.subarray(0, length));
  let crc = -1;
  const whole = length & ~3;
  for (let at = 0; at < whole; at += 4) {
    const word = crc ^ view.getInt32(at, true);
    crc =
      tables[768 + (word & 0xff)]! ^
      tables[512 + ((word >>> 8) & 0xff)]! ^
      tables[256 + ((word >>> 16) & 0xff)]! ^
      tables[word >>> 24]!;
  }
  for (let at = whole; at < length; at++) crc = tables[(crc ^ view.getUint8(at)) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Loaded on first use. */
function library(): Crc32c {
  loadedCrc ??= (createRequire(import.meta.url)("@node-rs/crc32") as { crc32c: Crc32c }).crc32c;
  return loadedCrc;
}
