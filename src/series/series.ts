import type { RecordBatch, Table } from "apache-arrow";
import { StoreError } from "../errors.ts";
import { arrowBatches } from "./arrow-input.ts";
import type { ReadCache } from "./parts.ts";
import type { RangeRead } from "./range-read.ts";
import { rehearse } from "./rehearsal.ts";
import type { BatchInput, RowInput } from "./row-input.ts";
import { type Column, storageOf } from "./schema.ts";
import type { Snapshot } from "./segment-list.ts";
import type { SeriesDefinition } from "./series-file.ts";
import type { SeriesFollower } from "./series-follower.ts";
import {
  type AsOfOptions,
  type RangeOptions,
  type ResampleOptions,
  type SequenceGap,
  SeriesReads,
  type SeriesRow,
} from "./series-reads.ts";
import { rowsIn, type SeriesSize, sizeOf } from "./series-size.ts";
import type { SeriesWriter } from "./series-writer.ts";

/** What a series has and what it takes. Rows are `firstRow` to `endRow - 1` unless damage took some. */
export interface SeriesStats extends SeriesSize {
  name: string;
  firstRow: number;
  endRow: number;
  columns: Record<string, { type: string; encoding: string; storedBytes: number }>;
}

export interface TailOptions {
  signal?: AbortSignal;
  /** The first row to give; default: the next one to be appended. */
  fromRow?: number;
  columns?: readonly string[];
}

/** A follower that was asked just now answers from what it saw: looking at a directory costs more than an as-of read. */
const FOLLOW_MS = 5;
/** How often a tail in another process than the writer's looks for new rows. */
const TAIL_POLL_MS = 10;

export interface SeriesParts {
  definition: SeriesDefinition;
  writer?: SeriesWriter;
  follower?: SeriesFollower;
  cache: () => Promise<ReadCache>;
  /** Bytes of `series.json`. */
  fileBytes: () => number;
  onClose: () => void;
}

/**
 * A time series: rows of typed columns, appended at one end and evicted at the other. Every row has a number that
 * never changes and is never used again.
 */
export class Series implements AsyncDisposable {
  readonly name: string;
  readonly #writer: SeriesWriter | undefined;
  readonly #follower: SeriesFollower | undefined;
  readonly #parts: SeriesParts;
  readonly #reads: SeriesReads;
  #seen: { snapshot: Snapshot; atMs: number } | undefined;
  #closing: Promise<void> | undefined;

  constructor(parts: SeriesParts) {
    this.name = parts.definition.name;
    this.#parts = parts;
    this.#writer = parts.writer;
    this.#follower = parts.follower;
    this.#reads = new SeriesReads(this.name, () => this.#snapshot(), parts.cache);
  }

  /** The columns, in order. */
  get columns(): readonly Column[] {
    return this.#definition.schema.columns;
  }

  /** The column that orders the series; `undefined` when rows are keyed by arrival. */
  get key(): string | undefined {
    return this.#definition.schema.key;
  }

  get knownKey(): string | undefined {
    return this.#definition.schema.knownKey;
  }

  /** Whether a batch is appended row by row: to be put in order, or held against those before it. */
  get appendsSingly(): boolean {
    return this.#requireWriter().appendsSingly;
  }

  /** Rows of a full segment. */
  get segmentRows(): number {
    return this.#definition.segmentRows;
  }

  /** Whether this handle may append. */
  get writable(): boolean {
    return this.#writer !== undefined;
  }

