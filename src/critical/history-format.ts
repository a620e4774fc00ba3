import { blake3 } from "@napi-rs/blake-hash";
import { crc32c } from "@node-rs/crc32";
import { SECTOR_BYTES } from "../limits.ts";

/**
 * History files hold every record that has left the log, with what each change replaced, compressed and
 * hash-chained. Integers are little-endian.
 *
 * ```
 *   file    "VARVHIST", u32 format version, u32 CRC-32C of bytes 0..11 and 16..55, u64 first LSN,
 *           32-byte link before the first block (zeros in a store's first file); then blocks, each at the next
 *           multiple of 512 bytes: a power cut may ruin the sectors being written, so that none may hold the end
 *           of a block that is durable already
 *
 *   block    0  u32 CRC-32C of bytes 4 to the block's end
 *            4  u32 stored bytes       8  u32 raw bytes
 *           12  u32 filter bytes      16  u32 records
 *           20  u64 first LSN         28  u64 last LSN
 *           36  u64 first time        44  u64 last time
 *           52  32-byte link: BLAKE3 of the previous link and the raw bytes
 *           84  filter, stored bytes: for each MiB of the raw bytes u32 length and one zstd frame
 *
 *   raw      record*
 *   record   u64 LSN, u64 time, u8 kind (1 transaction, 2 cut), u8 flags as in the log, actor, reason, based on,
 *            [idempotency key], [cut name, varint length, body], varint count, change*
 *   change   u8 1: name map, text key, u8 flags (1 after, 2 before, 4 by clear), versions as flagged
 *            u8 2: name sequence, i64 before, i64 next, u8 adopts
 *            u8 3: u8 kind of fence (0 lifted), varint number, text detail
 *   version  varint schema version, u64 LSN, u64 expiry, varint length, value
 *   name     varint number of the name in this block; with the next free number its text follows
 * ```
 *
 * The filter is a Bloom filter over map and key, one byte for each map change: a block that cannot hold a key is not
 * decompressed. Four probes from two hashes (Kirsch and Mitzenmacher, "Less hashing, same performance", 2006).
 */
const HISTORY_MAGIC = Buffer.from("VARVHIST");
export const HISTORY_VERSION = 2;
export const FILE_HEADER_BYTES = 56;
export const BLOCK_HEADER_BYTES = 92;
export const LINK_BYTES = 32;
const LINK_OFFSET = 52;
/** A block is ended at this many raw bytes; one large record may exceed it. */
export const BLOCK_RAW_BYTES = 64 << 10;
/** The same while many records wait, so that sealing keeps up with a burst. */
export const BLOCK_RAW_BYTES_BUSY = 256 << 10;
/** Raw bytes that one zstd frame holds: what one decode may make of it is bounded by that. */
export const FRAME_RAW_BYTES = 1 << 20;
/** A history file is ended at this size: the unit that is kept or dropped. */
export const FILE_BYTES_TARGET = 8 << 20;
/** Refused when reading: no record with what it replaced comes near it. */
export const BLOCK_RAW_BYTES_MAX = 1 << 30;
export const NO_LINK = Buffer.alloc(LINK_BYTES);

export const CHANGE_MAP = 1;
export const CHANGE_SEQUENCE = 2;
export const CHANGE_FENCE = 3;
export const HAS_AFTER = 1;
export const HAS_BEFORE = 2;
export const BY_CLEAR = 4;

export interface BlockHeader {
  storedBytes: number;
  rawBytes: number;
  filterBytes: number;
  records: number;
  firstLsn: number;
  lastLsn: number;
  firstTimeUs: number;
  lastTimeUs: number;
  link: Buffer;
  /** CRC-32C of the filter, which is read without the rest. */
  filterCrc: number;
}

/** Where the next block begins. */
export function nextSector(sizeBytes: number): number {
  return Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES;
}

export function encodeFileHeader(firstLsn: number, link: Buffer): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  HISTORY_MAGIC.copy(header, 0);
  header.writeUInt32LE(HISTORY_VERSION, 8);
  header.writeBigUInt64LE(BigInt(firstLsn), 16);
  link.copy(header, 24);
  header.writeUInt32LE(fileHeaderCrc(header), 12);
  return header;
}

export interface FileHeader {
  version: number;
  firstLsn: number;
  link: Buffer;
}

export function decodeFileHeader(header: Buffer): FileHeader | undefined {
  if (header.byteLength < FILE_HEADER_BYTES || !header.subarray(0, 8).equals(HISTORY_MAGIC)) return undefined;
  if (header.readUInt32LE(12) !== fileHeaderCrc(header)) return undefined;
  return {
    version: header.readUInt32LE(8),
    firstLsn: Number(header.readBigUInt64LE(16)),
    link: Buffer.from(header.subarray(24, 24 + LINK_BYTES)),
  };
}

function fileHeaderCrc(header: Buffer): number {
  return crc32c(header.subarray(16, FILE_HEADER_BYTES), crc32c(header.subarray(0, 12)));
}

