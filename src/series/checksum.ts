import { crc32c } from "@node-rs/crc32";

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4) of bytes, as an unsigned number. */
export function checksumOf(bytes: Uint8Array): number {
  return crc32c(bytes);
}

/** Up to this many bytes are summed up here: calling native code takes longer than they do. */
const OWN_BYTES = 192;

/** The same of bytes [from, to), by a view of the same memory; where they are few, without a call of native code. */
export function checksumWithin(bytes: Uint8Array, view: DataView, from: number, to: number): number {
  return to - from > OWN_BYTES ? crc32c(bytes.subarray(from, to)) : sumUp(bytes, view, from, to);
}

/** What each byte does to the remainder that lies 0 to 7 bytes after it. */
const TABLES = makeTables();
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
];

function makeTables(): Int32Array[] {
  const tables = Array.from({ length: 8 }, () => new Int32Array(256));
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit++)
      remainder = (remainder >>> 1) ^ ((remainder & 1) === 1 ? 0x82f6_3b78 : 0);
    tables[0]![byte] = remainder;
  }
  for (let behind = 1; behind < 8; behind++) {
    for (let byte = 0; byte < 256; byte++) {
      const before = tables[behind - 1]![byte]!;
      tables[behind]![byte] = tables[0]![before & 0xff]! ^ (before >>> 8);
    }
  }
  return tables;
}

/** Eight bytes at a time ("slicing by 8", Kounavis and Berry 2005). */
function sumUp(bytes: Uint8Array, view: DataView, from: number, to: number): number {
  let sum = -1;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    sum ^= view.getInt32(at, true);
    const next = view.getInt32(at + 4, true);
    sum =
      T7[sum & 0xff]! ^
      T6[(sum >>> 8) & 0xff]! ^
      T5[(sum >>> 16) & 0xff]! ^
      T4[sum >>> 24]! ^
      T3[next & 0xff]! ^
      T2[(next >>> 8) & 0xff]! ^
      T1[(next >>> 16) & 0xff]! ^
      T0[next >>> 24]!;
  }
  for (; at < to; at++) sum = T0[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8);
  return ~sum >>> 0;
}
