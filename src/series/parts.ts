import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { SERIES_CACHE_BYTES, SERIES_OPEN_SEGMENTS_MAX } from "../limits.ts";
import { type ColumnSlice, concatenate } from "./column-slice.ts";
import type { ColumnCodec } from "./columns/column-codec.ts";
import type { HotSegment } from "./hot-segment.ts";
import { type Column, columnIndex, type Schema } from "./schema.ts";
import { BLOCK_ROWS, type Bounds, type SegmentSummary } from "./segment-format.ts";
import type { SealedSegment, Snapshot } from "./segment-list.ts";
import { SegmentReader } from "./segment-reader.ts";
import type { BlockCacheStats } from "./series-size.ts";
import { adapt, nulls } from "./widen.ts";

/** Which of a series' two times a question is about. */
export type Which = "key" | "known";

/** A sealed or a hot segment, as reads see it; rows count from its first. */
export interface Part {
  readonly firstRow: number;
  readonly rows: number;
  /** Bounds of all its keys; `undefined` for a part without rows. */
  bounds(which: Which): (Bounds & { sorted: boolean }) | undefined;
  /** Bounds of the keys of a block of 1,024 rows, or wider ones. */
  blockBounds(which: Which, block: number): Bounds;
  /** Rows [from, to) of columns of the snapshot's schema, as few slices as there are pieces of memory. */
  read(columns: readonly Column[], from: number, to: number): Iterable<ColumnSlice[]>;
  /** Reads together what blocks of these columns need, where that is still to be read. */
  prepare(columns: readonly Column[], block: number): void;
  /** A block of one column, kept for the next question. */
  block(column: Column, block: number): ColumnSlice;
}

/** Sealed segments kept open and blocks kept decoded, by the reads of one store. */
export class ReadCache {
  readonly #disk: Disk;
  readonly #codec: ColumnCodec;
  readonly #readers = new Map<string, SegmentReader>();
  readonly #blocks = new Map<string, ColumnSlice>();
  #blockBytes = 0;
  #hits = 0;
  #misses = 0;

  constructor(disk: Disk, codec: ColumnCodec) {
    this.#disk = disk;
    this.#codec = codec;
  }

  reader(path: string, known?: SegmentSummary): SegmentReader {
    let reader = this.#readers.get(path);
    if (reader === undefined) {
      reader = SegmentReader.open(this.#disk, path, this.#codec, known);
      if (this.#readers.size >= SERIES_OPEN_SEGMENTS_MAX) {
        const [oldest, evicted] = this.#readers.entries().next().value!;
        this.#readers.delete(oldest);
        evicted.close();
      }
    } else this.#readers.delete(path);
    this.#readers.set(path, reader);
    return reader;
  }

  hasBlock(key: string): boolean {
    return this.#blocks.has(key);
  }

  block(key: string, make: () => ColumnSlice): ColumnSlice {
    let block = this.#blocks.get(key);
    if (block === undefined) {
      block = make();
      this.#misses++;
      this.#blockBytes += bytesOf(block);
    } else {
      this.#hits++;
      this.#blocks.delete(key);
    }
    this.#blocks.set(key, block);
    while (this.#blockBytes > SERIES_CACHE_BYTES && this.#blocks.size > 1) {
      const [oldest, evicted] = this.#blocks.entries().next().value!;
      this.#blocks.delete(oldest);
      this.#blockBytes -= bytesOf(evicted);
    }
    return block;
  }

  /** Blocks asked for one by one; ranges are read past the cache. */
  stats(): BlockCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      usedBytes: this.#blockBytes,
      limitBytes: SERIES_CACHE_BYTES,
    };
  }

  close(): void {
    for (const reader of this.#readers.values()) reader.close();
    this.#readers.clear();
    this.#blocks.clear();
    this.#blockBytes = 0;
  }
}

function bytesOf({ values, offsets, validity }: ColumnSlice): number {
  return values.byteLength + (offsets?.byteLength ?? 0) + (validity?.byteLength ?? 0);
}

/** The parts of a snapshot, oldest first. */
export function partsOf(snapshot: Snapshot, cache: ReadCache): Part[] {
  return [
    ...snapshot.sealed.map((segment) => new SealedPart(segment, cache)),
    ...snapshot.hot.map(({ segment, rows }) => new HotPart(segment, rows)),
  ];
}

