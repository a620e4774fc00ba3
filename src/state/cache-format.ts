/**
 * The dump of a cached map, written when it is closed and removed when it is opened: what a crash leaves behind is no
 * dump. `docs/formats/cache-dump.md` has the same layout with a worked example.
 *
 *     0  8  magic "VARVECH1"
 *     8  4  CRC-32C from byte 12 on, seeded with the store id
 *    12  8  payload size in bytes
 *    20  …  payload: MessagePack array of entries [key, value, expiresAtMs | 0], the least recently used first
 *
 * Integers are little-endian.
 */
import { crc32c } from "@node-rs/crc32";
import { Packr, Unpackr } from "msgpackr";

const MAGIC = Buffer.from("VARVECH1", "latin1");
const HEADER_BYTES = 20;

const packr = new Packr({ useRecords: false, moreTypes: true, useBigIntExtension: true });
const unpackr = new Unpackr({ useRecords: false, moreTypes: true });

/** Key, value as MessagePack, and the instant it expires, 0 for never. */
export type CacheEntry = [key: string, value: Uint8Array, expiresAtMs: number];

export function packCached(value: unknown): Uint8Array {
  return new Uint8Array(packr.pack(value));
}

export function unpackCached(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}

export function encodeDump(entries: readonly CacheEntry[], storeId: Uint8Array): Uint8Array {
  const payload = packr.pack(entries);
  const bytes = Buffer.alloc(HEADER_BYTES + payload.byteLength);
  bytes.set(MAGIC, 0);
  bytes.writeBigUInt64LE(BigInt(payload.byteLength), 12);
  bytes.set(payload, HEADER_BYTES);
  bytes.writeUInt32LE(crc32c(bytes.subarray(12), crc32c(storeId)), 8);
  return bytes;
}

/** The entries, or `undefined` for bytes that are no whole dump of this store: a cache may vanish. */
export function decodeDump(bytes: Uint8Array, storeId: Uint8Array): CacheEntry[] | undefined {
  const dump = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dump.byteLength < HEADER_BYTES || !dump.subarray(0, 8).equals(MAGIC)) return undefined;
  if (dump.readBigUInt64LE(12) !== BigInt(dump.byteLength - HEADER_BYTES)) return undefined;
  if (crc32c(dump.subarray(12), crc32c(storeId)) !== dump.readUInt32LE(8)) return undefined;
  return unpackr.unpack(dump.subarray(HEADER_BYTES)) as CacheEntry[];
}
