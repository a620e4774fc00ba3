import type { Disk } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { lockDirectory } from "../disk/lock.ts";
import { StoreError } from "../errors.ts";
import { NAME_BYTES_MAX, SERIES_OPEN_MAX } from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import { loadColumnCodec } from "./columns/column-codec.ts";
import { ReadCache } from "./parts.ts";
import type { SealBudget } from "./seal-pace.ts";
import { Series } from "./series.ts";
import {
  directoryName,
  readSeriesFile,
  SERIES_FILE,
  type SeriesDefinition,
  writeSeriesFile,
} from "./series-file.ts";
import { SeriesFollower } from "./series-follower.ts";
import { defineSeries, redefineSeries, type SeriesOptions } from "./series-options.ts";
import { addUp, NO_READS, type SeriesSize, type SeriesTotals } from "./series-size.ts";
import { SeriesWriter } from "./series-writer.ts";

export interface SeriesStoreOptions {
  disk: Disk;
  /** `series/` of the store. */
  directory: string;
  storeId: Uint8Array;
  pool: WorkerPool;
  readOnly: boolean;
  nowUs: () => bigint;
  /** Told of background work (a flush, a seal) that failed while nobody was waiting for it. */
  onError?: ((error: unknown) => void) | undefined;
  /** What background writing takes from; without one, seals do not wait. */
  budget?: SealBudget | undefined;
  /** Whether the first series that is opened with sealed rows may be read a little, ahead of the first read. */
  rehearse?: boolean | undefined;
}

/** The time series of a store. */
export class SeriesStore {
  readonly #options: SeriesStoreOptions;
  readonly #writers = new Map<string, Series>();
  readonly #open = new Set<Series>();
  #cache: Promise<ReadCache> | undefined;
  readonly #closing = new AbortController();
  #rehearsal: Promise<void> | undefined;

  constructor(options: SeriesStoreOptions) {
    this.#options = options;
  }

  /** The names of all series, sorted. */
  list(): string[] {
    const { disk, directory } = this.#options;
    return disk
      .list(directory)
      .filter((name) => disk.stat(`${directory}/${name}/${SERIES_FILE}`) !== undefined)
      .map((name) => name.replaceAll("~", "/"))
      .sort();
  }

