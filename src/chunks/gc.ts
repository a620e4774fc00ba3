import { invariant } from "../assert.ts";
import { StoreError } from "../errors.ts";
import { GC_REWRITE_FRACTION, GC_STEP_BYTES, PACK_BYTES_TARGET } from "../limits.ts";
import type { ChunkEntry, IndexChanges } from "./chunk-index.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { digestKey, digestOfKey } from "./digest.ts";
import { ownBucket, type Pacing } from "./pacing.ts";
import { PACK_HEADER_BYTES, SEAL_BYTES } from "./pack-format.ts";
import { PackReader } from "./pack-reader.ts";
import { scanPack } from "./pack-scan.ts";
import type { PackWriter } from "./pack-writer.ts";

/** Who needs which chunks: given by the layers above, which gc does not know. */
export interface GcRoots {
  /** Grows whenever the answer of `mark` may have changed. */
  seq(): bigint;
  /** Names every chunk that is needed for its own sake; gc adds what these are stored against. */
  mark(visit: (digest: Uint8Array) => void): void;
}

export interface GcOptions {
  /** Say what would be reclaimed, and change nothing. */
  dryRun?: boolean;
  /** Bytes of live frames to copy each second, on average. Default: what the store's `ioBudget` leaves. */
  bytesPerSecond?: number;
  signal?: AbortSignal;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface GcResult {
  reclaimedBytes: number;
  packsRemoved: number;
  packsRewritten: number;
  chunksKept: number;
  chunksRemoved: number;
}

interface PackUse {
  packId: bigint;
  sizeBytes: number;
  liveBytes: number;
  /** Frames by offset, with the chunks the index places in them. */
  frames: Map<number, { frameBytes: number; live: boolean; chunks: { key: string; entry: ChunkEntry }[] }>;
}

/**
 * Removes chunks that no root needs, and with them the space of pruned versions and of interrupted saves.
 *
 * Live frames of the packs worth rewriting are copied first, while saves go on. Then, with the lock that every save
 * holds shared, gc marks again what changed meanwhile, copies what became live, makes the index point to the copies,
 * and only then unlinks. A crash at any point leaves a store in which everything is found; what it leaves behind is
 * found by the next gc. Readers that miss a file look the chunk up again. What is copied while saves go on is paced;
 * under the lock nothing waits.
 */
export async function collectGarbage(
  store: ChunkStore,
  roots: GcRoots,
  options: GcOptions,
  pacing: Pacing,
): Promise<GcResult> {
  const { bytesPerSecond } = options;
  const bucket = bytesPerSecond === undefined ? pacing.budget : ownBucket(bytesPerSecond);
  await store.packs.close();
  const collection = new Collection(store, roots, options);
  try {
    collection.mark();
    if (options.dryRun) return collection.plan();
    await collection.copyLive((sizeBytes) => bucket.paceUntil(sizeBytes, options.signal, pacing.hurry));
    const lock = await store.lockGc("exclusive");
    try {
      await collection.markAgain();
      return await collection.sweep();
    } finally {
      lock.close();
    }
  } finally {
    await collection.close();
  }
}

class Collection {
  readonly #store: ChunkStore;
  readonly #roots: GcRoots;
  readonly #options: GcOptions;
  readonly #reader: PackReader;
  readonly #live = new Set<string>();
  readonly #moved = new Map<string, { digest: Uint8Array; entry: ChunkEntry }>();
  readonly #writers: PackWriter[] = [];
  /** Set once the index may name what was copied: until then the copies are nobody's. */
  #copiesKnown = false;
  /** Packs this collection may remove, each locked so that no saver adopts it. */
  readonly #held = new Map<bigint, { close(): void }>();
  #markedSeq = -1n;

  constructor(store: ChunkStore, roots: GcRoots, options: GcOptions) {
    this.#store = store;
    this.#roots = roots;
    this.#options = options;
    this.#reader = new PackReader(store.packs.disk, store.place.packsDirectory);
  }