  /** Rows that can be read now. */
  count(): number {
    return rowsIn(this.#snapshot());
  }

  /** The numbers of the oldest row and of the one to come. */
  positions(): { firstRow: number; endRow: number } {
    const { firstRow, endRow } = this.#snapshot();
    return { firstRow, endRow };
  }

  /**
   * Appends one row. When it returns, a killed process does not lose the row; a power cut takes at most the last
   * `flushIntervalMs`.
   * @returns the row's number; `undefined` for a row that waits in the sorting window or was dropped as a duplicate
   * @throws ERR_INVALID_ARGUMENT naming the column, ERR_CONFLICT (order, duplicate), ERR_DISK_FULL, ERR_POISONED
   * @example trades.append({ ts: { hi, lo }, price: 61800.3, qty: 0.006 });
   */
  append(row: RowInput): number | undefined {
    return this.#requireWriter().append(row);
  }

  /**
   * Appends many rows given by column: typed arrays of the columns' types are copied as they are. The arrays are the
   * caller's again when it returns, and the rows as safe as after `append`.
   * @returns how many rows were appended
   */
  appendColumns(batch: BatchInput): number {
    return this.#requireWriter().appendColumns(batch);
  }

  /** Appends the rows of an Arrow table, whose columns have the names and types of the series'. */
  appendTable(table: Table): number {
    const writer = this.#requireWriter();
    let rows = 0;
    for (const batch of arrowBatches(table, writer.definition.schema)) rows += writer.appendColumns(batch);
    return rows;
  }

  /** Resolves when all rows appended so far would survive a power cut. */
  flush(): Promise<void> {
    return this.#requireWriter().flush();
  }

  /** Seals the hot segment now, rows waiting to be sorted included, and resolves when it is published. */
  seal(): Promise<void> {
    return this.#requireWriter().seal();
  }

  /** Resolves when no full segment waits to be sealed: to be awaited between batches of a large import. */
  settled(): Promise<void> {
    return this.#requireWriter().settled();
  }

  /** Keeps rows from `row` on from eviction, in this process, until the function it returns is called. */
  pin(row: number): () => void {
    return this.#requireWriter().pin(row);
  }

  /** Rows by time or number, as Arrow record batches. The rows are those there are now, whatever is appended later. */
  range(options: RangeOptions = {}): RangeRead {
    return this.#reads.range(options);
  }

  /** The newest rows, oldest first. */
  last(count: number, options: { columns?: readonly string[] } = {}): Promise<Table> {
    return this.#reads.last(count, options.columns);
  }

  /** The oldest row. */
  first(options: { columns?: readonly string[] } = {}): Promise<SeriesRow | undefined> {
    return this.#reads.first(options.columns);
  }

  /**
   * The newest row at or before a moment, in nanoseconds; of equal times the one appended last. Never a later row:
   * there is no look-ahead.
   */
  asOf(tsNs: bigint, options: AsOfOptions = {}): Promise<SeriesRow | undefined> {
    return this.#reads.asOf(tsNs, options);
  }

  /**
   * Reads a few of the newest sealed rows in turns of its own, once a process and not for every series, so that the first
   * read finds its code compiled and the newest segments open. Ends early when `signal` aborts.
   * @internal
   */
  rehearse(signal: AbortSignal): Promise<void> | undefined {
    return rehearse(this.#reads, this.#definition, signal);
  }

  /** Bars of open, high, low, close, volume and count by event time; times without a row have no bar. */
  resample(options: ResampleOptions): Promise<Table> {
    return this.#reads.resample(options);
  }

  /** Where a column of sequence numbers does not go on by one. */
  sequenceGaps(column: string, options: Omit<RangeOptions, "columns"> = {}): Promise<SequenceGap[]> {
    return this.#reads.sequenceGaps(column, options);
  }

  /**
   * Rows as they are appended, by this process or another, until `signal` aborts or the series is closed.
   * @throws ERR_NOT_FOUND when rows were evicted before they could be given
   */
  async *tail({ signal, fromRow, columns }: TailOptions = {}): AsyncGenerator<RecordBatch> {
    let at = fromRow ?? this.#snapshot(true).endRow;
    const ended = () => signal?.aborted === true || this.#closing !== undefined;
    while (!ended()) {
      const snapshot = this.#snapshot(true);
      if (snapshot.endRow <= at) {
        await this.#moreRows(signal);
        continue;
      }
      if (snapshot.firstRow > at) {
        throw new StoreError(
          "ERR_NOT_FOUND",
          `series "${this.name}": rows ${at} to ${snapshot.firstRow - 1} were evicted`,
          {
            context: { series: this.name, firstRow: at, endRow: snapshot.firstRow },
            hint: "The reader is slower than the ring turns: give the ring more segments, or begin at a later row.",
          },
        );
      }
      for await (const batch of this.#reads.batches(snapshot, {
        fromRow: at,
        toRow: snapshot.endRow,
        columns,
      })) {
        if (ended()) return;
        yield batch;
      }
      at = snapshot.endRow;
    }
  }

