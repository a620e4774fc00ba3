import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { loadColumnCodec } from "./columns/column-codec.ts";
import { recoverHot } from "./hot-segment.ts";
import { BLOCK_ROWS, type SegmentName } from "./segment-format.ts";
import { checkGap, isGone, listSegments, readSealed, type SealedSegment } from "./segment-list.ts";
import { SegmentReader } from "./segment-reader.ts";
import { readSeriesFile } from "./series-file.ts";

/** Something wrong with a file of a series. */
export interface SeriesProblem {
  series: string;
  path: string;
  what: string;
  hint: string;
  /** Rows that are missing altogether, where that is what is wrong. */
  gap?: { firstRow: number; rows: number };
}

export interface SeriesCheck {
  problems: SeriesProblem[];
  checkedBytes: number;
}

export interface SeriesCheckOptions {
  /** `series/` of the store. */
  directory: string;
  storeId: Uint8Array;
  /** Decode every row, not just headers and footers. */
  readData: boolean;
  signal?: AbortSignal | undefined;
}

/** Checks the files of all series. Rows may be appended, sealed and evicted meanwhile. */
export async function checkSeries(
  disk: Disk,
  { directory, storeId, readData, signal }: SeriesCheckOptions,
): Promise<SeriesCheck> {
  const check: SeriesCheck = { problems: [], checkedBytes: 0 };
  for (const name of disk.list(directory)) {
    const path = `${directory}/${name}`;
    const files = listSegments(disk, path);
    if (files.length === 0 && disk.stat(`${path}/series.json`) === undefined) continue;
    await new SeriesInspection(disk, path, name.replaceAll("~", "/"), check).run(
      files,
      storeId,
      readData,
      signal,
    );
  }
  return check;
}

class SeriesInspection {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #series: string;
  readonly #check: SeriesCheck;

  constructor(disk: Disk, directory: string, series: string, check: SeriesCheck) {
    this.#disk = disk;
    this.#directory = directory;
    this.#series = series;
    this.#check = check;
  }

  async run(
    files: readonly SegmentName[],
    storeId: Uint8Array,
    readData: boolean,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const path = `${this.#directory}/series.json`;
    const definition = this.#try(path, () => {
      const found = readSeriesFile(this.#disk, this.#directory);
      if (found === undefined) throw missing(path);
      return found;
    });
    let endRow: number | undefined;
    for (const file of files) {
      if (signal?.aborted === true) throw new StoreError("ERR_ABORTED", "the check was interrupted");
      // A large series must not hold the event loop for long.
      await new Promise(setImmediate);
      const end = await this.#file(file, storeId, readData);
      if (end === undefined) continue;
      if (endRow !== undefined && file.firstRow > endRow) {
        const gap = { firstRow: endRow, rows: file.firstRow - endRow };
        this.#try(
          this.#directory,
          () => checkGap(definition?.gaps ?? [], this.#directory, gap.firstRow, file.firstRow),
          gap,
        );
      }
      endRow = Math.max(endRow ?? 0, end);
    }
  }

  /** Checks one file and returns where its rows end; a damaged one still counts by its name. */
  async #file(file: SegmentName, storeId: Uint8Array, readData: boolean): Promise<number | undefined> {
    const path = `${this.#directory}/${file.name}`;
    if (file.kind === "hot") {
      const hot = this.#try(path, () => recoverHot(this.#disk, path));
      this.#check.checkedBytes += hot?.position ?? 0;
      return hot?.segment.endRow;
    }
    const sealed = this.#try(path, () => readSealed(this.#disk, this.#directory, file, storeId));
    if (sealed !== undefined && readData) await this.#decode(sealed);
    this.#check.checkedBytes += sealed?.summary.sizeBytes ?? 0;
    return file.firstRow + file.rows;
  }

  async #decode({ path, rows }: SealedSegment): Promise<void> {
    const codec = await loadColumnCodec();
    const reader = this.#try(path, () => SegmentReader.open(this.#disk, path, codec));
    for (const place of reader?.columns.keys() ?? []) {
      this.#try(path, () => {
        const step = BLOCK_ROWS * 64;
        for (let from = 0; from < rows; from += step) reader!.read(place, from, Math.min(rows, from + step));
      });
    }
    reader?.close();
  }

  #try<T>(path: string, call: () => T, gap?: SeriesProblem["gap"]): T | undefined {
    try {
      return call();
    } catch (error) {
      // Sealed or evicted since the directory was listed.
      if (isGone(error)) return undefined;
      if (!isStoreError(error, "ERR_STORE_CORRUPT") && !isStoreError(error, "ERR_STORE_VERSION")) throw error;
      const problem = { series: this.#series, path, what: error.message, hint: error.hint ?? "" };
      this.#check.problems.push(gap === undefined ? problem : { ...problem, gap });
      return undefined;
    }
  }
}

function missing(path: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path} is missing beside segments`, {
    context: { path },
    hint: "Put the file back from a backup.",
  });
}
