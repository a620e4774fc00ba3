import { type OpenStoreOptions, openStore, type Store } from "../../open-store.ts";
import type { ChunkIndex, IndexChanges } from "../../src/chunks/chunk-index.ts";
import {
  decodeEntry,
  decodePackEnd,
  encodeEntry,
  encodePackEnd,
  packKey,
} from "../../src/chunks/chunk-index.ts";
import type { ChunkPlace } from "../../src/chunks/job-context.ts";
import { MemoryIndex } from "../../src/chunks/memory-index.ts";
import { recoverIndex } from "../../src/chunks/rebuild-index.ts";
import type { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { readStoreFile } from "../../src/store-file.ts";

export const STORE = "/data/store";

/**
 * `kept`: an index that survives as LMDB does, each commit whole and durable when it resolves. `rebuilt`: an index
 * that is lost with the process and built again from the packs.
 */
export type IndexKind = "kept" | "rebuilt";

let clockUs = 1_700_000_000_000_000n;

/** Opens a store on the simulated disk, everything on this thread. */
export function openSimulated(
  disk: SimulatedDisk,
  kind: IndexKind,
  options: OpenStoreOptions = {},
): Promise<Store> {
  return openStore(STORE, {
    create: true,
    ...options,
    disk,
    workers: 0,
    nowUs: () => clockUs++,
    openIndex: async (place) => openIndex(disk, kind, place),
  });
}

function openIndex(disk: SimulatedDisk, kind: IndexKind, place: ChunkPlace): ChunkIndex {
  const { storeId } = readStoreFile(disk, STORE)!;
  if (kind === "rebuilt") return recoverIndex(disk, place.packsDirectory, storeId);
  return new KeptIndex(disk, place, storeId);
}

const ENTRY_ROW = 32 + 32;
const END_ROW = 9 + 16;

/** Writes all it knows beside its file and renames it there: a commit is there whole or not at all. */
class KeptIndex implements ChunkIndex {
  readonly #disk: SimulatedDisk;
  readonly #directory: string;
  #memory: MemoryIndex;

  constructor(disk: SimulatedDisk, { indexDirectory, packsDirectory }: ChunkPlace, storeId: Uint8Array) {
    this.#disk = disk;
    this.#directory = indexDirectory;
    this.#memory = this.#load() ?? recoverIndex(disk, packsDirectory, storeId);
  }

  #load(): MemoryIndex | undefined {
    if (this.#disk.stat(`${this.#directory}/kept`) === undefined) return undefined;
    const file = this.#disk.open(`${this.#directory}/kept`, { access: "read" });
    const bytes = Buffer.alloc(file.sizeBytes());
    file.readSync(bytes, 0);
    file.close();
    const memory = new MemoryIndex();
    const ends = bytes.readUInt32LE(0);
    let at = 4;
    for (let i = 0; i < ends; i++, at += END_ROW) {
      const packEnd = decodePackEnd(bytes.subarray(at, at + 9), bytes.subarray(at + 9, at + END_ROW))!;
      memory.apply({ puts: [], packEnds: [packEnd] });
    }
    for (; at < bytes.byteLength; at += ENTRY_ROW) {
      const digest = bytes.subarray(at, at + 32);
      memory.apply({
        puts: [{ digest, entry: decodeEntry(digest, bytes.subarray(at + 32, at + ENTRY_ROW))! }],
      });
    }
    return memory;
  }

  get(digest: Uint8Array) {
    return this.#memory.get(digest);
  }
  find(shortDigest: Uint8Array) {
    return this.#memory.find(shortDigest);
  }
  packEnd(packId: bigint) {
    return this.#memory.packEnd(packId);
  }
  packEnds() {
    return this.#memory.packEnds();
  }
  entries() {
    return this.#memory.entries();
  }
  requireSpace(): void {}

  refresh(): void {
    this.#memory = this.#load() ?? this.#memory;
  }
  sizeBytes(): number {
    return 0;
  }
  async close(): Promise<void> {}

  async commit(changes: IndexChanges): Promise<void> {
    this.refresh();
    const next = new MemoryIndex();
    next.apply({ puts: [...this.#memory.entries()], packEnds: [...this.#memory.packEnds()] });
    next.apply(changes);
    const ends = [...next.packEnds()];
    const count = Buffer.alloc(4);
    count.writeUInt32LE(ends.length);
    const rows = ends.map((end) =>
      Buffer.concat([packKey(end.packId), encodePackEnd(packKey(end.packId), end)]),
    );
    const entries = [...next.entries()].map(({ digest, entry }) =>
      Buffer.concat([digest, encodeEntry(digest, entry)]),
    );
    this.#disk.makeDirectory(this.#directory);
    const file = this.#disk.open(`${this.#directory}/new`, { access: "write", create: "may" });
    file.truncate(0);
    await file.write(Buffer.concat([count, ...rows, ...entries]), 0);
    await file.sync();
    file.close();
    this.#disk.rename(`${this.#directory}/new`, `${this.#directory}/kept`);
    this.#disk.syncDirectory(this.#directory);
    this.#disk.syncDirectory(this.#directory.slice(0, this.#directory.lastIndexOf("/")));
    this.#memory = next;
  }
}
