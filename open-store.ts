import { resolve } from "node:path";
import type { BackupOptions, BackupResult } from "./backup/backup.ts";
import type { CheckOptions, CheckResult } from "./checkpoints/check.ts";
import { Checkpoints } from "./checkpoints/checkpoints.ts";
import type { CheckpointsOptions } from "./checkpoints/options.ts";
import type { RepairOptions, RepairResult } from "./checkpoints/repair.ts";
import type { Features, FeaturesStats, PublishResult } from "./features/features.ts";
import { Late } from "./late.ts";
import type { CriticalStoreOptions } from "./open-critical.ts";
import type { CaptureStats } from "./src/capture/captures.ts";
import type { DecodedCacheStats } from "./src/chunks/decoded-cache.ts";
import type { GcOptions, GcResult } from "./src/chunks/gc.ts";
import { wallClockUs } from "./src/clock.ts";
import type { Critical, CriticalStats } from "./src/critical/critical.ts";
import type { Disk } from "./src/disk/disk.ts";
import { realDisk } from "./src/disk/real-disk.ts";
import { StoreError } from "./src/errors.ts";
import { WORKERS_MAX } from "./src/limits.ts";
import { CALLBACK, checkOptions, FLAG, OBJECT, type OptionRule, RATE, TEXT, whole } from "./src/options.ts";
import { CommitPulse } from "./src/pace/commit-pulse.ts";
import { type IoStats, ioStats } from "./src/pace/io-stats.ts";
import { MeasuredDisk } from "./src/pace/measured-disk.ts";
import type { SeriesTotals } from "./src/series/series-size.ts";
import type { SeriesStore } from "./src/series/series-store.ts";
import type { Cache } from "./src/state/cache-map.ts";
import type { State, StateStats } from "./src/state/state.ts";
import { type Engine, type EngineOptions, openEngine } from "./src/store.ts";
import type { ExportFileOptions, PublishFileOptions } from "./transfer/feature-files.ts";
import type { SeriesExportOptions } from "./transfer/series-export.ts";
import type { SeriesImportOptions, SeriesImportResult } from "./transfer/series-import.ts";

export interface OpenStoreOptions extends EngineOptions, CheckpointsOptions {
  /** Told of a save that failed while nobody was watching its ticket. The next save fails with the same cause. */
  onError?: (error: unknown) => void;
  /** Bytes of decoded feature tables to keep for all readers of this store object. Default 256 MiB. */
  featureCacheBytes?: number;
  /**
   * What one stripe takes on all data disks of the RAID under the store: packs and images are reserved and written by
   * whole stripes. A power of two, 4 KiB to 64 MiB; for a single disk it is left out.
   */
  stripeBytes?: number;
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
  /** What this object has written, why, and how long it took. */
  io: IoStats;
  /** Decoded chunks that this thread keeps: how often one was there. */
  decodedCache: DecodedCacheStats;
  /** Saves' captures: what is held, waited for, skipped. */
  capture: CaptureStats;
  /** Time series, if there are any. */
  series?: SeriesTotals;
  /** Feature tables, if there are any. */
  features?: FeaturesStats;
  /** Strategies' maps, if there are any. */
  state?: StateStats;
  /** Critical state, if there is any: of this store object, else of the engine that has it open, else at rest. */
  critical?: CriticalStats;
}