  mark(): void {
    this.#store.index.refresh();
    this.#markedSeq = this.#roots.seq();
    const pending: Uint8Array[] = [];
    const visit = (digest: Uint8Array) => {
      const key = digestKey(digest);
      if (this.#live.has(key)) return;
      this.#live.add(key);
      pending.push(digest);
    };
    this.#roots.mark(visit);
    for (let digest = pending.pop(); digest !== undefined; digest = pending.pop()) {
      for (const base of this.#basesOf(digest)) visit(base);
    }
  }

  async markAgain(): Promise<void> {
    if (this.#roots.seq() === this.#markedSeq) return;
    this.mark();
    await this.copyLive(async () => {});
  }

  #basesOf(digest: Uint8Array): Uint8Array[] {
    const { index } = this.#store;
    const entry = index.get(digest);
    if (entry === undefined || entry.depth === 0) return [];
    const header = this.#reader.readHeader(entry.packId, entry.offset, entry.frameBytes);
    return header.bases.flatMap((short) => index.find(short)?.digest ?? []);
  }

  #uses(): PackUse[] {
    const uses = new Map<bigint, PackUse>();
    for (const packId of this.#store.packs.packIds()) {
      uses.set(packId, {
        packId,
        sizeBytes: this.#store.packs.sizeBytes(packId),
        liveBytes: 0,
        frames: new Map(),
      });
    }
    for (const { digest, entry } of this.#store.index.entries()) {
      const use = uses.get(entry.packId);
      if (use === undefined) continue;
      const key = digestKey(digest);
      let frame = use.frames.get(entry.offset);
      if (frame === undefined) {
        frame = { frameBytes: entry.frameBytes, live: false, chunks: [] };
        use.frames.set(entry.offset, frame);
      }
      frame.chunks.push({ key, entry });
      if (this.#live.has(key) && !frame.live) {
        frame.live = true;
        use.liveBytes += entry.frameBytes;
      }
    }
    return [...uses.values()];
  }

  /** Packs with enough dead bytes to be worth it. */
  #worthRewriting(uses = this.#uses()): PackUse[] {
    return uses.filter((use) => use.liveBytes === 0 || deadBytes(use) > use.sizeBytes * GC_REWRITE_FRACTION);
  }

