import { type Codec, loadCodec } from "../codec/codec.ts";
import { elementOf } from "../codec/element.ts";
import { applyPatch, PATCH_ID, patcher } from "../codec/encodings/patch.ts";
import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import {
  CHAIN_DEPTH_MAX,
  DECODED_CACHE_BYTES,
  PATCH_DEPTH_MAX,
  PATCHES_TOGETHER_BYTES,
  PATCHES_TOGETHER_MIN,
} from "../limits.ts";
import type { ChunkEntry, ChunkIndex } from "./chunk-index.ts";
import { DecodedCache, type DecodedCacheStats } from "./decoded-cache.ts";
import { digestKey, digestOf, digestText, sameDigest } from "./digest.ts";
import type { FrameHeader } from "./pack-format.ts";
import { type Frame, FrameBuffer, PackReader } from "./pack-reader.ts";
import { PatchFrames } from "./patch-frames.ts";
import { followRuns, type PatchedChunk } from "./patched-run.ts";
import { patchesBytes } from "./restore-cost.ts";
import { readRuns } from "./run-reading.ts";
import { storedRuns, type WantedChunk } from "./stored-runs.ts";

/** A chunk to encode another one against. */
export interface Base {
  digest: Uint8Array;
  /** How deep its own chain is, and what restoring it costs. */
  entry: Pick<ChunkEntry, "depth" | "costKiB">;
  bytes: Uint8Array;
}

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
  readonly #decoded = new DecodedCache(DECODED_CACHE_BYTES);
  readonly #frames: FrameBuffer[] = [];
  /** Room for runs of patches, from the first one on. */
  #patches: PatchFrames | undefined;

  private constructor(index: ChunkIndex, packs: PackReader, codec: Codec) {
    this.index = index;
    this.#packs = packs;
    this.#codec = codec;
  }

  static async open(disk: Disk, packsDirectory: string, index: ChunkIndex): Promise<ChunkReader> {
    return new ChunkReader(index, new PackReader(disk, packsDirectory), await loadCodec());
  }

  /**
   * The chunk's raw bytes, hashed and compared; they belong to the caller.
   * @throws `ERR_STORE_CORRUPT` when the chunk is missing, damaged, or not what its digest says.
   */
  read(digest: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(this.#lookUp(digest).rawBytes);
    this.readInto(digest, bytes);
    return bytes;
  }

  /**
   * Like `read`, in memory of this reader, where the bytes are valid until its next call: for parts of a chunk, of which
   * the next one is often wanted next. They must be `rawBytes`.
   */
  view(digest: Uint8Array, rawBytes: number): Uint8Array {
    this.#decoded.beginOperation();
    const bytes = this.#retrying(() => {
      const entry = this.#lookUp(digest);
      if (entry.rawBytes !== rawBytes) throw otherSize(digest, entry.rawBytes, rawBytes);
      return this.#decode(entry, digest, 0);
    });
    verify(digest, bytes);
    return bytes;
  }

  /** Like `read`, into `target`, which must have exactly the chunk's raw size. */
  readInto(digest: Uint8Array, target: Uint8Array): void {
    this.#decoded.beginOperation();
    let checked = false;
    this.#retrying(() => {
      const entry = this.#lookUp(digest);
      if (entry.rawBytes !== target.byteLength) throw otherSize(digest, entry.rawBytes, target.byteLength);
      const known = this.#decoded.get(digestKey(digest));
      if (known !== undefined) target.set(known);
      // Stored as it is: its own digest is all that has to be checked. Damage goes the way that names it.
      else if (entry.depth === 0 && this.#packs.readStored(entry, digest, target)) {
        if (!sameDigest(digestOf(target), digest)) this.#decodeInto(entry, digest, target, 0);
        else checked = true;
      } else this.#decodeInto(entry, digest, target, 0);
    });
    if (!checked) verify(digest, target);
  }

  /**
   * Like `readInto` for chunks that are neighbours in what was saved: those at the end of long runs of patches are restored
   * together, a group at a time.
   */
  readNeighboursInto(wanted: readonly { digest: Uint8Array; target: Uint8Array }[]): void {
    let group: PatchedChunk[] = [];
    let groupBytes = 0;
    for (const { digest, target } of wanted) {
      const entry = this.index.get(digest);
      if (entry === undefined || entry.depth < PATCHES_TOGETHER_MIN || entry.rawBytes !== target.byteLength) {
        this.readInto(digest, target);
        continue;
      }
      const runBytes = patchesBytes(entry);
      if (groupBytes + runBytes > PATCHES_TOGETHER_BYTES) {
        this.#readGroup(group);
        group = [];
        groupBytes = 0;
      }
      group.push({ digest, entry, target });
      groupBytes += runBytes;
    }
    this.#readGroup(group);
  }

  #readGroup(group: readonly PatchedChunk[]): void {
    if (group.length === 0) return;
    this.#patches ??= new PatchFrames(this.#packs, PATCHES_TOGETHER_BYTES);
    try {
      for (const { chunk, base, payloads } of followRuns(this.index, this.#patches, group)) {
        this.#decoded.beginOperation();
        const found = this.#findBase(base);
        this.#decodeInto(found.entry, found.digest, chunk.target, payloads.length > 0 ? 1 : 0);
        const apply = patcher(chunk.target);
        for (let i = payloads.length - 2; i >= 0; i -= 2)
          apply(this.#patches.bytes, payloads[i]!, payloads[i + 1]!);
        verify(chunk.digest, chunk.target);
      }
    } catch (error) {
      if (!isStoreError(error)) throw error;
      // One by one, they are read once more where a pack was rewritten, and what is wrong is named.
      for (const { digest, target } of group) this.readInto(digest, target);
    }
  }

  /**
   * Like `readInto` for many chunks, best in the order in which they were stored: other threads read the next ones
   * while this one hashes what has come. `onRead` gets the bytes of each when they are in their place; by then no
   * target may be touched but those it was told of.
   */
  async readManyInto(
    wanted: readonly WantedChunk[],
    onRead: (chunk: WantedChunk, bytes: Uint8Array) => void = () => {},
  ): Promise<void> {
    const { runs, others } = storedRuns(this.index, wanted);
    const readOthers = async () => {
      for (const chunk of others) {
        await new Promise(setImmediate);
        const target = chunk.target();
        this.readInto(chunk.digest, target);
        onRead(chunk, target);
      }
    };
    const stored = readRuns(this.#packs, runs, onRead, (digest, target) => this.readInto(digest, target));
    const ended = await Promise.allSettled([stored, readOthers()]);
    const failed = ended.find((each) => each.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /**
   * Raw bytes of chunks to encode another one against, valid until the next call of this reader. They are not hashed:
   * the result of that encoding is. One that cannot be read is left out: a base that is lost costs bytes, never a save.
   */
  readBases(digests: Uint8Array[]): Base[] {
    this.#decoded.beginOperation();
    return digests.flatMap((digest): Base[] => {
      const entry = this.index.get(digest);
      if (entry === undefined) return [];
      try {
        return [
          { digest, entry, bytes: this.#retrying(() => this.#decode(this.#lookUp(digest), digest, 0)) },
        ];
      } catch (error) {
        if (isStoreError(error, "ERR_STORE_CORRUPT")) return [];
        throw error;
      }
    });
  }

  /** How a chunk is stored: its frame's header, checked, and its place. No payload is read. */
  describe(digest: Uint8Array): { header: FrameHeader; entry: ChunkEntry } {
    return this.#retrying(() => {
      const entry = this.#lookUp(digest);
      return { header: this.#packs.readHeader(entry.packId, entry.offset, entry.frameBytes), entry };
    });
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
    const known = this.#decoded.get(key);
    if (known !== undefined) return known;
    const bytes = this.#decoded.allocate(entry.rawBytes);
    this.#decodeInto(entry, digest, bytes, depth);
    this.#decoded.put(key, bytes);
    return bytes;
  }

  #decodeInto(entry: ChunkEntry, digest: Uint8Array, target: Uint8Array, depth: number): void {
    if (depth > CHAIN_DEPTH_MAX)
      throw corruptFrame(entry, digest, "its chain of bases is longer than any varve writes");
    const { header, payload } = this.#readFrame(entry, digest, target.byteLength, depth);
    if (header.encoding === PATCH_ID && header.bases.length === 1 && header.chunks.length === 1) {
      this.#decodePatched({ header, payload }, entry, target, depth);
      return;
    }
    const bases = header.bases.map((short) => {
      const found = this.#findBase(short);
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

  #readFrame(entry: ChunkEntry, digest: Uint8Array, rawBytes: number, depth: number): Frame {
    const { packId, offset, frameBytes } = entry;
    const frame = this.#packs.readFrame(packId, offset, frameBytes, this.#frameBuffer(depth));
    const chunk = frame.header.chunks[entry.ordinal];
    if (chunk === undefined || !sameDigest(chunk.digest, digest) || chunk.rawBytes !== rawBytes) {
      throw corruptFrame(entry, digest, "the frame there holds another chunk");
    }
    return frame;
  }

  /**
   * A chunk at the end of a run of patches: what they begin from is decoded into `target`, and they are applied there
   * one after the other, so that a long run costs no copies of the chunk.
   */
  #decodePatched(last: Frame, entry: ChunkEntry, target: Uint8Array, depth: number): void {
    const patches = [last.payload.slice()];
    let base = this.#findBase(last.header.bases[0]!);
    for (;;) {
      if (patches.length > PATCH_DEPTH_MAX)
        throw corruptFrame(entry, base.digest, "its run of patches is longer than any varve writes");
      const known = this.#decoded.get(digestKey(base.digest));
      if (known !== undefined) {
        if (known.byteLength !== target.byteLength)
          throw otherSize(base.digest, known.byteLength, target.byteLength);
        target.set(known);
        break;
      }
      const { header, payload } = this.#readFrame(base.entry, base.digest, target.byteLength, depth);
      if (header.encoding !== PATCH_ID || header.bases.length !== 1 || header.chunks.length !== 1) {
        this.#decodeInto(base.entry, base.digest, target, depth + 1);
        break;
      }
      patches.push(payload.slice());
      base = this.#findBase(header.bases[0]!);
    }
    for (const each of patches.reverse()) applyPatch(each, target);
  }

  #findBase(short: Uint8Array): { digest: Uint8Array; entry: ChunkEntry } {
    const found = this.index.find(short);
    if (found === undefined) throw missing(short);
    // What the index hands out may lie in a page that the next look-up maps anew.
    return { digest: new Uint8Array(found.digest), entry: found.entry };
  }

  /** Memory for a frame's bytes: one a level of the chain, since a frame waits for its bases to be decoded. */
  #frameBuffer(depth: number): FrameBuffer {
    this.#frames[depth] ??= new FrameBuffer();
    return this.#frames[depth]!;
  }

  /** What the cache of decoded chunks has done for this reader; each thread has one of its own. */
  cacheStats(): DecodedCacheStats {
    return this.#decoded.stats();
  }

  close(): void {
    this.#packs.close();
    this.#decoded.clear();
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

function otherSize(digest: Uint8Array, found: number, expected: number): StoreError {
  const text = digestText(digest);
  return new StoreError(
    "ERR_STORE_CORRUPT",
    `chunk ${text} holds ${found} bytes, not ${expected} as its manifest says`,
    {
      context: { digest: Buffer.from(digest).toString("hex") },
      hint: "Run `varve check --read-data`, then `varve repair`.",
    },
  );
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
