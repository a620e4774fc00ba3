import { crc32c } from "@node-rs/crc32";

/**
 * Where each chunk's frame lies. The index is never the only copy of anything: packs name their chunks, so it can
 * be rebuilt from them.
 */
export interface ChunkIndex {
  get(digest: Uint8Array): ChunkEntry | undefined;
  /** The chunk whose digest begins with these 16 bytes. */
  find(shortDigest: Uint8Array): { digest: Uint8Array; entry: ChunkEntry } | undefined;
  /** How far each pack is known to hold good, indexed frames. */
  packEnd(packId: bigint): PackEnd | undefined;
  packEnds(): Iterable<PackEnd>;
  entries(): Iterable<{ digest: Uint8Array; entry: ChunkEntry }>;
  /** Applies all changes or none; durable when it resolves. A failure poisons the index: `ERR_POISONED` after it. */
  commit(changes: IndexChanges): Promise<void>;
  /**
   * To be asked before that many entries are committed: a full disk is refused while it does no harm, as after a commit
   * that meets it the store has to be opened again.
   * @throws `ERR_DISK_FULL`
   */
  requireSpace(entries: number): void;
  /** Sees what other processes have committed since the last look. */
  refresh(): void;
  /** Bytes of the index on disk. */
  sizeBytes(): number;
  close(): Promise<void>;
}

export interface ChunkEntry {
  packId: bigint;
  offset: number;
  frameBytes: number;
  /** Which of the frame's chunks it is. */
  ordinal: number;
  depth: number;
  costKiB: number;
  rawBytes: number;
}

export interface PackEnd {
  packId: bigint;
  goodBytes: number;
  frameCount: number;
}

export interface IndexChanges {
  /**
   * Added unless the chunk is known already: two saves may store the same chunk at once, and what was stored against
   * the first one's frame counts on how deep that lies. Read once; a digest is used before the next is asked for.
   */
  puts: Iterable<{ digest: Uint8Array; entry: ChunkEntry }>;
  /** Put in the place of what is known. */
  moves?: Iterable<{ digest: Uint8Array; entry: ChunkEntry }>;
  deletes?: Uint8Array[];
  packEnds?: PackEnd[];
  packsRemoved?: bigint[];
}

export const INDEX_FORMAT_VERSION = 1;
export const ENTRY_BYTES = 32;
const PACK_END_BYTES = 16;

/**
 * An entry as the index stores it, 32 bytes, little-endian: pack id 8, offset 6, frame bytes 4, ordinal 1, depth 1,
 * cost 2, raw bytes 4, zero 2, CRC-32C over key and the bytes before it 4.
 */
export function encodeEntry(digest: Uint8Array, entry: ChunkEntry): Buffer {
  // From the shared pool: thousands of these are made for one commit.
  const bytes = Buffer.allocUnsafe(ENTRY_BYTES).fill(0);
  // Buffer's own writing of 64 bits makes a number of each byte.
  bytes.writeUInt32LE(Number(entry.packId & 0xffffffffn), 0);
  bytes.writeUInt32LE(Number(entry.packId >> 32n), 4);
  bytes.writeUIntLE(entry.offset, 8, 6);
  bytes.writeUInt32LE(entry.frameBytes, 14);
  bytes[18] = entry.ordinal;
  bytes[19] = entry.depth;
  bytes.writeUInt16LE(entry.costKiB, 20);
  bytes.writeUInt32LE(entry.rawBytes, 22);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 28), crc32c(digest)), 28);
  return bytes;
}

/** The entry, or `undefined` when its bytes are not what was stored under this digest. */
export function decodeEntry(digest: Uint8Array, bytes: Uint8Array): ChunkEntry | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength !== ENTRY_BYTES) return undefined;
  if (crc32c(view.subarray(0, 28), crc32c(digest)) !== view.readUInt32LE(28)) return undefined;
  return {
    packId: view.readBigUInt64LE(0),
    offset: view.readUIntLE(8, 6),
    frameBytes: view.readUInt32LE(14),
    ordinal: view[18]!,
    depth: view[19]!,
    costKiB: view.readUInt16LE(20),
    rawBytes: view.readUInt32LE(22),
  };
}

/** Good bytes 8, frames 4, CRC-32C over the key and them 4. */
export function encodePackEnd(key: Uint8Array, end: PackEnd): Buffer {
  const bytes = Buffer.alloc(PACK_END_BYTES);
  bytes.writeBigUInt64LE(BigInt(end.goodBytes), 0);
  bytes.writeUInt32LE(end.frameCount, 8);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 12), crc32c(key)), 12);
  return bytes;
}

export function decodePackEnd(key: Uint8Array, bytes: Uint8Array): PackEnd | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength !== PACK_END_BYTES) return undefined;
  if (crc32c(view.subarray(0, 12), crc32c(key)) !== view.readUInt32LE(12)) return undefined;
  return {
    packId: packIdOfKey(key),
    goodBytes: Number(view.readBigUInt64LE(0)),
    frameCount: view.readUInt32LE(8),
  };
}

/** Packs share the key space with digests: nine bytes, which no digest has. */
export function packKey(packId: bigint): Buffer {
  const key = Buffer.alloc(9);
  key[0] = 0x50; // "P"
  key.writeBigUInt64BE(packId, 1);
  return key;
}

function packIdOfKey(key: Uint8Array): bigint {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).readBigUInt64BE(1);
}