  plan(): GcResult {
    const result = { reclaimedBytes: 0, packsRemoved: 0, packsRewritten: 0, chunksKept: 0, chunksRemoved: 0 };
    const uses = this.#uses();
    for (const use of this.#worthRewriting(uses)) {
      if (!this.#store.packs.isHeld(use.packId)) count(result, use);
    }
    result.chunksKept = this.#live.size;
    result.chunksRemoved = deadChunks(uses).length;
    return result;
  }

  /**
   * Copies live frames out of the packs to go, each checked as it is read, and makes the copies durable.
   * @param rest called after every megabyte or so that was copied
   */
  async copyLive(rest: (sizeBytes: number) => Promise<void>): Promise<void> {
    const uses = this.#worthRewriting().filter((use) => this.#hold(use.packId));
    const totalBytes = uses.reduce((sum, use) => sum + use.liveBytes, 0);
    let doneBytes = 0;
    let stepBytes = 0;
    for (const use of uses) {
      // In their order: a frame's bases stay before it.
      const frames = [...use.frames].sort(([a], [b]) => a - b);
      for (const [offset, frame] of frames) {
        this.#throwIfAborted();
        if (!frame.live || frame.chunks.every(({ key }) => this.#moved.has(key))) continue;
        await this.#copyFrame(use.packId, offset, frame.frameBytes);
        doneBytes += frame.frameBytes;
        stepBytes += frame.frameBytes;
        if (stepBytes >= GC_STEP_BYTES) {
          await rest(stepBytes);
          stepBytes = 0;
        }
        this.#options.onProgress?.({ doneBytes, totalBytes });
      }
    }
    for (const writer of this.#writers) await writer.sync();
    if (this.#writers.length > 0) this.#store.packs.disk.syncDirectory(this.#store.packs.directory);
  }

  #throwIfAborted(): void {
    const { signal } = this.#options;
    if (signal?.aborted) {
      throw new StoreError("ERR_ABORTED", "aborted; nothing was removed", { cause: signal.reason });
    }
  }

  #hold(packId: bigint): boolean {
    if (this.#held.has(packId)) return true;
    const file = this.#store.packs.hold(packId);
    if (file === undefined) return false;
    this.#held.set(packId, file);
    return true;
  }

  async #copyFrame(packId: bigint, offset: number, frameBytes: number): Promise<void> {
    const { header, payload } = this.#reader.readFrame(packId, offset, frameBytes);
    let writer = this.#writers.at(-1);
    if (writer === undefined || writer.sizeBytes >= PACK_BYTES_TARGET) {
      writer = this.#store.packs.create();
      this.#writers.push(writer);
    }
    const place = await writer.append({ ...header, payload });
    header.chunks.forEach(({ digest, rawBytes }, ordinal) => {
      const { depth, costKiB } = header;
      const entry = { packId: writer.packId, ...place, ordinal, depth, costKiB, rawBytes };
      this.#moved.set(digestKey(digest), { digest, entry });
    });
  }

  /** With the exclusive lock: nothing is being saved, and everything live lies in a kept pack or was copied. */
  async sweep(): Promise<GcResult> {
    const { packs, index } = this.#store;
    // Also what a save added that then failed: its pack may be one of those that go.
    index.refresh();
    for (const writer of this.#writers) this.#verify(writer);
    const result = { reclaimedBytes: 0, packsRemoved: 0, packsRewritten: 0, chunksKept: 0, chunksRemoved: 0 };
    const uses = this.#uses();
    // Dead chunks of kept packs are forgotten too: what they are stored against may go now or later.
    const moves: { digest: Uint8Array; entry: ChunkEntry }[] = [];
    const changes: Required<IndexChanges> = {
      puts: [],
      moves,
      deletes: deadChunks(uses),
      packEnds: [],
      packsRemoved: [],
    };
    const going = this.#worthRewriting(uses).filter((use) => this.#held.has(use.packId));
    for (const use of going) {
      count(result, use);
      changes.packsRemoved.push(use.packId);
      for (const { live, chunks } of use.frames.values()) {
        if (live) moves.push(...chunks.map(({ key }) => this.#movedEntry(key)));
      }
    }
    result.chunksRemoved = changes.deletes.length;
    for (const { packId, sizeBytes: goodBytes, frameCount } of this.#writers) {
      changes.packEnds.push({ packId, goodBytes, frameCount });
    }
    this.#copiesKnown = true;
    if (going.length > 0 || changes.deletes.length > 0) await index.commit(changes);
    for (const use of going) packs.disk.remove(packs.path(use.packId));
    if (going.length > 0) packs.disk.syncDirectory(packs.directory);
    result.chunksKept = this.#live.size;
    return result;
  }

  #movedEntry(key: string): { digest: Uint8Array; entry: ChunkEntry } {
    const moved = this.#moved.get(key);
    invariant(moved !== undefined, "a live chunk of a pack that goes was copied");
    return moved;
  }

  /** Reads a rewritten pack back, every byte, before anything points to it. */
  #verify(writer: PackWriter): void {
    const { packs } = this.#store;
    const scan = scanPack(packs.disk, packs.directory, writer.packId, packs.storeId, { readData: true });
    if (scan.damage.length > 0 || scan.frames.length !== writer.frameCount) {
      throw packs.damaged(writer.packId, "what gc wrote does not read back");
    }
  }

  async close(): Promise<void> {
    this.#reader.close();
    for (const writer of this.#writers) {
      await writer.settle();
      if (this.#copiesKnown) writer.close();
      else this.#store.packs.discard(writer);
    }
    for (const file of this.#held.values()) file.close();
  }
}

function deadBytes({ sizeBytes, liveBytes }: PackUse): number {
  return sizeBytes - liveBytes - PACK_HEADER_BYTES - SEAL_BYTES;
}

function deadChunks(uses: PackUse[]): Uint8Array[] {
  return uses.flatMap(({ frames }) =>
    [...frames.values()].flatMap(({ live, chunks }) =>
      live ? [] : chunks.map(({ key }) => digestOfKey(key)),
    ),
  );
}

function count(result: GcResult, use: PackUse): void {
  result.reclaimedBytes += use.sizeBytes - use.liveBytes;
  if (use.liveBytes === 0) result.packsRemoved += 1;
  else result.packsRewritten += 1;
}
