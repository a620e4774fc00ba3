import { createHash } from "node:crypto";
import type { Table as ArrowTable } from "apache-arrow";
import { type Column, type Table, tableBytes, typeText } from "../formats/tables/table.ts";
import type { ChunkStore } from "../src/chunks/chunk-store.ts";
import { StoreError } from "../src/errors.ts";
import { featureChunks } from "../src/features/feature-chunks.ts";
import { FeatureRegistry, type FeatureVersion } from "../src/features/registry.ts";
import { ANNOTATION_BYTES_MAX, FEATURE_CACHE_BYTES, FEATURE_SOURCES_MAX } from "../src/limits.ts";
import { checkName } from "../src/names.ts";
import type { Engine } from "../src/store.ts";
import { type AnyTable, asTable } from "./any-table.ts";
import { TableCache, type TableCacheStats } from "./table-cache.ts";
import type { TrainingSetOptions } from "./training-set.ts";

export interface PublishOptions {
  /** As of when these values were known, microseconds since the Unix epoch. Default: the moment of publishing. */
  asOf?: bigint;
  /** Changes when the meaning of the columns does. Part of the fingerprint. Default: 1. */
  schemaVersion?: number;
  /** What the table was made from, for people: names, versions, commits. */
  sources?: readonly string[];
}

export interface LoadOptions {
  /** A version; default: the newest. */
  version?: number;
  /** The version that was the newest known at an instant, microseconds since the Unix epoch. */
  asOf?: bigint;
  /** Columns to load. Default: all. */
  columns?: readonly string[];
  /** Refuse a table whose columns or schema version are others than the caller was made for. */
  expectFingerprint?: string;
}

export interface FeatureInfo extends Omit<FeatureVersion, "manifest" | "placement"> {
  /** Digest of the manifest, hexadecimal: equal for equal tables. */
  manifest: string;
  /** Microseconds since `asOfUs` when it was asked. */
  ageUs: bigint;
}

export interface PublishResult extends FeatureInfo {
  /** Chunks the store did not have yet. */
  newChunks: number;
}

/** Feature tables of a store. */
export interface FeaturesStats {
  tables: number;
  versions: number;
  /** Of the newest versions. */
  rows: number;
  /** Bytes of the newest versions' arrays in memory. */
  rawBytes: number;
  /** What all versions have appended to the store. */
  storedBytes: number;
  /** Decoded tables kept for readers of this object. */
  tableCache: TableCacheStats;
}

/** Feature tables: published whole, kept as immutable versions, loaded in tens of milliseconds. */
export class Features {
  readonly registry: FeatureRegistry;
  readonly #engine: Engine;
  readonly #cache: TableCache;
  readonly #inFlight = new Set<Promise<unknown>>();
  #closed = false;

  constructor(engine: Engine, options: { cacheBytes?: number } = {}) {
    this.#engine = engine;
    this.registry = new FeatureRegistry(engine.versions);
    this.#cache = new TableCache(options.cacheBytes ?? FEATURE_CACHE_BYTES);
  }

  /**
   * Publishes a table as the next version of `name`; durable, and visible to others, when the promise resolves. The
   * table's memory must not be written to until then. A column that has not changed costs nothing, and a table that
   * has grown by a row about a row.
   *
   * Several processes may publish under one name: each gets a version of its own, in the order in which they end.
   *
   * @throws `ERR_LIMIT`, `ERR_INVALID_ARGUMENT`, `ERR_FORMAT_ARROW` for Arrow types that have no place in a table
   * @example
   * await store.features.publish("alpha-1", table, { asOf: knownUs, sources: ["binance.BTCUSDT.trades"] });
   */
  publish(name: string, table: AnyTable, options: PublishOptions = {}): Promise<PublishResult> {
    this.#requireOpen();
    return this.#untilClosed(this.#publish(name, table, { ...options }));
  }

