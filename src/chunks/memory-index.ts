import type { ChunkEntry, ChunkIndex, IndexChanges, PackEnd } from "./chunk-index.ts";
import { digestKey, digestOfKey, SHORT_DIGEST_BYTES } from "./digest.ts";

/** An index in memory alone: what `check` and `repair` build from the packs, without trusting what is on disk. */
export class MemoryIndex implements ChunkIndex {
  readonly #entries = new Map<string, ChunkEntry>();
  readonly #byShortDigest = new Map<string, string>();
  readonly #packEnds = new Map<bigint, PackEnd>();

  get(digest: Uint8Array): ChunkEntry | undefined {
    return this.#entries.get(digestKey(digest));
  }

  find(shortDigest: Uint8Array): { digest: Uint8Array; entry: ChunkEntry } | undefined {
    const key = this.#byShortDigest.get(digestKey(shortDigest));
    return key === undefined ? undefined : { digest: digestOfKey(key), entry: this.#entries.get(key)! };
  }

  packEnd(packId: bigint): PackEnd | undefined {
    return this.#packEnds.get(packId);
  }

  packEnds(): Iterable<PackEnd> {
    return this.#packEnds.values();
  }

  *entries(): Iterable<{ digest: Uint8Array; entry: ChunkEntry }> {
    for (const [key, entry] of this.#entries) yield { digest: digestOfKey(key), entry };
  }

  async commit(changes: IndexChanges): Promise<void> {
    this.apply(changes);
  }

  apply({ puts, moves = [], deletes = [], packEnds = [], packsRemoved = [] }: IndexChanges): void {
    for (const digest of deletes) {
      const key = digestKey(digest);
      this.#entries.delete(key);
      this.#byShortDigest.delete(key.slice(0, SHORT_DIGEST_BYTES));
    }
    for (const { digest, entry } of puts) if (!this.#entries.has(digestKey(digest))) this.#put(digest, entry);
    for (const { digest, entry } of moves) this.#put(digest, entry);
    for (const end of packEnds) this.#packEnds.set(end.packId, end);
    for (const packId of packsRemoved) this.#packEnds.delete(packId);
  }

  #put(digest: Uint8Array, entry: ChunkEntry): void {
    const key = digestKey(digest);
    this.#entries.set(key, entry);
    this.#byShortDigest.set(key.slice(0, SHORT_DIGEST_BYTES), key);
  }

  get size(): number {
    return this.#entries.size;
  }

  refresh(): void {}

  requireSpace(): void {}

  sizeBytes(): number {
    return 0;
  }

  async close(): Promise<void> {}
}
