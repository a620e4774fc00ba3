import { type Codec, loadCodec } from "../codec/codec.ts";
import { elementOf } from "../codec/element.ts";
import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { CHAIN_DEPTH_MAX, DECODED_CACHE_BYTES } from "../limits.ts";
import type { ChunkEntry, ChunkIndex } from "./chunk-index.ts";
import { digestKey, digestOf, digestText, sameDigest } from "./digest.ts";
import { PackReader } from "./pack-reader.ts";

/**
 * Turns digests into raw bytes: looks the chunk up, reads its frame, decodes it against its bases.
 *
 * Every frame read is checked against its checksums, and what is handed out is hashed and compared with the digest
 * that was asked for: wrong bytes never leave here.
 */
export class ChunkReader {
  readonly index: ChunkIndex;
  readonly #packs: PackReader;
  readonly #codec: Codec;
  readonly #decoded = new Map<string, Uint8Array>();
  #decodedBytes = 0;

  private constructor(index: ChunkIndex, packs: PackReader, codec: Codec) {
    this.index = index;
    this.#packs = packs;
    this.#codec = codec;
  }

  static async open(disk: Disk, packsDirectory: string, index: ChunkIndex): Promise<ChunkReader> {
    return new ChunkReader(index, new PackReader(disk, packsDirectory), await loadCodec());
  }

  /**
   * The chunk's raw bytes, hashed and compared. They belong to the reader's cache: read them, do not change them.
   * @throws `ERR_STORE_CORRUPT` when the chunk is missing, damaged, or not what its digest says.
   */
  read(digest: Uint8Array): Uint8Array {
    const bytes = this.#retrying(() => this.#decode(this.#lookUp(digest), digest, 0));
    verify(digest, bytes);
    return bytes;
  }

  /** Like `read`, into `target`, which must have exactly the chunk's raw size. */
  readInto(digest: Uint8Array, target: Uint8Array): void {
    const entry = this.#lookUp(digest);
    if (entry.rawBytes !== target.byteLength) {
      throw new StoreError(
        "ERR_STORE_CORRUPT",
        `chunk ${digestText(digest)} holds ${entry.rawBytes} bytes where its manifest expects ${target.byteLength}`,
        { hint: "Run `varve check --read-data`, then `varve repair`." },
      );
    }
    this.#retrying(() => this.#decodeInto(this.#lookUp(digest), digest, target));
    verify(digest, target);
  }

  /**
   * Raw bytes of a chunk to encode another one against; not hashed, since the result of that encoding is. Returns
   * `undefined` instead of failing: a base that cannot be read costs bytes, never a save.
   */
  readBase(digest: Uint8Array): { bytes: Uint8Array; entry: ChunkEntry } | undefined {
    const entry = this.index.get(digest);
    if (entry === undefined) return undefined;
    try {
      return { bytes: this.#retrying(() => this.#decode(this.#lookUp(digest), digest, 0)), entry };
    } catch (error) {
      if (isStoreError(error, "ERR_STORE_CORRUPT")) return undefined;
      throw error;
    }
  }

  #lookUp(digest: Uint8Array): ChunkEntry {
    let entry = this.index.get(digest);
    if (entry === undefined) {
      this.index.refresh();
      entry = this.index.get(digest);
    }
    if (entry === undefined) throw missing(digest);
    return entry;
  }

  /** Another process may have rewritten the pack between look-up and read: look again before giving up. */
  #retrying<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!isStoreError(error, "ERR_NOT_FOUND")) throw error;
      this.index.refresh();
      try {
        return read();
      } catch (again) {
        if (!isStoreError(again, "ERR_NOT_FOUND")) throw again;
        throw new StoreError("ERR_STORE_CORRUPT", `${again.message}; the index says a chunk lies there`, {
          context: again.context,
          hint: "Run `varve check`, then `varve repair` to rebuild the index from the packs that are left.",
        });
      }
    }
  }

  #decode(entry: ChunkEntry, digest: Uint8Array, depth: number): Uint8Array {
    const key = digestKey(digest);
    const cached = this.#decoded.get(key);
    if (cached !== undefined) {
      this.#decoded.delete(key);
      this.#decoded.set(key, cached);
      return cached;
    }
    const bytes = new Uint8Array(entry.rawBytes);
    this.#decodeInto(entry, digest, bytes, depth);
    this.#keep(key, bytes);
    return bytes;
  }

  #decodeInto(entry: ChunkEntry, digest: Uint8Array, target: Uint8Array, depth = 0): void {
    if (depth > CHAIN_DEPTH_MAX)
      throw corruptFrame(entry, digest, "its chain of bases is longer than any varve writes");
    const { header, payload } = this.#packs.readFrame(entry.packId, entry.offset, entry.frameBytes);
    const chunk = header.chunks[entry.ordinal];
    if (chunk === undefined || !sameDigest(chunk.digest, digest) || chunk.rawBytes !== target.byteLength) {
      throw corruptFrame(entry, digest, "the frame there holds another chunk");
    }
    const bases = header.bases.map((short) => {
      const found = this.index.find(short);
      if (found === undefined) throw missing(short);
      return this.#decode(found.entry, found.digest, depth + 1);
    });
    const frame = { encoding: header.encoding, element: elementOf(header.element), payload, bases };
    if (header.chunks.length === 1) {
      this.#codec.decode(frame, target);
      return;
    }
    const start = header.chunks.slice(0, entry.ordinal).reduce((sum, each) => sum + each.rawBytes, 0);
    const all = new Uint8Array(header.chunks.reduce((sum, each) => sum + each.rawBytes, 0));
    this.#codec.decode(frame, all);
    target.set(all.subarray(start, start + target.byteLength));
  }

  #keep(key: string, bytes: Uint8Array): void {
    this.#decoded.set(key, bytes);
    this.#decodedBytes += bytes.byteLength;
    for (const [oldest, old] of this.#decoded) {
      if (this.#decodedBytes <= DECODED_CACHE_BYTES) break;
      this.#decoded.delete(oldest);
      this.#decodedBytes -= old.byteLength;
    }
  }

  close(): void {
    this.#packs.close();
    this.#decoded.clear();
    this.#decodedBytes = 0;
  }
}

function verify(digest: Uint8Array, bytes: Uint8Array): void {
  if (!sameDigest(digestOf(bytes), digest)) {
    throw new StoreError(
      "ERR_STORE_CORRUPT",
      `chunk ${digestText(digest)} decodes to other bytes than were saved`,
      {
        context: { digest: Buffer.from(digest).toString("hex") },
        hint: "Run `varve check --read-data` to see which versions are affected, then `varve repair`.",
      },
    );
  }
}

function missing(digest: Uint8Array): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `chunk ${digestText(digest)} is not in the index`, {
    context: { digest: Buffer.from(digest).toString("hex") },
    hint: "Run `varve repair` to rebuild the index from the packs.",
  });
}

function corruptFrame(entry: ChunkEntry, digest: Uint8Array, what: string): StoreError {
  const { packId, offset } = entry;
  return new StoreError("ERR_STORE_CORRUPT", `chunk ${digestText(digest)}: ${what}`, {
    context: { pack: packId.toString(16), offset, digest: Buffer.from(digest).toString("hex") },
    hint: "Run `varve check`, then `varve repair` to rebuild the index from the packs.",
  });
}
