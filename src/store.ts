import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import type { ChunkIndex } from "./chunks/chunk-index.ts";
import { ChunkStore } from "./chunks/chunk-store.ts";
import { lockGc } from "./chunks/gc-lock.ts";
import type { ChunkPlace } from "./chunks/job-context.ts";
import { LmdbIndex } from "./chunks/lmdb-index.ts";
import { rebuildIndex, recoverIndex } from "./chunks/rebuild-index.ts";
import { wallClockUs } from "./clock.ts";
import { createStore } from "./create-store.ts";
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
  /** `false`: neither packs nor index are opened, for who asks only for refs and versions. Default: true. */
  chunks?: boolean;
  /** Where the files are; the operating system's by default. */
  disk?: Disk;
  nowUs?: () => bigint;
  /** Opens the chunk index; LMDB by default. */
  openIndex?: (place: ChunkPlace) => Promise<ChunkIndex>;
}

/** The parts of an open store that know nothing of models: what checkpoints, series and features are built on. */
export interface Engine {
  readonly directory: string;
  readonly storeId: Uint8Array;
  readonly createdUs: bigint;
  readonly readOnly: boolean;
  readonly disk: Disk;
  readonly pool: WorkerPool;
  readonly chunks: ChunkStore;
  readonly versions: VersionStore;
  readonly nowUs: () => bigint;
  close(): Promise<void>;
}

/** More threads than this only fight over memory bandwidth. */
const WORKERS_MAX = 8;

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
    const workers = options.workers ?? Math.min(availableParallelism(), WORKERS_MAX);
    // Without an index on disk, a read-only opening builds one in memory, which only this thread has.
    const alone =
      readOnly && options.openIndex === undefined && !LmdbIndex.exists(disk, `${path}/chunks/index`);
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
    const chunkOptions = { disk, directory: `${path}/chunks`, storeId, pool, readOnly, openIndex, nowUs };
    const chunks = options.chunks === false ? undefined : await ChunkStore.open(chunkOptions);
    opened.push(() => chunks?.close());
    // Last in, first out: workers end before the files they read are closed.
    opened.push(() => pool.close());
    const { createdUs } = file;
    const engine = { directory: path, storeId, createdUs, readOnly, disk, pool, versions, nowUs, close };
    return Object.defineProperty(engine, "chunks", { get: () => chunks ?? refuseChunks() }) as Engine;
  } catch (error) {
    await close();
    throw error;
  }
}

function refuseChunks(): never {
  throw new StoreError("ERR_INVALID_ARGUMENT", "the store was opened without its chunks", {
    hint: "Open it without `chunks: false`.",
  });
}

async function createOrRefuse(
  disk: Disk,
  path: string,
  nowUs: () => bigint,
  options: EngineOptions,
): Promise<StoreFile> {
  if (options.create === true && options.readOnly !== true) return createStore(disk, path, nowUs);
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
  if (!LmdbIndex.exists(disk, place.indexDirectory) && readOnly) {
    return rebuildIndex(disk, place.packsDirectory, storeId);
  }
  const index = LmdbIndex.open(disk, place.indexDirectory, { readOnly });
  if (index.complete || readOnly) return index;
  // Alone: what another process is just appending may yet be cut off again.
  const lock = await lockGc(disk, dirname(place.packsDirectory), "exclusive");
  try {
    index.refresh();
    if (index.complete) return index;
    const rebuilt = recoverIndex(disk, place.packsDirectory, storeId);
    await index.commit({ puts: [...rebuilt.entries()], packEnds: [...rebuilt.packEnds()] });
    return index;
  } finally {
    lock.close();
  }
}
