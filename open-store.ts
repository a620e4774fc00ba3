import { createRequire } from "node:module";
import { resolve } from "node:path";
import type { BackupOptions, BackupResult } from "./backup/backup.ts";
import type { CheckOptions, CheckResult } from "./checkpoints/check.ts";
import { Checkpoints, type CheckpointsOptions } from "./checkpoints/checkpoints.ts";
import type { RepairOptions, RepairResult } from "./checkpoints/repair.ts";
import type { CriticalStoreOptions } from "./open-critical.ts";
import type { GcOptions, GcResult } from "./src/chunks/gc.ts";
import { wallClockUs } from "./src/clock.ts";
import type { Critical, CriticalStats } from "./src/critical/critical.ts";
import type { Disk } from "./src/disk/disk.ts";
import { realDisk } from "./src/disk/real-disk.ts";
import { StoreError } from "./src/errors.ts";
import { SeriesStore } from "./src/series/series-store.ts";
import { type Engine, type EngineOptions, openEngine } from "./src/store.ts";
import type { SeriesExportOptions } from "./transfer/series-export.ts";
import type { SeriesImportOptions, SeriesImportResult } from "./transfer/series-import.ts";

export interface OpenStoreOptions extends EngineOptions, CheckpointsOptions {
  /** Told of a save that failed while nobody was watching its ticket. The next save fails with the same cause. */
  onError?: (error: unknown) => void;
  /** Keeps the critical log on a second device too: `critical.mirror`, said shorter. */
  mirror?: string;
  /** Keeps the highest number of every sequence on another device: `critical.witness`, said shorter. */
  witness?: string;
  /** How critical state is kept. */
  critical?: CriticalStoreOptions;
  /**
   * Told of what does not stop the store but should be known: no space for the critical log's next segments, a lost
   * mirror, a failed snapshot, damaged history. Without it, these become warnings of the process.
   */
  onWarning?: (message: string, cause: unknown) => void;
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
  /** Critical state, once this store object has used it. */
  critical?: CriticalStats;
}

/** An open store. Close it, or declare it with `await using`. */
export class Store implements AsyncDisposable {
  readonly checkpoints: Checkpoints;
  /** Time series: rings of typed rows, appended and read by time. */
  readonly series: SeriesStore;
  readonly #engine: Engine;
  readonly #options: OpenStoreOptions;
  #critical: Critical | undefined;
  #closing: Promise<void> | undefined;

  constructor(engine: Engine, options: OpenStoreOptions) {
    this.#engine = engine;
    this.#options = options;
    this.checkpoints = new Checkpoints(engine, options);
    const { disk, storeId, pool, readOnly, nowUs } = engine;
    this.series = new SeriesStore({
      disk,
      storeId,
      pool,
      readOnly,
      nowUs,
      directory: `${engine.directory}/series`,
      onError: options.onError,
    });
  }

  get directory(): string {
    return this.#engine.directory;
  }

