import { crc32c } from "@node-rs/crc32";
import { crc32cTables } from "../crc32c.ts";

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

const TABLES = crc32cTables(8);
const [T0, T1, T2, T3, T4, T5, T6, T7] = [0, 1, 2, 3, 4, 5, 6, 7].map((behind) =>
  TABLES.subarray(behind * 256, (behind + 1) * 256),
) as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];

/** Eight bytes at once: rows come one after the other, and the tables stay in the cache. */
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
