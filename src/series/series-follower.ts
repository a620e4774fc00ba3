import type { Disk } from "../disk/disk.ts";
import { HotReader } from "./hot-segment.ts";
import { isGone, listSegments, readSealed, type SealedSegment, type Snapshot } from "./segment-list.ts";
import { readSeriesFile, SERIES_FILE, type SeriesDefinition } from "./series-file.ts";

/** A look at the directory may meet files that are just being sealed or evicted: then it looks again. */
const ATTEMPTS = 20;

/** Reads a series that another process (or nobody) writes: sealed segments, and the rows of hot files as they come. */
export class SeriesFollower {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #storeId: Uint8Array;
  #definition: SeriesDefinition;
  /** Which file it was read from: a change of it puts another one in its place. */
  #definitionFile = "";
  #sealed = new Map<string, SealedSegment>();
  #hot = new Map<string, HotReader>();
  #snapshot: Snapshot;

  constructor(place: { disk: Disk; directory: string; storeId: Uint8Array }, definition: SeriesDefinition) {
    this.#disk = place.disk;
    this.#directory = place.directory;
    this.#storeId = place.storeId;
    this.#definition = definition;
    this.#snapshot = this.refresh();
  }

  get definition(): SeriesDefinition {
    return this.#definition;
  }

  /** What the series holds now. @throws ERR_STORE_CORRUPT */
  refresh(): Snapshot {
    for (let attempt = 1; ; attempt++) {
      try {
        return this.#look();
      } catch (error) {
        if (!isGone(error) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Bytes of the hot files' records. */
  get hotBytes(): number {
    return [...this.#hot.values()].reduce((sum, reader) => sum + reader.position, 0);
  }

  close(): void {
    for (const reader of this.#hot.values()) reader.close();
    this.#hot.clear();
  }

  #look(): Snapshot {
    const names = listSegments(this.#disk, this.#directory);
    const sealed = new Map<string, SealedSegment>();
    const hot = new Map<string, HotReader>();
    const sealedRows = new Set<number>();
    for (const name of names) {
      if (name.kind === "sealed") {
        const known = this.#sealed.get(name.name);
        sealed.set(name.name, known ?? readSealed(this.#disk, this.#directory, name, this.#storeId));
        sealedRows.add(name.firstRow);
      } else if (!sealedRows.has(name.firstRow)) {
        const known =
          this.#hot.get(name.name) ?? HotReader.open(this.#disk, `${this.#directory}/${name.name}`);
        if (known !== undefined) hot.set(name.name, known);
      }
    }
    for (const [name, reader] of this.#hot) if (!hot.has(name)) reader.close();
    this.#sealed = sealed;
    this.#hot = hot;
    for (const reader of hot.values()) reader.refresh();
    // A hot file of another schema than the one known: the series was opened with a wider one.
    this.#lookAtDefinition();
    this.#snapshot = this.#take();
    return this.#snapshot;
  }

  #lookAtDefinition(): void {
    const stat = this.#disk.stat(`${this.#directory}/${SERIES_FILE}`);
    if (stat === undefined) return;
    const file = `${stat.device} ${stat.inode} ${stat.bornNs} ${stat.modifiedMs} ${stat.sizeBytes}`;
    if (file === this.#definitionFile) return;
    this.#definition = readSeriesFile(this.#disk, this.#directory) ?? this.#definition;
    this.#definitionFile = file;
  }

  #take(): Snapshot {
    const sealed = [...this.#sealed.values()];
    const readers = [...this.#hot.values()];
    const hot = readers.map(({ segment }, index) => {
      const next = readers[index + 1]?.segment.firstRow;
      return {
        segment,
        rows: Math.min(segment.rows.rows, (next ?? Number.POSITIVE_INFINITY) - segment.firstRow),
      };
    });
    const last = hot.at(-1);
    const lastSealed = sealed.at(-1);
    const sealedEnd = lastSealed === undefined ? 0 : lastSealed.firstRow + lastSealed.rows;
    const endRow = last === undefined ? sealedEnd : last.segment.firstRow + last.rows;
    const firstRow = sealed[0]?.firstRow ?? hot[0]?.segment.firstRow ?? endRow;
    return { definition: this.#definition, sealed, hot, firstRow, endRow };
  }
}