export function encodeBlockHeader(target: Buffer, header: BlockHeader): void {
  target.writeUInt32LE(header.storedBytes, 4);
  target.writeUInt32LE(header.rawBytes, 8);
  target.writeUInt32LE(header.filterBytes, 12);
  target.writeUInt32LE(header.records, 16);
  target.writeBigUInt64LE(BigInt(header.firstLsn), 20);
  target.writeBigUInt64LE(BigInt(header.lastLsn), 28);
  target.writeBigUInt64LE(BigInt(header.firstTimeUs), 36);
  target.writeBigUInt64LE(BigInt(header.lastTimeUs), 44);
  header.link.copy(target, LINK_OFFSET);
  target.writeUInt32LE(header.filterCrc, 84);
  target.writeUInt32LE(blockHeaderCrc(target), 88);
}

/** Headers and filters say which blocks need not be read: they have checksums of their own. */
function blockHeaderCrc(block: Buffer): number {
  return crc32c(block.subarray(4, 88));
}

/** `undefined` when it is not what was written. */
export function decodeBlockHeader(source: Buffer): BlockHeader | undefined {
  if (source.byteLength < BLOCK_HEADER_BYTES || source.readUInt32LE(88) !== blockHeaderCrc(source))
    return undefined;
  const [firstLsn, lastLsn, firstTimeUs, lastTimeUs] = [20, 28, 36, 44].map((offset) =>
    Number(source.readBigUInt64LE(offset)),
  );
  const header: BlockHeader = {
    storedBytes: source.readUInt32LE(4),
    rawBytes: source.readUInt32LE(8),
    filterBytes: source.readUInt32LE(12),
    records: source.readUInt32LE(16),
    firstLsn: firstLsn!,
    lastLsn: lastLsn!,
    firstTimeUs: firstTimeUs!,
    lastTimeUs: lastTimeUs!,
    link: Buffer.from(source.subarray(LINK_OFFSET, LINK_OFFSET + LINK_BYTES)),
    filterCrc: source.readUInt32LE(84),
  };
  if (header.rawBytes > BLOCK_RAW_BYTES_MAX || header.firstLsn > header.lastLsn) return undefined;
  return header;
}

export function nextLink(previous: Buffer, raw: Buffer): Buffer {
  return blake3(Buffer.concat([previous, raw]));
}

export const HASH_PRIME = 0x01000193;
export const SECOND_OFFSET = 0x9e37;

/** Two hashes of map and key, both odd multiples apart (FNV-1a, public domain, with two offsets). */
export function keyHashes(map: string, key: string): [number, number] {
  let [first, second] = mapHashes(map);
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i);
    first = Math.imul(first ^ code, HASH_PRIME);
    second = Math.imul(second ^ (code + SECOND_OFFSET), HASH_PRIME);
  }
  return [first >>> 0, (second | 1) >>> 0];
}

/** The hashes as far as the map goes; `addKeyHashes` goes on from there. */
export function mapHashes(map: string): [number, number] {
  let first = 0x811c9dc5;
  let second = 0x9dc5811c;
  for (const text of [map, "\0"]) {
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      first = Math.imul(first ^ code, HASH_PRIME);
      second = Math.imul(second ^ (code + SECOND_OFFSET), HASH_PRIME);
    }
  }
  return [first, second];
}

/** Two hashes for each of a block's keys, in memory that the next block uses again. */
export class KeyHashes {
  values = new Uint32Array(2048);
  count = 0;

  add(first: number, second: number): void {
    if (this.count === this.values.length) {
      const grown = new Uint32Array(this.count * 2);
      grown.set(this.values);
      this.values = grown;
    }
    this.values[this.count++] = first;
    this.values[this.count++] = second;
  }
}

/** Adds the hashes of a key that is given as bytes; `false`, and nothing added, when these are not all ASCII. */
export function addKeyHashes(
  hashes: KeyHashes,
  [mapFirst, mapSecond]: readonly [number, number],
  buffer: Buffer,
  start: number,
  end: number,
): boolean {
  let first = mapFirst;
  let second = mapSecond;
  for (let at = start; at < end; at++) {
    const code = buffer[at]!;
    if (code >= 0x80) return false;
    first = Math.imul(first ^ code, HASH_PRIME);
    second = Math.imul(second ^ (code + SECOND_OFFSET), HASH_PRIME);
  }
  hashes.add(first, second | 1);
  return true;
}

const PROBES = 4;

export function filterAdd(filter: Buffer, first: number, second: number): void {
  const bits = filter.byteLength * 8;
  for (let probe = 0; probe < PROBES; probe++) {
    const bit = (first + probe * second) % bits;
    filter[bit >>> 3]! |= 1 << (bit & 7);
  }
}

export function filterMayHold(filter: Buffer, [first, second]: [number, number]): boolean {
  const bits = filter.byteLength * 8;
  for (let probe = 0; probe < PROBES && bits > 0; probe++) {
    const bit = (first + probe * second) % bits;
    if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return bits > 0;
}