class SealedPart implements Part {
  readonly firstRow: number;
  readonly rows: number;
  readonly #segment: SealedSegment;
  readonly #cache: ReadCache;

  constructor(segment: SealedSegment, cache: ReadCache) {
    this.firstRow = segment.firstRow;
    this.rows = segment.rows;
    this.#segment = segment;
    this.#cache = cache;
  }

  bounds(which: Which) {
    return this.#segment.summary[which];
  }

  blockBounds(which: Which, block: number): Bounds {
    return this.#reader().blockIndex(which)!.bounds[block]!;
  }

  *read(columns: readonly Column[], from: number, to: number): Generator<ColumnSlice[]> {
    yield columns.map((column) => this.#slice(column, from, to));
  }

  prepare(columns: readonly Column[], block: number): void {
    const missing = columns.filter((column) => !this.#cache.hasBlock(this.#blockKey(column, block)));
    if (missing.length < 2) return;
    const reader = this.#reader();
    reader.prepare(missing.map((column) => reader.placeOf(column.name)).filter((place) => place >= 0));
  }

  #blockKey(column: Column, block: number): string {
    return `${block} ${column.name} ${this.#segment.path}`;
  }

  block(column: Column, block: number): ColumnSlice {
    return this.#cache.block(this.#blockKey(column, block), () => {
      const from = block * BLOCK_ROWS;
      return this.#slice(column, from, Math.min(this.rows, from + BLOCK_ROWS));
    });
  }

  #slice(column: Column, from: number, to: number): ColumnSlice {
    const reader = this.#reader();
    const place = reader.placeOf(column.name);
    return place < 0 ? nulls(column, to - from) : adapt(reader.read(place, from, to), column);
  }

  #reader(): SegmentReader {
    try {
      return this.#cache.reader(this.#segment.path, this.#segment.summary);
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "ERR_NOT_FOUND") throw error;
      const rows = `${this.firstRow} to ${this.firstRow + this.rows - 1}`;
      throw new StoreError("ERR_NOT_FOUND", `rows ${rows} of the series were evicted while they were read`, {
        context: { path: this.#segment.path, firstRow: this.firstRow, rows: this.rows },
        retryable: true,
        hint: "Read again: the range now begins with the oldest row that is left.",
        cause: error,
      });
    }
  }
}

class HotPart implements Part {
  readonly firstRow: number;
  readonly rows: number;
  readonly #segment: HotSegment;
  readonly #own: Schema;

  constructor(segment: HotSegment, rows: number) {
    this.firstRow = segment.firstRow;
    this.rows = rows;
    this.#segment = segment;
    this.#own = segment.description.schema;
  }

  bounds(which: Which) {
    const bounds = this.#segment.rows[which];
    if (bounds === undefined || this.rows === 0) return undefined;
    // Rows may have come since the snapshot: bounds that are too wide do no harm.
    return { min: bounds.min, max: bounds.max, sorted: bounds.sorted };
  }

  blockBounds(which: Which, block: number): Bounds {
    const bounds = this.bounds(which)!;
    if (!bounds.sorted) return bounds;
    const name = which === "key" ? this.#own.key! : this.#own.knownKey!;
    const keys = this.block(this.#own.columns[columnIndex(this.#own, name)]!, block).values as BigInt64Array;
    return { min: keys[0]!, max: keys.at(-1)! };
  }

  *read(columns: readonly Column[], from: number, to: number): Generator<ColumnSlice[]> {
    const places = columns.map(({ name }) => columnIndex(this.#own, name));
    const present = places.filter((place) => place >= 0);
    for (const slices of this.#segment.rows.slices(from, Math.min(to, this.rows), present)) {
      const rows = slices[0]?.rows ?? 0;
      let next = 0;
      yield columns.map((column, index) => {
        if (places[index]! < 0) return nulls(column, rows);
        return adapt(slices[next++]!, column);
      });
    }
  }

  /** They lie in memory. */
  prepare(): void {}

  block(column: Column, block: number): ColumnSlice {
    const from = block * BLOCK_ROWS;
    const to = Math.min(this.rows, from + BLOCK_ROWS);
    return concatenate(
      column,
      [...this.read([column], from, to)].map(([slice]) => slice!),
    );
  }
}