  /**
   * Opens a series, and creates it when it is new and `columns` are named. One process at a time writes a series; any
   * number read it (`readOnly`). Opening for writing the second time in one store gives the same object.
   * @throws ERR_NOT_FOUND for a series that is not there and has no `columns`; ERR_STORE_LOCKED with the writer's
   *   pid; ERR_CONFLICT naming a column that does not fit; ERR_STORE_CORRUPT
   */
  open(name: string, options: SeriesOptions = {}): Series {
    checkSeriesName(name);
    const readOnly = options.readOnly ?? this.#options.readOnly;
    if (!readOnly && this.#options.readOnly) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "the store is open for reading only", {
        context: { series: name },
      });
    }
    const known = readOnly ? undefined : this.#writers.get(name);
    if (known !== undefined) return known;
    if (this.#open.size >= SERIES_OPEN_MAX) {
      throw new StoreError("ERR_LIMIT", `${SERIES_OPEN_MAX} series are open`, {
        context: { limit: SERIES_OPEN_MAX },
        hint: "Close those that are not needed.",
      });
    }
    const series = readOnly ? this.#openReader(name) : this.#openWriter(name, options);
    this.#open.add(series);
    // What is wrong with a segment is told to whoever reads it in earnest.
    if (this.#options.rehearse === true)
      this.#rehearsal ??= series.rehearse(this.#closing.signal)?.catch(() => {});
    return series;
  }

  /**
   * Removes a series with all its rows.
   * @throws ERR_NOT_FOUND, ERR_STORE_LOCKED with the writer's pid
   */
  async remove(name: string): Promise<void> {
    const { disk } = this.#options;
    const directory = this.#directoryOf(name);
    if (disk.stat(`${directory}/${SERIES_FILE}`) === undefined) throw notThere(name, this.list());
    await this.#writers.get(name)?.close();
    const lock = lockDirectory(disk, directory);
    try {
      // Without its definition it is no series any more, whatever is left of it by a crash.
      disk.remove(`${directory}/${SERIES_FILE}`);
      disk.syncDirectory(directory);
      for (const file of disk.list(directory)) disk.remove(`${directory}/${file}`);
      disk.syncDirectory(directory);
    } finally {
      lock.close();
    }
  }

  /** All series together: those that are not open are looked at one after the other, without decoding a row. */
  async stats(): Promise<SeriesTotals> {
    const sizes: SeriesSize[] = [];
    let unreadable = 0;
    const names = this.list();
    for (const name of names) {
      try {
        sizes.push(await this.#sizeOf(name));
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        unreadable++;
      }
    }
    const blockCache = (await this.#cache)?.stats() ?? NO_READS;
    return addUp(sizes, { series: names.length, writing: this.#writers.size, unreadable, blockCache });
  }

  async #sizeOf(name: string): Promise<SeriesSize> {
    const open = this.#writers.get(name);
    if (open !== undefined) return open.size();
    const series = this.#openReader(name);
    try {
      return series.size();
    } finally {
      await series.close();
    }
  }

  /** Closes every open series and what their reads keep. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#rehearsal;
    await Promise.all([...this.#open].map((series) => series.close()));
    const cache = await this.#cache;
    cache?.close();
    this.#cache = undefined;
  }

  #openReader(name: string): Series {
    const { disk, storeId } = this.#options;
    const directory = this.#directoryOf(name);
    const definition = readSeriesFile(disk, directory);
    if (definition === undefined) throw notThere(name, this.list());
    const follower = new SeriesFollower({ disk, directory, storeId }, definition);
    const series: Series = new Series({
      ...this.#shared(directory),
      definition,
      follower,
      onClose: () => this.#open.delete(series),
    });
    return series;
  }

  #openWriter(name: string, options: SeriesOptions): Series {
    const { disk, storeId, pool, nowUs, onError, budget } = this.#options;
    const directory = this.#directoryOf(name);
    if (disk.stat(`${directory}/${SERIES_FILE}`) === undefined) {
      if (options.columns === undefined) throw notThere(name, this.list());
      // A definition that is wrong leaves no directory behind.
      defineSeries(name, options, nowUs());
      makeDurableDirectory(disk, directory);
    }
    const lock = lockDirectory(disk, directory);
    try {
      const found = readSeriesFile(disk, directory);
      const definition =
        found === undefined ? defineSeries(name, options, nowUs()) : redefineSeries(found, options);
      const writer = SeriesWriter.open({ disk, directory, storeId, pool, lock }, definition, {
        flushIntervalMs: checkInterval(options.flushIntervalMs ?? 1000),
        profile: options.profile ?? "compact",
        onError: onError ?? (() => {}),
        budget,
      });
      if (!sameDefinition(found, definition)) writeSeriesFile(disk, directory, definition);
      const onClose = () => {
        this.#open.delete(series);
        this.#writers.delete(name);
      };
      const series: Series = new Series({ ...this.#shared(directory), definition, writer, onClose });
      this.#writers.set(name, series);
      return series;
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  #shared(directory: string) {
    const { disk } = this.#options;
    return {
      cache: () => {
        this.#cache ??= loadColumnCodec().then((codec) => new ReadCache(disk, codec));
        return this.#cache;
      },
      fileBytes: () => disk.stat(`${directory}/${SERIES_FILE}`)?.sizeBytes ?? 0,
    };
  }

  #directoryOf(name: string): string {
    return `${this.#options.directory}/${directoryName(name)}`;
  }
}

function sameDefinition(a: SeriesDefinition | undefined, b: SeriesDefinition): boolean {
  const text = (value: unknown) =>
    JSON.stringify(value, (_key, item: unknown) => (typeof item === "bigint" ? `${item}n` : item));
  return a === b || (a !== undefined && text(a) === text(b));
}

function checkInterval(flushIntervalMs: number): number {
  if (Number.isFinite(flushIntervalMs) && flushIntervalMs >= 0 && flushIntervalMs <= 2 ** 31 - 1)
    return flushIntervalMs;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `flushIntervalMs is a number of milliseconds, not ${flushIntervalMs}`,
  );
}

/** Names read well on a command line and fit a directory's name: `binance.BTCUSDT.trades`. */
function checkSeriesName(name: string): void {
  const fits = typeof name === "string" && /^[A-Za-z0-9_][A-Za-z0-9._+/-]*$/.test(name);
  if (fits && Buffer.byteLength(name) <= NAME_BYTES_MAX) return;
  throw new StoreError("ERR_INVALID_ARGUMENT", `${JSON.stringify(name)} is no series name`, {
    context: { name },
    hint: `Use letters, digits and . _ - + /, at most ${NAME_BYTES_MAX} of them, for example "binance.BTCUSDT.trades".`,
  });
}

function notThere(name: string, known: readonly string[]): StoreError {
  const near = known.filter((each) => each.includes(name) || name.includes(each)).slice(0, 3);
  const others = near.length > 0 ? `Near it: ${near.join(", ")}. ` : "";
  return new StoreError("ERR_NOT_FOUND", `there is no series "${name}"`, {
    context: { series: name },
    hint: `${others}\`varve series ls\` lists them; name \`columns\` to create one.`,
  });
}
