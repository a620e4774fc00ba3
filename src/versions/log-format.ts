/**
 * The version log: one checksummed record a change, appended and synced before anybody is told of it.
 * `docs/formats/version-log.md` has the same layout with a worked example.
 *
 *     log    = header record*
 *
 *     header (512 bytes)
 *       0  8  magic "VARVELG1"
 *       8  2  format version (1)
 *      10  2  zero
 *      12 16  store id
 *      28  4  CRC-32C of bytes 0..27
 *      32  …  zero
 *
 *     record (a multiple of 512 bytes)
 *       0  4  magic "REC1"
 *       4  4  CRC-32C from byte 8 on, seeded with the store id and the record's offset
 *       8  4  payload size in bytes
 *      12  8  seq: 1 for the first record, one more for each next
 *      20  8  time, microseconds since the Unix epoch, strictly increasing
 *      28  …  payload: MessagePack array of changes [map, key, value | null]; null removes the key
 *          …  zero, up to the next multiple of 512
 *
 * Records fill whole sectors, so that appending one never rewrites a sector that holds another.
 *
 * Beside it lies the mark (32 bytes): how far the log was known durable. It is written after each sync and never
 * synced itself. A log whose good records end before the mark has lost acknowledged records: rot, not a torn tail.
 *
 *     mark
 *       0  4  magic "MRK1"
 *       4  4  CRC-32C from byte 8 on, seeded with the store id
 *       8  8  bytes of the log
 *      16  8  seq of its last record
 *      24  8  zero
 *
 * Integers are little-endian.
 */
import { crc32c } from "@node-rs/crc32";
import { SECTOR_BYTES } from "../limits.ts";

export const LOG_FORMAT_VERSION = 1;
export const LOG_MAGIC = Buffer.from("VARVELG1", "latin1");
export const LOG_HEADER_BYTES = 512;
/** Bytes of the header that mean something; zeros follow. */
export const LOG_HEADER_USED_BYTES = 32;
export const RECORD_MAGIC = 0x31434552; // "REC1"
export const RECORD_HEADER_BYTES = 28;
export const MARK_MAGIC = 0x314b524d; // "MRK1"
export const MARK_BYTES = 32;

export interface LogRecord {
  seq: bigint;
  timeUs: bigint;
  payload: Uint8Array;
}

export interface Mark {
  logBytes: number;
  seq: bigint;
}

/** Bytes a record takes in the log: whole sectors. */
export function recordBytes(payloadBytes: number): number {
  return Math.ceil((RECORD_HEADER_BYTES + payloadBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/** What the checksum of a record at `offset` starts from. */
export function recordSeed(storeId: Uint8Array, offset: number): number {
  const place = Buffer.alloc(24);
  place.set(storeId, 0);
  place.writeBigUInt64LE(BigInt(offset), 16);
  return crc32c(place);
}
