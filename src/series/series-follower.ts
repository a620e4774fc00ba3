import type { Disk } from "../disk/disk.ts";
import { HotReader } from "./hot-segment.ts";
import { isGone, listSegments, readSealed, type SealedSegment, type Snapshot } from "./segment-list.ts";
import { readSeriesFile, SERIES_FILE, type SeriesDefinition } from "./series-file.ts";

/** A look at the directory may meet files that are just being sealed or evicted: then it looks again. */
const ATTEMPTS = 20;

/** File systems note changes by the tick of a clock, of up to some ten milliseconds; FAT's has two seconds. */
const SETTLED_MS = 2500;

/** Reads a series that another process (or nobody) writes: sealed segments, and the rows of hot files as they come. */
export class SeriesFollower {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #storeId: Uint8Array;
  #definition: SeriesDefinition;
  /** Which file it was read from: a change of it puts another one in its place. */
  #definitionFile = "";
  /** Names in the directory when its segments were looked at. */
  #listed: string | undefined;
  /** When the directory had last changed by then; `undefined` where that does not tell whether it has changed since. */
  #listedChangeMs: number | undefined;
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
    const changeMs = this.#disk.stat(this.#directory)?.modifiedMs;
    const untouched = changeMs !== undefined && changeMs === this.#listedChangeMs;
    const sameFiles = untouched || this.#lookAtNames(changeMs);
    for (const reader of this.#hot.values()) reader.refresh();
    // A hot file of another schema than the one known: the series was opened with a wider one. The definition's file is
    // put in its place under another name, which the directory shows.
    const sameDefinition = untouched || !this.#lookAtDefinition();
    // Nothing new: what was worked out from the snapshot stays good, too.
    if (!sameFiles || !sameDefinition || this.#hot.size > 0) this.#snapshot = this.#take();
    return this.#snapshot;
  }

  /** Whether the directory holds the files it held. */
  #lookAtNames(changeMs: number | undefined): boolean {
    this.#listedChangeMs = undefined;
    const listed = this.#disk.list(this.#directory).join("\n");
    const same = listed === this.#listed;
    if (!same) {
      this.#listed = undefined;
      if (this.#lookAtSegments()) this.#listed = listed;
    }
    // A change within the same tick of the clock would not show.
    const settled = changeMs !== undefined && Date.now() - changeMs > SETTLED_MS;
    if (this.#listed !== undefined && settled) this.#listedChangeMs = changeMs;
    return same;
  }

  /** Opens what is new among the segments, lets go of what is gone; whether all that is there could be opened. */
  #lookAtSegments(): boolean {
    let complete = true;
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
        else complete = false;
      }
    }
    for (const [name, reader] of this.#hot) if (!hot.has(name)) reader.close();
    this.#sealed = sealed;
    this.#hot = hot;
    return complete;
  }

  /** Whether the definition has changed. */
  #lookAtDefinition(): boolean {
    const stat = this.#disk.stat(`${this.#directory}/${SERIES_FILE}`);
    if (stat === undefined) return false;
    const file = `${stat.device} ${stat.inode} ${stat.bornNs} ${stat.modifiedMs} ${stat.sizeBytes}`;
    if (file === this.#definitionFile) return false;
    this.#definition = readSeriesFile(this.#disk, this.#directory) ?? this.#definition;
    this.#definitionFile = file;
    return true;
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
