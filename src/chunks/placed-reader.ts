import { raw } from "../codec/encodings/raw.ts";
import type { Disk } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";
import type { ChunkEntry } from "./chunk-index.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import { digestKey, digestOf, sameDigest } from "./digest.ts";
import { type Frame, PackReader } from "./pack-reader.ts";
import { readRuns } from "./run-reading.ts";
import { storedRuns, type WantedChunk } from "./stored-runs.ts";

type Place = Pick<ChunkEntry, "packId" | "offset" | "frameBytes">;

/**
 * Reads chunks where they are thought to lie, without the index. What is read there is checked as any frame is, and
 * hashed; for what is not there (gc has moved it, the pack is gone), or is damaged, the chunk store is opened.
 */
export class PlacedReader {
  readonly #packs: PackReader;
  readonly #open: () => Promise<ChunkReader>;
  readonly #places = new Map<string, Place & { rawBytes: number }>();

  /** @param open the reader with an index, when it is needed */
  constructor(disk: Disk, packsDirectory: string, open: () => Promise<ChunkReader>) {
    this.#packs = new PackReader(disk, packsDirectory);
    this.#open = open;
  }

  /** Learns where chunks are thought to lie. */
  add(places: Iterable<{ digest: Uint8Array; entry: Place & { rawBytes: number } }>): void {
    for (const { digest, entry } of places) this.#places.set(digestKey(digest), entry);
  }

  /** The chunk at a place, its own; `undefined` when it is not there, or not to be had without others. */
  async readAt(place: Place, digest: Uint8Array): Promise<Uint8Array | undefined> {
    const frame = this.#frameAt(place);
    const chunk = frame?.header.chunks[0];
    if (frame === undefined || chunk === undefined || !sameDigest(chunk.digest, digest)) return undefined;
    const { header } = frame;
    if (header.chunks.length > 1 || header.bases.length > 0) return undefined;
    const bytes = new Uint8Array(chunk.rawBytes);
    if (!(await decodeAlone(frame, bytes))) return undefined;
    return sameDigest(digestOf(bytes), digest) ? bytes : undefined;
  }

  #frameAt({ packId, offset, frameBytes }: Place): Frame | undefined {
    try {
      return this.#packs.readFrame(packId, offset, frameBytes);
    } catch (error) {
      if (isStoreError(error)) return undefined;
      throw error;
    }
  }

  /** Like the chunk reader's. */
  async readInto(digest: Uint8Array, target: Uint8Array): Promise<void> {
    const place = this.#places.get(digestKey(digest));
    const found = place === undefined ? undefined : await this.readAt(place, digest);
    if (found?.byteLength === target.byteLength) target.set(found);
    else (await this.#open()).readInto(digest, target);
  }

  /** Like the chunk reader's. */
  async readManyInto(
    wanted: readonly WantedChunk[],
    onRead: (chunk: WantedChunk, bytes: Uint8Array) => void = () => {},
  ): Promise<void> {
    const places = { get: (digest: Uint8Array) => this.#places.get(digestKey(digest)) };
    const { runs, others } = storedRuns(places, wanted);
    const missed = async (digest: Uint8Array, target: Uint8Array) =>
      (await this.#open()).readInto(digest, target);
    const readOthers = async () => {
      if (others.length > 0) await (await this.#open()).readManyInto(others, onRead);
    };
    const ended = await Promise.allSettled([readRuns(this.#packs, runs, onRead, missed), readOthers()]);
    const failed = ended.find((each) => each.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  /** No read may be under way. */
  close(): void {
    this.#packs.close();
  }
}

/** Decodes a frame without bases; `false` for a payload that no encoder writes. The codec is loaded where it is needed. */
async function decodeAlone({ header, payload }: Frame, target: Uint8Array): Promise<boolean> {
  if (header.encoding === raw.id) {
    if (payload.byteLength === target.byteLength) target.set(payload);
    return payload.byteLength === target.byteLength;
  }
  const [{ loadCodec }, { elementOf }] = await Promise.all([
    import("../codec/codec.ts"),
    import("../codec/element.ts"),
  ]);
  const codec = await loadCodec();
  try {
    const element = elementOf(header.element);
    codec.decode({ encoding: header.encoding, element, payload, bases: [] }, target);
    return true;
  } catch (error) {
    if (isStoreError(error, "ERR_STORE_CORRUPT")) return false;
    throw error;
  }
}
