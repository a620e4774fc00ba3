import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { invariant } from "./assert.ts";
import type { ChunkIndex } from "./chunks/chunk-index.ts";
import type { ChunkStore } from "./chunks/chunk-store.ts";
import { lockGc } from "./chunks/gc-lock.ts";
import { indexExists } from "./chunks/index-files.ts";
import type { ChunkPlace } from "./chunks/job-context.ts";
import { wallClockUs } from "./clock.ts";
import type { Disk } from "./disk/disk.ts";
import { realDisk } from "./disk/real-disk.ts";
import { StoreError } from "./errors.ts";
import { readStoreFile, type StoreFile } from "./store-file.ts";
import { lockStore } from "./store-lock.ts";
import { VersionStore } from "./versions/version-store.ts";
import { createInlinePool, createWorkerPool, type WorkerPool } from "./workers/pool.ts";

export interface EngineOptions {
  /** Create the store when the directory holds none. Default: false. */
  create?: boolean;
  /** Open for reading alone: nothing is created, locked or changed. Default: false. */
  readOnly?: boolean;
  /** Worker threads that hash, encode and decode; 0 runs them on the calling thread. Default: the machine's cores. */
  workers?: number;
  /** Where the files are; the operating system's by default. */
  disk?: Disk;
  nowUs?: () => bigint;
  /** Opens the chunk index; LMDB by default. */
  openIndex?: (place: ChunkPlace) => Promise<ChunkIndex>;
  /**
   * Open the chunk store (its index, the codec) when it is first needed instead of at once: refs and versions are known
   * without it. Default: false.
   */
  lazyChunks?: boolean;
}

/** The parts of an open store that know nothing of models: what checkpoints, series and features are built on. */
export interface Engine {
  readonly directory: string;
  readonly storeId: Uint8Array;
  readonly createdUs: bigint;
  readonly readOnly: boolean;
  readonly disk: Disk;
  readonly pool: WorkerPool;
  /** The chunk store, once `openChunks` has resolved. */
  readonly chunks: ChunkStore;
  /** The same, or `undefined` while it is not open. */
  readonly openedChunks: ChunkStore | undefined;
  /** Opens the chunk store, unless it is open. */
  openChunks(): Promise<ChunkStore>;
  readonly versions: VersionStore;
  readonly nowUs: () => bigint;
  close(): Promise<void>;
}

/** More threads than this only fight over memory bandwidth; who knows better says so. */
const WORKERS_DEFAULT_MAX = 8;

/**
 * Opens the store in `directory`.
 * @throws `ERR_NO_STORE`, `ERR_STORE_VERSION`, `ERR_STORE_CORRUPT`
 */
export async function openEngine(directory: string, options: EngineOptions = {}): Promise<Engine> {
  const { disk = realDisk, nowUs = wallClockUs, readOnly = false } = options;
  const path = resolve(directory);
  const file = readStoreFile(disk, path) ?? (await createOrRefuse(disk, path, nowUs, options));
  const lock = lockStore(disk, path, "shared");
  const opened: (() => void | Promise<void>)[] = [() => lock?.close()];
  const close = async () => {
    for (const each of opened.splice(0).reverse()) await each();
  };
  try {
    const workers = options.workers ?? Math.min(availableParallelism(), WORKERS_DEFAULT_MAX);
    // Without an index on disk, a read-only opening builds one in memory, which only this thread has.
    const alone = readOnly && options.openIndex === undefined && !indexExists(disk, `${path}/chunks/index`);
    const { storeId } = file;
    const versions = await VersionStore.open({
      disk,
      directory: `${path}/versions`,
      storeId,
      readOnly,
      nowUs,
    });
    opened.push(() => versions.close());
    const pool = workers === 0 || alone ? createInlinePool() : createWorkerPool(workers);
    const openIndex = options.openIndex ?? ((place) => openLmdb({ disk, place, storeId, readOnly }));
    const directory = `${path}/chunks`;
    const chunks = new LazyChunks(async () => {
      const { ChunkStore } = await import("./chunks/chunk-store.ts");
      return ChunkStore.open({ disk, directory, storeId, pool, readOnly, openIndex, nowUs });
    });
    opened.push(() => chunks.close());
    // Last in, first out: workers end before the files they read are closed.
    opened.push(() => pool.close());
    if (options.lazyChunks !== true) await chunks.open();
    const { createdUs } = file;
    return {
      directory: path,
      storeId,
      createdUs,
      readOnly,
      disk,
      pool,
      versions,
      nowUs,
      get chunks() {
        return chunks.opened;
      },
      get openedChunks() {
        return chunks.openedSoFar;
      },
      openChunks: () => chunks.open(),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The chunk store, opened once, when it is first asked for. */
class LazyChunks {
  readonly #openNow: () => Promise<ChunkStore>;
  #opening: Promise<ChunkStore> | undefined;
  #opened: ChunkStore | undefined;

  constructor(openNow: () => Promise<ChunkStore>) {
    this.#openNow = openNow;
  }

  get openedSoFar(): ChunkStore | undefined {
    return this.#opened;
  }

  get opened(): ChunkStore {
    invariant(this.#opened !== undefined, "the chunk store is opened before it is used");
    return this.#opened;
  }

  async open(): Promise<ChunkStore> {
    this.#opening ??= this.#openNow();
    try {
      this.#opened = await this.#opening;
      return this.#opened;
    } catch (error) {
      // What hindered it may be mended by the next time.
      this.#opening = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.#opening?.then(
      (chunks) => chunks.close(),
      () => {},
    );
  }
}

async function createOrRefuse(
  disk: Disk,
  path: string,
  nowUs: () => bigint,
  options: EngineOptions,
): Promise<StoreFile> {
  if (options.create === true && options.readOnly !== true) {
    const { createStore } = await import("./create-store.ts");
    return createStore(disk, path, nowUs);
  }
  throw new StoreError("ERR_NO_STORE", `${path} holds no store`, {
    context: { directory: path },
    hint: "Check the directory, or create a store there with `varve init` or the first `varve save`.",
  });
}

interface IndexOptions {
  disk: Disk;
  place: ChunkPlace;
  storeId: Uint8Array;
  readOnly: boolean;
}

/** The index on disk; one that is absent or was never completed is built from the packs first. */
async function openLmdb({ disk, place, storeId, readOnly }: IndexOptions): Promise<ChunkIndex> {
  if (!indexExists(disk, place.indexDirectory) && readOnly) {
    const { rebuildIndex } = await import("./chunks/rebuild-index.ts");
    return rebuildIndex(disk, place.packsDirectory, storeId);
  }
  const { LmdbIndex } = await import("./chunks/lmdb-index.ts");
  const index = LmdbIndex.open(disk, place.indexDirectory, { readOnly });
  if (index.complete || readOnly) return index;
  // Alone: what another process is just appending may yet be cut off again.
  const lock = await lockGc(disk, dirname(place.packsDirectory), "exclusive");
  try {
    index.refresh();
    if (index.complete) return index;
    const { recoverIndex } = await import("./chunks/rebuild-index.ts");
    const rebuilt = recoverIndex(disk, place.packsDirectory, storeId);
    await index.commit({ puts: [...rebuilt.entries()], packEnds: [...rebuilt.packEnds()] });
    return index;
  } finally {
    lock.close();
  }
}
