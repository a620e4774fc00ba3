import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { NAME_BYTES_MAX } from "../limits.ts";
import { checkName, nearestNames } from "../names.ts";
import { StateMap, type StateMapOptions } from "./state-map.ts";

export interface StateOptions {
  disk: Disk;
  /** The store's `state` directory. */
  directory: string;
  storeId: Uint8Array;
  readOnly: boolean;
  nowUs: () => bigint;
}

/** Strategies' maps of a store. */
export interface StateStats {
  maps: number;
  /** Of them, those that this object has open, */
  openMaps: number;
  /** and their entries. */
  entries: number;
  /** Logs of all of them, with the history they keep. */
  storedBytes: number;
}

/** The store's state maps by name: each has a directory and a writer of its own. */
export class State {
  readonly #options: StateOptions;
  readonly #maps = new Map<string, { map: StateMap<never>; version: number }>();
  #closed = false;

  constructor(options: StateOptions) {
    this.#options = options;
  }

  /**
   * The map of this name; the same object whenever it is asked for. Nothing is created before the first put.
   * @throws `ERR_STORE_CORRUPT` when its log is damaged, `ERR_STORE_VERSION` for values of a newer schema,
   *   `ERR_CONFLICT` when it is open with another schema version
   * @example
   * const state = store.state.map<Indicators>("mean-reversion", { version: 2, upgrade: (old) => ({ ...old, z: 0 }) });
   */
  map<V = unknown>(name: string, options: StateMapOptions<V> = {}): StateMap<V> {
    this.#requireOpen();
    const version = options.version ?? 1;
    const known = this.#maps.get(name);
    if (known !== undefined) {
      if (known.version === version) return known.map as unknown as StateMap<V>;
      throw new StoreError(
        "ERR_CONFLICT",
        `map ${name} is open with schema version ${known.version} already`,
        {
          context: { map: name, version: known.version },
          hint: "One process has one schema of a map.",
        },
      );
    }
    const { directory, ...log } = this.#options;
    const map = new StateMap<V>(name, { ...log, directory: `${directory}/${directoryName(name)}` }, options);
    this.#maps.set(name, { map: map as unknown as StateMap<never>, version });
    return map;
  }

  /** Names of the maps that hold or held something, sorted. */
  names(): string[] {
    const { disk, directory } = this.#options;
    return disk.list(directory).map(decodeURIComponent).sort();
  }

  stats(): StateStats {
    const { disk, directory } = this.#options;
    const open = [...this.#maps.values()];
    let storedBytes = 0;
    const names = disk.list(directory);
    for (const name of names) {
      const files = disk.list(`${directory}/${name}`).map((file) => `${directory}/${name}/${file}`);
      storedBytes += files.reduce((sum, path) => sum + (disk.stat(path)?.sizeBytes ?? 0), 0);
    }
    const entries = open.reduce((sum, { map }) => sum + map.size, 0);
    return { maps: names.length, openMaps: open.length, entries, storedBytes };
  }

  /** @throws `ERR_NOT_FOUND` naming those nearest */
  requireName(name: string): string {
    const names = this.names();
    if (names.includes(name)) return name;
    const near = nearestNames(name, names);
    throw new StoreError("ERR_NOT_FOUND", `there is no state map ${JSON.stringify(name)}`, {
      context: { map: name, nearest: near },
      hint: near.length > 0 ? `Did you mean ${near.join(", ")}?` : "`varve state ls` lists what there is.",
    });
  }

  /** Makes every change of every map durable. */
  async flush(): Promise<void> {
    for (const { map } of this.#maps.values()) await map.flush();
  }

  #requireOpen(): void {
    if (!this.#closed) return;
    throw new StoreError("ERR_CLOSED", "the store is closed", { hint: "Open the store again." });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const closed = await Promise.allSettled([...this.#maps.values()].map(({ map }) => map.close()));
    this.#maps.clear();
    for (const result of closed) if (result.status === "rejected") throw result.reason;
  }
}

/** A name as a directory: `/` and `+` would mean something else there. */
export function directoryName(name: string): string {
  checkName("ref", name);
  const encoded = encodeURIComponent(name).replace(/^\./, "%2E");
  if (encoded.length <= NAME_BYTES_MAX) return encoded;
  throw new StoreError("ERR_LIMIT", `the name ${JSON.stringify(name)} is too long for a directory`, {
    context: { name },
    hint: "Use a shorter name, or one with fewer slashes.",
  });
}
