import { resolve } from "node:path";
import { type CheckOptions, type CheckResult, checkStore } from "./checkpoints/check.ts";
import { Checkpoints } from "./checkpoints/checkpoints.ts";
import { type RepairOptions, type RepairResult, repairStore } from "./checkpoints/repair.ts";
import { Features } from "./features/features.ts";
import type { GcOptions, GcResult } from "./src/chunks/gc.ts";
import { wallClockUs } from "./src/clock.ts";
import type { Disk } from "./src/disk/disk.ts";
import { realDisk } from "./src/disk/real-disk.ts";
import { StoreError } from "./src/errors.ts";
import { Cache } from "./src/state/cache-map.ts";
import { State } from "./src/state/state.ts";
import { type Engine, type EngineOptions, openEngine } from "./src/store.ts";

export interface OpenStoreOptions extends EngineOptions {
  /** Told of a save that failed while nobody was watching its ticket. The next save fails with the same cause. */
  onError?: (error: unknown) => void;
  /** Bytes of decoded feature tables to keep for all readers of this store object. Default 256 MiB. */
  featureCacheBytes?: number;
}

export interface StoreStats {
  refs: number;
  versions: number;
  /** Bytes of all files of all versions, as if each were kept whole. */
  logicalBytes: number;
  /** What the versions appended when they were saved. */
  storedBytes: number;
  /** What the store's files take on the device now. */
  diskBytes: number;
  /** Part of `diskBytes`: the rebuildable index. */
  indexBytes: number;
  packs: number;
}

/** An open store. Close it, or declare it with `await using`. */
export class Store implements AsyncDisposable {
  readonly checkpoints: Checkpoints;
  readonly #engine: Engine;
  readonly #options: { cacheBytes?: number };
  #features: Features | undefined;
  #state: State | undefined;
  #cache: Cache | undefined;
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, options: OpenStoreOptions) {
    this.#engine = engine;
    this.#options = options.featureCacheBytes === undefined ? {} : { cacheBytes: options.featureCacheBytes };
    this.checkpoints = new Checkpoints(engine, { onError: options.onError });
  }

  /** Feature tables: immutable versions, loaded as Arrow. */
  get features(): Features {
    this.#features ??= new Features(this.#engine, this.#options);
    return this.#features;
  }

  /** Strategies' own state: maps with history, durable within a second. */
  get state(): State {
    this.#state ??= new State(this.#place("state"));
    return this.#state;
  }

  /** Maps that may forget: bounded, and empty after a crash. */
  get cache(): Cache {
    const nowMs = () => Number(this.#engine.nowUs() / 1000n);
    this.#cache ??= new Cache({ ...this.#place("cache"), nowMs });
    return this.#cache;
  }

  #place(name: string) {
    const { disk, directory, storeId, readOnly, nowUs } = this.#engine;
    return { disk, directory: `${directory}/${name}`, storeId, readOnly, nowUs };
  }

  get directory(): string {
    return this.#engine.directory;
  }

  /** 16 bytes, hexadecimal. */
  get id(): string {
    return Buffer.from(this.#engine.storeId).toString("hex");
  }

  /** Removes what no version needs: pruned versions' chunks, and what interrupted saves left. */
  gc(options: GcOptions = {}): Promise<GcResult> {
    return this.checkpoints.collectGarbage(options, (visit) => this.features.markLive(visit));
  }

  /** Checks every file of the store; `checkStore` does the same for a store that does not open. */
  check(options: CheckOptions = {}): Promise<CheckResult> {
    return checkStore(this.#engine.disk, this.#engine.directory, options);
  }

  async stats(): Promise<StoreStats> {
    const { disk, directory, chunks } = this.#engine;
    const refs = this.checkpoints.refs();
    const all = this.checkpoints.registry.all();
    return {
      refs: refs.length,
      versions: all.length,
      logicalBytes: all.reduce((sum, version) => sum + version.logicalBytes, 0),
      storedBytes: all.reduce((sum, version) => sum + version.storedBytes, 0),
      diskBytes: treeBytes(disk, directory),
      indexBytes: chunks.index.sizeBytes(),
      packs: chunks.packs.packIds().length,
    };
  }

  /** Waits for saves in flight, then lets go of files, locks and threads. Closing twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    try {
      await this.checkpoints.close();
      await this.#features?.close();
      this.#cache?.close();
      await this.#state?.close();
    } finally {
      await this.#engine.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export async function openStore(directory: string, options: OpenStoreOptions = {}): Promise<Store> {
  if (typeof directory !== "string" || directory === "") {
    throw new StoreError("ERR_INVALID_ARGUMENT", "openStore needs the path of a directory");
  }
  return new Store(await openEngine(directory, options), options);
}

/**
 * Checks the store in `directory` without opening it, so that a damaged one can be checked too.
 * @throws `ERR_NO_STORE`
 */
export function checkStoreAt(directory: string, options: CheckOptions = {}): Promise<CheckResult> {
  return checkStore(realDisk, resolve(directory), options);
}

/**
 * Mends the store in `directory` as far as its files allow. No process may have it open.
 * @throws `ERR_NO_STORE`, `ERR_STORE_LOCKED`
 */
export function repairStoreAt(
  directory: string,
  options: Omit<RepairOptions, "nowUs"> = {},
): Promise<RepairResult> {
  return repairStore(realDisk, resolve(directory), { ...options, nowUs: wallClockUs });
}

function treeBytes(disk: Disk, path: string): number {
  const stat = disk.stat(path);
  if (stat === undefined) return 0;
  if (!stat.isDirectory) return stat.deviceBytes;
  return disk.list(path).reduce((sum, name) => sum + treeBytes(disk, `${path}/${name}`), 0);
}