  async stats(): Promise<SeriesStats> {
    const snapshot = this.#snapshot(true);
    const { definition, sealed, hot, firstRow, endRow } = snapshot;
    const cache = await this.#parts.cache();
    const { columns } = definition.schema;
    const totals = new Map(
      columns.map(({ name }) => [name, { encodings: new Set<string>(), storedBytes: 0 }]),
    );
    for (const { path } of sealed) {
      for (const { column, encoding, sizeBytes } of cache.reader(path).columns) {
        const total = totals.get(column.name);
        total?.encodings.add(encoding);
        if (total !== undefined) total.storedBytes += sizeBytes;
      }
    }
    const hotRows = hot.reduce((sum, { rows }) => sum + rows, 0);
    for (const column of hotRows > 0 ? columns : []) {
      const total = totals.get(column.name)!;
      total.encodings.add("hot");
      total.storedBytes += hotRows * rowBytes(column);
    }
    return {
      name: this.name,
      firstRow,
      endRow,
      ...this.#sizeOf(snapshot),
      columns: Object.fromEntries(
        columns.map(({ name, type }) => {
          const { encodings, storedBytes } = totals.get(name)!;
          return [name, { type, encoding: [...encodings].join(", "), storedBytes }];
        }),
      ),
    };
  }

  /** Rows and bytes, without what each column takes. */
  size(): SeriesSize {
    return this.#sizeOf(this.#snapshot(true));
  }

  #sizeOf(snapshot: Snapshot): SeriesSize {
    const hotBytes = this.#writer?.hotBytes ?? this.#follower!.hotBytes;
    return sizeOf(snapshot, { hotBytes, fileBytes: this.#parts.fileBytes() });
  }

  /** Makes what was appended durable and lets go of files and locks. Closing twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    try {
      await this.#writer?.close();
      this.#follower?.close();
    } finally {
      this.#parts.onClose();
    }
  }

  get #definition(): SeriesDefinition {
    return this.#writer?.definition ?? this.#follower!.definition;
  }

  #snapshot(fresh = false): Snapshot {
    if (this.#closing !== undefined) {
      throw new StoreError("ERR_CLOSED", `series "${this.name}" is closed`, {
        context: { series: this.name },
      });
    }
    if (this.#writer !== undefined) return this.#writer.snapshot();
    const nowMs = performance.now();
    if (fresh || this.#seen === undefined || nowMs - this.#seen.atMs > FOLLOW_MS) {
      this.#seen = { snapshot: this.#follower!.refresh(), atMs: nowMs };
    }
    return this.#seen.snapshot;
  }

  /** Resolves when there may be more rows. */
  #moreRows(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#writer === undefined ? setTimeout(done, TAIL_POLL_MS) : undefined;
      const forget = this.#writer?.onAppend(done);
      function done() {
        clearTimeout(timer);
        forget?.();
        signal?.removeEventListener("abort", done);
        resolve();
      }
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  #requireWriter(): SeriesWriter {
    if (this.#writer !== undefined) return this.#writer;
    throw new StoreError("ERR_INVALID_ARGUMENT", `series "${this.name}" is open for reading only`, {
      context: { series: this.name },
      hint: "Open it without `readOnly`, in a store that is not read-only.",
    });
  }
}

/** Bytes a hot row of a column takes at least. */
function rowBytes(column: Column): number {
  const storage = storageOf(column.type);
  if (storage === undefined) return column.type === "bool" ? 1 : 4;
  return (Number(storage.slice(1)) / 8) * Math.max(1, column.listSize);
}
