/**
 * What CRC-32C is made of, for those who sum up a few bytes, move a checksum or look for a flipped bit themselves. Whole
 * buffers go to `@node-rs/crc32`.
 */

/** The reversed polynomial of Castagnoli, Bräuer and Herrmann (1993; RFC 3720, appendix B.4): x^0 is the highest bit. */
export const CRC32C_POLYNOMIAL = 0x82f63b78;

/**
 * What each byte does to the remainder with 0, 1, 2, … bytes behind it: 256 words for each of them, one after the other.
 * With several, as many bytes are taken in one step ("slicing", Kounavis and Berry, Intel, 2005).
 */
export function crc32cTables(bytesAtOnce: number): Int32Array {
  const tables = new Int32Array(bytesAtOnce * 256);
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ CRC32C_POLYNOMIAL;
    }
    tables[byte] = remainder;
  }
  for (let at = 256; at < tables.length; at++) {
    const before = tables[at - 256]!;
    tables[at] = (before >>> 8) ^ tables[before & 0xff]!;
  }
  return tables;
}