/** An open store. Close it, or declare it with `await using`. */
export class Store implements AsyncDisposable {
  readonly checkpoints: Checkpoints;
  readonly #engine: Engine;
  readonly #disk: MeasuredDisk;
  readonly #pulse: CommitPulse;
  readonly #options: OpenStoreOptions;
  #critical: Critical | undefined;
  #series: SeriesStore | undefined;
  #features: Features | undefined;
  #state: State | undefined;
  #cache: Cache | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    engine: Engine,
    options: OpenStoreOptions,
    measured: { disk: MeasuredDisk; pulse: CommitPulse },
  ) {
    this.#engine = engine;
    this.#disk = measured.disk;
    this.#pulse = measured.pulse;
    this.#options = options;
    this.checkpoints = new Checkpoints(engine, options);
  }

  /** Time series: rings of typed rows, appended and read by time. */
  get series(): SeriesStore {
    this.#requireOpen();
    const { pool } = this.#engine;
    const { onError } = this.#options;
    const { budget } = this.checkpoints;
    this.#series ??= new (late.series.get().SeriesStore)({
      ...this.#place("series"),
      pool,
      onError,
      budget,
      rehearse: true,
    });
    return this.#series;
  }

  /** Feature tables: immutable versions, loaded as Arrow. */
  get features(): Features {
    this.#requireOpen();
    const { featureCacheBytes: cacheBytes } = this.#options;
    this.#features ??= new (late.features.get().Features)(
      this.#engine,
      cacheBytes === undefined ? {} : { cacheBytes },
    );
    return this.#features;
  }

  /** Strategies' own state: maps with history, durable within a second. */
  get state(): State {
    this.#requireOpen();
    this.#state ??= new (late.state.get().State)(this.#place("state"));
    return this.#state;
  }

  /** Maps that may forget: bounded, and empty after a crash. */
  get cache(): Cache {
    this.#requireOpen();
    const nowMs = () => Number(this.#engine.nowUs() / 1000n);
    this.#cache ??= new (late.cache.get().Cache)({ ...this.#place("cache"), nowMs });
    return this.#cache;
  }

  #requireOpen(): void {
    if (this.#closing !== undefined) throw new StoreError("ERR_CLOSED", "the store is closed");
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
    // Taken now: a close that waits for the collection has begun by the time it marks.
    const { features } = this;
    return this.checkpoints.collectGarbage(options, (chunks, visit) => features.markLive(chunks, visit));
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
    this.#requireOpen();
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
    const critical = this.#critical?.stats() ?? (await criticalStatsElsewhere(this.#engine));
    return {
      refs: refs.length,
      versions: all.length,
      logicalBytes: all.reduce((sum, version) => sum + version.logicalBytes, 0),
      storedBytes: all.reduce((sum, version) => sum + version.storedBytes, 0),
      diskBytes: treeBytes(disk, directory),
      indexBytes: chunks.index.sizeBytes(),
      packs: chunks.packs.packIds().length,
      io: ioStats(this.#disk, this.checkpoints.captureStats().spooledBytes),
      decodedCache: chunks.reader.cacheStats(),
      capture: this.checkpoints.captureStats(),
      ...(await this.#partStats()),
      ...(critical === undefined ? {} : { critical }),
    };
  }

  /** Of the kinds of state that this store holds something of; code of others is not loaded. */
  async #partStats(): Promise<Pick<StoreStats, "series" | "features" | "state">> {
    const { disk, directory } = this.#engine;
    const holds = (part: string) => disk.list(`${directory}/${part}`).length > 0;
    const features = this.features.stats();
    return {
      ...(holds("series") && { series: await this.series.stats() }),
      ...(features.versions > 0 && { features }),
      ...(holds("state") && { state: this.state.stats() }),
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

  /**
   * Publishes a table file (CSV, NDJSON, Arrow IPC or Parquet; text also with gzip or zstd) as the next version of a
   * feature table; durable when it resolves.
   */
  async publishFeatures(
    name: string,
    path: string,
    options: PublishFileOptions = {},
  ): Promise<PublishResult> {
    const { publishFeatureFile } = await import("./transfer/feature-files.ts");
    return publishFeatureFile(this.features, name, path, options);
  }

  /** A version of a feature table as the bytes of a file that other tools read, piece by piece. */
  async *exportFeatures(name: string, options: ExportFileOptions): AsyncGenerator<Uint8Array> {
    const { exportFeatures } = await import("./transfer/feature-files.ts");
    yield* exportFeatures(this.features, name, options);
  }

  /** Whatever fails to close, everything after it is closed too; the first failure is told. */
  async #close(): Promise<void> {
    const parts = [
      this.#critical,
      this.#series,
      this.checkpoints,
      this.#features,
      this.#cache,
      this.#state,
      this.#engine,
    ];
    const failures: unknown[] = [];
    for (const part of parts) await part?.close().catch((error: unknown) => failures.push(error));
    this.#pulse.close();
    if (failures.length > 0) throw failures[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

const OPTION_RULES: { readonly [Name in keyof OpenStoreOptions]: OptionRule } = {
  create: FLAG,
  readOnly: FLAG,
  strict: FLAG,
  lazyChunks: FLAG,
  workers: whole(0, WORKERS_MAX),
  featureCacheBytes: whole(0),
  ioBudget: RATE,
  onError: CALLBACK,
  onWarning: CALLBACK,
  nowUs: CALLBACK,
  openIndex: CALLBACK,
  disk: OBJECT,
  critical: OBJECT,
  mirror: TEXT,
  witness: TEXT,
};

/** @throws `ERR_INVALID_ARGUMENT`, `ERR_LIMIT`, `ERR_NO_STORE`, `ERR_STORE_VERSION`, `ERR_STORE_CORRUPT` */
export async function openStore(directory: string, options: OpenStoreOptions = {}): Promise<Store> {
  if (typeof directory !== "string" || directory === "") {
    throw new StoreError("ERR_INVALID_ARGUMENT", "openStore needs the path of a directory");
  }
  checkOptions("openStore", options, OPTION_RULES);
  await Promise.all(Object.values(late).map((each) => each.early()));
  const path = resolve(directory);
  const { disk = realDisk } = options;
  const pulse = new CommitPulse(disk, `${path}/pulse`);
  const measured = new MeasuredDisk(disk, path, pulse, { stripeBytes: options.stripeBytes });
  const engine = await openEngine(path, { lazyChunks: true, ...options, disk: measured });
  return new Store(engine, options, { disk: measured, pulse });
}

async function criticalStatsElsewhere({ disk, directory }: Engine): Promise<CriticalStats | undefined> {
  if (disk.kind !== "real" || disk.list(`${directory}/critical`).length === 0) return undefined;
  const { reachCritical } = await import("./open-critical.ts");
  const reached = await reachCritical(directory, { access: "read" });
  try {
    return await reached.call("stats", {});
  } finally {
    await reached.close();
  }
}

/** Kinds of state a program may never use: their code is loaded with the first use. */
const late = {
  critical: new Late("./open-critical.js", () => import("./open-critical.ts")),
  series: new Late("./src/series/series-store.js", () => import("./src/series/series-store.ts")),
  features: new Late("./features/features.js", () => import("./features/features.ts")),
  state: new Late("./src/state/state.js", () => import("./src/state/state.ts")),
  cache: new Late("./src/state/cache-map.js", () => import("./src/state/cache-map.ts")),
};

function openCriticalOf(engine: Engine, options: OpenStoreOptions): Critical {
  const { mirror, witness, critical, nowUs, onWarning } = options;
  const chosen = {
    ...(nowUs === undefined ? {} : { clock: () => Number(nowUs()) }),
    mirror,
    witness,
    ...critical,
  };
  return late.critical.get().openCritical(engine, chosen, onWarning);
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