  async #publish(name: string, given: AnyTable, options: PublishOptions): Promise<PublishResult> {
    checkName("ref", name);
    const table = await asTable(given);
    const { schemaVersion = 1, sources = [], asOf } = options;
    checkOptions(schemaVersion, sources, asOf);
    const { versions } = this.#engine;
    const { storeTable } = await import("../src/features/store-table.ts");
    const chunks = await this.#engine.openChunks();
    const save = await chunks.beginSave("compact");
    try {
      versions.refresh();
      const parent = this.registry.newest(name);
      const { manifest, placement } = await storeTable(chunks, save, table, parent?.manifest);
      await save.commit();
      const record = await this.registry.add({
        name,
        manifest,
        placement,
        asOfUs: asOf,
        schemaVersion,
        fingerprint: fingerprintOf(table.columns, schemaVersion),
        sources: [...sources],
        rows: table.rows,
        columns: table.columns.length,
        rawBytes: tableBytes(table),
        packBytes: save.storedBytes,
      });
      return { ...this.#info(record), newChunks: save.newChunks };
    } finally {
      await save.end();
    }
  }

  /**
   * A version as an Arrow table over one buffer, which all readers of the process share: do not write to it.
   * @throws `ERR_NOT_FOUND`, `ERR_CONFLICT` for another fingerprint than expected, `ERR_STORE_CORRUPT`
   */
  async load(name: string, options: LoadOptions = {}): Promise<ArrowTable> {
    // Together: the library takes as long to load as a small table does.
    const [{ toArrowTable }, table] = await Promise.all([
      import("../formats/arrow/convert.ts"),
      this.loadColumns(name, options),
    ]);
    return toArrowTable(table);
  }

  /** The same as plain columns of typed arrays. */
  async loadColumns(name: string, options: LoadOptions = {}): Promise<Table> {
    const record = this.find(name, options);
    if (options.expectFingerprint !== undefined) requireFingerprint(record, options.expectFingerprint);
    const key = `${Buffer.from(record.manifest).toString("latin1")}\0${options.columns?.join("\0") ?? ""}`;
    const known = this.#cache.get(key);
    if (known !== undefined) return known;
    const table = await this.#untilClosed(this.#load(record, options.columns));
    this.#cache.put(key, table);
    return table;
  }

  async #load(record: FeatureVersion, columns: readonly string[] | undefined): Promise<Table> {
    const { loadVersion } = await import("../src/features/load-version.ts");
    const { disk, directory, openedChunks } = this.#engine;
    const packsDirectory = `${directory}/chunks/packs`;
    const open = async () => (await this.#engine.openChunks()).reader;
    return loadVersion({ disk, packsDirectory, opened: openedChunks?.reader, open }, record, columns);
  }

