import { crc32c } from "@node-rs/crc32";
import { StoreError } from "../errors.ts";
import { SNAPSHOT_BYTES_MAX } from "../limits.ts";

/**
 * A snapshot slot: the whole critical state right after one LSN. Integers are little-endian.
 *
 * ```
 *   0      header page, 4,096 bytes
 *            0  "VARVSNAP"            32  u64 body bytes
 *            8  u32 format version    40  u32 chunks
 *           12  u32 snapshot number   44  u32 CRC-32C over the chunks' checksums, in order
 *           16  u64 LSN               48  u32 CRC-32C of bytes 0..47
 *           24  u64 time in µs        52  zeros
 *   4096   chunks: u32 length, u32 CRC-32C seeded with the snapshot number, payload
 *
 *   payload  u8 type, then
 *     1 catalog       varint count, maps: varint number, text name, varint highest schema version
 *                     varint count, sequences: varint number, text name, i64 next, varint adopted fence
 *                     u64 log base: LSN = number in the log + base
 *                     varint fences, u8 kind (0 no fence), text detail
 *     2 entries       a run in key order, each key above those of earlier runs of the map
 *     3 idempotency   varint count, each: text key, u64 LSN, u64 time, varint length, value
 *     4 history       text file, u64 bytes, 32-byte head of the audit chain; always the last chunk
 *
 *   a run    varint map, varint count, u8 columns (1 expiry, 2 one schema version for all)
 *            u16 × count key bytes, u32 × count value bytes, u64 × count LSN
 *            [u64 × count expiry], varint schema version or u16 × count schema versions
 *            keys, values
 * ```
 *
 * The header is zeroed before the slot is written again and written last, each followed by a sync: a slot is
 * either whole or recognizably not. Seeding the checksums with the number keeps chunks of an older snapshot in the
 * same slot from passing for chunks of this one.
 */
const SNAPSHOT_MAGIC = Buffer.from("VARVSNAP");
export const SNAPSHOT_VERSION = 1;
export const HEADER_BYTES = 4096;
const HEADER_CHECKED_BYTES = 48;
export const CHUNK_HEADER_BYTES = 8;
/** A chunk is ended at this size, so that verification works in short slices; one large value may exceed it. */
export const CHUNK_BYTES_TARGET = 128 << 10;

export const CHUNK_CATALOG = 1;
export const CHUNK_ENTRIES = 2;
export const CHUNK_IDEMPOTENCY = 3;
export const CHUNK_HISTORY = 4;

export const COLUMN_EXPIRY = 1;
export const COLUMN_ONE_VERSION = 2;

export const SLOT_NAMES = ["snapshot-a", "snapshot-b"] as const;

export interface SnapshotHeader {
  number: number;
  lsn: number;
  timeUs: number;
  bodyBytes: number;
  chunks: number;
  chunksCrc: number;
}

export function encodeHeader(header: SnapshotHeader): Buffer {
  const page = Buffer.alloc(HEADER_BYTES);
  SNAPSHOT_MAGIC.copy(page, 0);
  page.writeUInt32LE(SNAPSHOT_VERSION, 8);
  page.writeUInt32LE(header.number, 12);
  page.writeBigUInt64LE(BigInt(header.lsn), 16);
  page.writeBigUInt64LE(BigInt(header.timeUs), 24);
  page.writeBigUInt64LE(BigInt(header.bodyBytes), 32);
  page.writeUInt32LE(header.chunks, 40);
  page.writeUInt32LE(header.chunksCrc, 44);
  page.writeUInt32LE(crc32c(page.subarray(0, HEADER_CHECKED_BYTES)), HEADER_CHECKED_BYTES);
  return page;
}

/** The header in a page, or `undefined` when it is not a whole one. */
export function decodeHeader(page: Buffer): SnapshotHeader | undefined {
  if (!isWhole(page)) return undefined;
  const [lsn, timeUs, bodyBytes] = [16, 24, 32].map((offset) => Number(page.readBigUInt64LE(offset)));
  const number = page.readUInt32LE(12);
  const chunks = page.readUInt32LE(40);
  return {
    number,
    lsn: lsn!,
    timeUs: timeUs!,
    bodyBytes: bodyBytes!,
    chunks,
    chunksCrc: page.readUInt32LE(44),
  };
}

/**
 * Format version of a whole header, which has its checksum in the same place in every version; `undefined` for a
 * torn one, whose version would be noise.
 */
export function headerVersion(page: Buffer): number | undefined {
  return isWhole(page) ? page.readUInt32LE(8) : undefined;
}

function isWhole(page: Buffer): boolean {
  if (page.byteLength < HEADER_BYTES || !page.subarray(0, 8).equals(SNAPSHOT_MAGIC)) return false;
  return crc32c(page.subarray(0, HEADER_CHECKED_BYTES)) === page.readUInt32LE(HEADER_CHECKED_BYTES);
}

/** The next link in the checksum over all chunks. */
export function chainCrc(chain: number, chunkCrc: number): number {
  const link = Buffer.allocUnsafe(4);
  link.writeUInt32LE(chunkCrc, 0);
  return crc32c(link, chain);
}

/** A snapshot that no opening has room for is not written, and none is read. */
export function tooLarge(sizeBytes: number): StoreError {
  return new StoreError(
    "ERR_LIMIT",
    `a snapshot of critical state takes at most ${SNAPSHOT_BYTES_MAX} bytes`,
    {
      context: { limit: SNAPSHOT_BYTES_MAX, sizeBytes },
      hint: "Remove entries that are not needed any more, or keep them in a series or in strategy state.",
    },
  );
}
