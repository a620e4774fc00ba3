import type { Disk } from "../disk/disk.ts";
import { replaceFile } from "../disk/replace-file.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { CACHE_MAP_BYTES } from "../limits.ts";
import { type CacheEntry, decodeDump, encodeDump, packCached, unpackCached } from "./cache-format.ts";
import { directoryName } from "./state.ts";
import { checkKey } from "./state-log.ts";

export interface CacheMapOptions {
  /** Bytes of keys and values to keep; the least recently used go first. Default 64 MiB. */
  maxBytes?: number;
  /** How long an entry lives after it was set, milliseconds. Default: until it is crowded out. */
  ttl?: number;
}

export interface CacheOptions {
  disk: Disk;
  /** The store's `cache` directory. */
  directory: string;
  storeId: Uint8Array;
  readOnly: boolean;
  nowMs: () => number;
}

/** What an entry costs beside its bytes. */
const ENTRY_BYTES = 96;

interface Held {
  bytes: Uint8Array;
  expiresAtMs: number;
  sizeBytes: number;
}

/**
 * A map that may forget: in memory, bounded, its least recently used entries dropped first. `close` writes it to one
 * file, which the next opening takes in and removes; without a clean close the map begins empty, and nobody complains.
 */
export class CacheMap<V> {
  readonly name: string;
  readonly #options: CacheOptions;
  readonly #maxBytes: number;
  readonly #ttl: number | undefined;
  /** In order of use: a map keeps the order in which keys were set. */
  readonly #entries = new Map<string, Held>();
  #sizeBytes = 0;
  #closed = false;

  constructor(name: string, cache: CacheOptions, { maxBytes = CACHE_MAP_BYTES, ttl }: CacheMapOptions = {}) {
    if (!(maxBytes > 0) || !(ttl === undefined || ttl > 0)) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `cache map ${name}: maxBytes and ttl are positive numbers`,
      );
    }
    this.name = name;
    this.#options = cache;
    this.#maxBytes = maxBytes;
    this.#ttl = ttl;
    this.#takeIn();
  }

  get size(): number {
    return this.#entries.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get(key: string): V | undefined {
    const held = this.#entries.get(key);
    if (held === undefined) return undefined;
    if (held.expiresAtMs !== 0 && held.expiresAtMs <= this.#options.nowMs()) {
      this.delete(key);
      return undefined;
    }
    this.#entries.delete(key);
    this.#entries.set(key, held);
    return unpackCached(held.bytes) as V;
  }

  has(key: string): boolean {
    const held = this.#entries.get(key);
    return held !== undefined && (held.expiresAtMs === 0 || held.expiresAtMs > this.#options.nowMs());
  }

  /** Keeps a copy of the value. One that alone is over `maxBytes` is not kept. */
  set(key: string, value: V, { ttl = this.#ttl }: { ttl?: number } = {}): void {
    this.#requireOpen();
    checkKey(this.name, key);
    const expiresAtMs = ttl === undefined ? 0 : this.#options.nowMs() + ttl;
    this.#hold(key, packCached(value), expiresAtMs);
  }

  #hold(key: string, bytes: Uint8Array, expiresAtMs: number): void {
    this.delete(key);
    const sizeBytes = Buffer.byteLength(key) + bytes.byteLength + ENTRY_BYTES;
    if (sizeBytes > this.#maxBytes) return;
    this.#entries.set(key, { bytes, expiresAtMs, sizeBytes });
    this.#sizeBytes += sizeBytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#sizeBytes <= this.#maxBytes) break;
      this.delete(oldest);
    }
  }

  delete(key: string): boolean {
    const held = this.#entries.get(key);
    if (held === undefined) return false;
    this.#sizeBytes -= held.sizeBytes;
    return this.#entries.delete(key);
  }

  clear(): void {
    this.#entries.clear();
    this.#sizeBytes = 0;
  }

  get #path(): string {
    return `${this.#options.directory}/${directoryName(this.name)}.dump`;
  }

  #takeIn(): void {
    const { disk, storeId, readOnly, nowMs } = this.#options;
    const bytes = readWhole(disk, this.#path);
    if (bytes === undefined) return;
    // Gone before it is used: a crash from here on leaves an empty cache, not an old one.
    if (!readOnly) disk.remove(this.#path);
    const now = nowMs();
    for (const [key, value, expiresAtMs] of decodeDump(bytes, storeId) ?? []) {
      if (expiresAtMs === 0 || expiresAtMs > now) this.#hold(key, new Uint8Array(value), expiresAtMs);
    }
  }

  /** Writes the map to its file. What fails is forgotten: it was a cache. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { disk, directory, storeId, readOnly } = this.#options;
    if (readOnly || this.#entries.size === 0) return;
    const entries = [...this.#entries].map(([key, held]): CacheEntry => [key, held.bytes, held.expiresAtMs]);
    try {
      disk.makeDirectory(directory);
      replaceFile(disk, this.#path, encodeDump(entries, storeId));
    } catch (error) {
      if (!isStoreError(error)) throw error;
      disk.remove(`${this.#path}.new`);
    }
    this.clear();
  }

  #requireOpen(): void {
    if (!this.#closed) return;
    throw new StoreError("ERR_CLOSED", `cache map ${this.name} is closed`, { hint: "Open the store again." });
  }
}

function readWhole(disk: Disk, path: string): Uint8Array | undefined {
  const stat = disk.stat(path);
  if (stat === undefined) return undefined;
  try {
    const file = disk.open(path, { access: "read" });
    try {
      const bytes = Buffer.allocUnsafeSlow(stat.sizeBytes);
      return bytes.subarray(0, file.readSync(bytes, 0));
    } finally {
      file.close();
    }
  } catch (error) {
    if (isStoreError(error)) return undefined;
    throw error;
  }
}

/** The store's cached maps by name. */
export class Cache {
  readonly #options: CacheOptions;
  readonly #maps = new Map<string, CacheMap<never>>();

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  /** The map of this name; the same object whenever it is asked for, with the options it was first asked for with. */
  map<V = unknown>(name: string, options: CacheMapOptions = {}): CacheMap<V> {
    const known = this.#maps.get(name);
    if (known !== undefined) return known as unknown as CacheMap<V>;
    const map = new CacheMap<V>(name, this.#options, options);
    this.#maps.set(name, map as unknown as CacheMap<never>);
    return map;
  }

  async close(): Promise<void> {
    for (const map of this.#maps.values()) map.close();
    this.#maps.clear();
  }
}