  /** What `close` waits for. */
  #untilClosed<T>(step: Promise<T>): Promise<T> {
    this.#inFlight.add(step);
    const forget = () => this.#inFlight.delete(step);
    step.then(forget, forget);
    return step;
  }

  /** The version that `load` would read. @throws `ERR_NOT_FOUND` */
  find(name: string, { version, asOf }: Pick<LoadOptions, "version" | "asOf"> = {}): FeatureVersion {
    this.#requireOpen();
    this.#engine.versions.refresh();
    if (asOf === undefined) return this.registry.require(name, version);
    if (version !== undefined) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "load takes a version or asOf, not both");
    }
    return this.registry.asOf(name, asOf);
  }

  /** The newest version of every table, by name, with its age and size. */
  list(): FeatureInfo[] {
    this.#requireOpen();
    this.#engine.versions.refresh();
    return this.registry.names().flatMap((name) => {
      const record = this.registry.newest(name);
      return record === undefined ? [] : [this.#info(record)];
    });
  }

  /** Every version of one table, oldest first. @throws `ERR_NOT_FOUND` */
  versions(name: string): FeatureInfo[] {
    this.#requireOpen();
    this.#engine.versions.refresh();
    return this.registry.versions(name).map((record) => this.#info(record));
  }

  /** All tables together. */
  stats(): FeaturesStats {
    this.#requireOpen();
    this.#engine.versions.refresh();
    const all = this.registry.all();
    const newest = this.registry.names().flatMap((name) => this.registry.newest(name) ?? []);
    const sum = (of: readonly FeatureVersion[], name: "rows" | "rawBytes" | "storedBytes") =>
      of.reduce((total, record) => total + record[name], 0);
    return {
      tables: newest.length,
      versions: all.length,
      rows: sum(newest, "rows"),
      rawBytes: sum(newest, "rawBytes"),
      storedBytes: sum(all, "storedBytes"),
      tableCache: this.#cache.stats(),
    };
  }

  /**
   * Joins features to the rows of a spine as they were known at each row's instant: what a model may learn from
   * without looking ahead. See `TrainingSetOptions`.
   */
  async trainingSet(options: TrainingSetOptions): Promise<ArrowTable> {
    this.#requireOpen();
    const { trainingSet } = await import("./training-set.ts");
    return trainingSet(this, options);
  }

  /** Names every chunk the versions need, for gc. */
  markLive(chunks: ChunkStore, visit: (digest: Uint8Array) => void): void {
    for (const record of this.registry.all()) visitFeatureVersion(chunks, record, visit);
  }

  #info({ manifest, placement: _, ...record }: FeatureVersion): FeatureInfo {
    const ageUs = this.#engine.nowUs() - record.asOfUs;
    return { ...record, manifest: Buffer.from(manifest).toString("hex"), ageUs };
  }

  #requireOpen(): void {
    if (!this.#closed) return;
    throw new StoreError("ERR_CLOSED", `${this.#engine.directory} is closed`, {
      hint: "Open the store again.",
    });
  }

  /** Takes no more work and waits for publications and loads in flight, however they end. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#inFlight);
    this.#cache.clear();
  }
}

/** A damaged version needs what is left of it; one that is not on record as damaged must be readable. */
function visitFeatureVersion(
  chunks: ChunkStore,
  record: FeatureVersion,
  visit: (digest: Uint8Array) => void,
): void {
  try {
    for (const digest of featureChunks(chunks, record.manifest)) visit(digest);
  } catch (error) {
    if (!record.damaged || (error as StoreError).code !== "ERR_STORE_CORRUPT") throw error;
  }
}

/** Names and types of the columns in their order, and the schema version, as one short text. */
function fingerprintOf(columns: readonly Column[], schemaVersion: number): string {
  const text = JSON.stringify([schemaVersion, ...columns.map((column) => [column.name, typeText(column)])]);
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

function requireFingerprint(record: FeatureVersion, expected: string): void {
  if (record.fingerprint === expected) return;
  const { name, version, fingerprint, schemaVersion } = record;
  throw new StoreError(
    "ERR_CONFLICT",
    `features ${name}@${version} have the fingerprint ${fingerprint}, not ${expected}`,
    {
      context: { name, version, fingerprint, expected, schemaVersion },
      hint: "Their columns, types or schema version are others than this program was made for: load the version it knows, or bring it up to date.",
    },
  );
}

function checkOptions(schemaVersion: number, sources: readonly string[], asOf: bigint | undefined): void {
  if (!Number.isInteger(schemaVersion) || schemaVersion < 1 || schemaVersion > 0xffff) {
    throw new StoreError("ERR_INVALID_ARGUMENT", "schemaVersion is a whole number from 1 to 65,535");
  }
  if (
    asOf !== undefined &&
    (typeof asOf !== "bigint" || asOf < 0n || asOf > BigInt(Number.MAX_SAFE_INTEGER))
  ) {
    throw new StoreError("ERR_INVALID_ARGUMENT", "asOf is a bigint of microseconds since the Unix epoch", {
      context: { asOf },
      hint: "BigInt(Date.now()) * 1000n is now.",
    });
  }
  const long = sources.find((source) => Buffer.byteLength(source) > ANNOTATION_BYTES_MAX);
  if (sources.length > FEATURE_SOURCES_MAX || long !== undefined) {
    throw new StoreError(
      "ERR_LIMIT",
      `sources are at most ${FEATURE_SOURCES_MAX} texts of ${ANNOTATION_BYTES_MAX} bytes`,
      { hint: "Name what the table was made from; keep documents elsewhere." },
    );
  }
}