  /** 16 bytes, hexadecimal. */
  get id(): string {
    return Buffer.from(this.#engine.storeId).toString("hex");
  }

  /**
   * Orders, positions, limits, nonces: maps and sequences under transactions that are durable when they return.
   * Opened on first use, and until then neither loaded nor locked: one process at a time has it open for writing.
   * In a read-only store it follows the writer's log (`refresh`).
   * @throws `ERR_STORE_LOCKED` with the holder's pid, `ERR_STORE_CORRUPT`, `ERR_STORE_VERSION`, `ERR_CLOSED`
   */
  get critical(): Critical {
    if (this.#closing !== undefined) throw new StoreError("ERR_CLOSED", "the store is closed");
    this.#critical ??= openCriticalOf(this.#engine, this.#options);
    return this.#critical;
  }

  /** Removes what no version needs: pruned versions' chunks, and what interrupted saves left. */
  gc(options: GcOptions = {}): Promise<GcResult> {
    return this.checkpoints.collectGarbage(options);
  }

  /** Checks every file of the store; `checkStore` does the same for a store that does not open. */
  async check(options: CheckOptions = {}): Promise<CheckResult> {
    const { checkStore } = await import("./checkpoints/check.ts");
    return checkStore(this.#engine.disk, this.#engine.directory, options);
  }

  /**
   * Copies the whole store to `directory` while it is in use, or brings an earlier backup there up to date; the copy
   * is checked, opens like any store, and its sequences are fenced (`varve sequence adopt`).
   * @throws `ERR_EXISTS`, `ERR_STORE_LOCKED`, `ERR_STORE_CORRUPT`, `ERR_DISK_FULL`, `ERR_ABORTED`
   */
  async backup(directory: string, options: BackupOptions = {}): Promise<BackupResult> {
    const { backupStore } = await import("./backup/backup.ts");
    const { mirror, witness, critical } = this.#options;
    const criticalOptions = { mirror, witness, ...critical };
    return backupStore(
      { engine: this.#engine, critical: this.#critical, criticalOptions },
      directory,
      options,
    );
  }

  async stats(): Promise<StoreStats> {
    const { disk, directory } = this.#engine;
    const chunks = await this.#engine.openChunks();
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
      ...(this.#critical === undefined ? {} : { critical: this.#critical.stats() }),
    };
  }

  /** Waits for commits and saves in flight, then lets go of files, locks and threads. Closing twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /**
   * Appends the rows of a file (CSV, NDJSON, Arrow IPC or Parquet; text also with gzip or zstd) to a series, which is
   * created when it is new. All is sealed and durable when it resolves.
   */
  async importSeries(
    name: string,
    path: string,
    options: SeriesImportOptions = {},
  ): Promise<SeriesImportResult> {
    const { importSeries } = await import("./transfer/series-import.ts");
    return importSeries(this.series, name, path, options);
  }

  /** Rows of a series as the bytes of a file that other tools read, piece by piece. */
  async *exportSeries(name: string, options: SeriesExportOptions): AsyncGenerator<Uint8Array> {
    const { exportSeries } = await import("./transfer/series-export.ts");
    await using series = this.series.open(name, { readOnly: true });
    yield* exportSeries(series, options);
  }

  /** Whatever fails to close, everything after it is closed too; the first failure is told. */
  async #close(): Promise<void> {
    const parts = [this.#critical, this.series, this.checkpoints, this.#engine];
    const failures: unknown[] = [];
    for (const part of parts) await part?.close().catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export async function openStore(directory: string, options: OpenStoreOptions = {}): Promise<Store> {
  if (typeof directory !== "string" || directory === "") {
    throw new StoreError("ERR_INVALID_ARGUMENT", "openStore needs the path of a directory");
  }
  await loadCriticalEarly();
  return new Store(await openEngine(directory, { lazyChunks: true, ...options }), options);
}

type CriticalModule = typeof import("./open-critical.ts");

let criticalModule: CriticalModule | undefined;

/** Run from the sources (the test runner), a module cannot be loaded later without waiting: it is loaded now. */
async function loadCriticalEarly(): Promise<void> {
  if (import.meta.url.endsWith(".ts")) criticalModule ??= await import("./open-critical.ts");
}

/** Who never uses critical state does not pay for loading it: `require` loads a module at once, when it is needed. */
function openCriticalOf(engine: Engine, options: OpenStoreOptions): Critical {
  criticalModule ??= createRequire(import.meta.url)("./open-critical.js") as CriticalModule;
  const { mirror, witness, critical, nowUs, onWarning } = options;
  const chosen = {
    ...(nowUs === undefined ? {} : { clock: () => Number(nowUs()) }),
    mirror,
    witness,
    ...critical,
  };
  return criticalModule.openCritical(engine, chosen, onWarning);
}

/**
 * Checks the store in `directory` without opening it, so that a damaged one can be checked too.
 * @throws `ERR_NO_STORE`
 */
export async function checkStoreAt(directory: string, options: CheckOptions = {}): Promise<CheckResult> {
  const { checkStore } = await import("./checkpoints/check.ts");
  return checkStore(realDisk, resolve(directory), options);
}

/**
 * Mends the store in `directory` as far as its files allow. No process may have it open.
 * @throws `ERR_NO_STORE`, `ERR_STORE_LOCKED`
 */
export async function repairStoreAt(
  directory: string,
  options: Omit<RepairOptions, "nowUs"> = {},
): Promise<RepairResult> {
  const { repairStore } = await import("./checkpoints/repair.ts");
  return repairStore(realDisk, resolve(directory), { ...options, nowUs: wallClockUs });
}

function treeBytes(disk: Disk, path: string): number {
  const stat = disk.stat(path);
  if (stat === undefined) return 0;
  if (!stat.isDirectory) return stat.deviceBytes;
  return disk.list(path).reduce((sum, name) => sum + treeBytes(disk, `${path}/${name}`), 0);
}
