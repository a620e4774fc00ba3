import { createRequire } from "node:module";
import { crc32cTables } from "../crc32c.ts";

type Crc32c = (bytes: Uint8Array, initial?: number) => number;
let loadedCrc: Crc32c | undefined;

/** Up to here the loop below is faster than a call into the library, which a commit finds in no cache. */
const LOOP_BYTES_MAX = 1024;

/** Four bytes at once: their tables fit beside what else a commit has in the cache. */
const tables = crc32cTables(4);

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
