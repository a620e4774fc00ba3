import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { SERIES_HOT_BYTES_MAX, SERIES_RECORD_ROWS_MAX } from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import { Admission } from "./admission.ts";
import { FlushTimer } from "./flush-timer.ts";
import { HotSegment } from "./hot-segment.ts";
import { JOURNAL_RECORD_BYTES, RECORD_KINDS } from "./journal-format.ts";
import { JournalWriter } from "./journal-writer.ts";
import { recoverSeries } from "./recover-series.ts";
import { evictable } from "./retention.ts";
import { RowEncoder } from "./row-encoder.ts";
import { type BatchInput, type RowInput, rowOfBatch, rowsOfBatch } from "./row-input.ts";
import { sameSchema } from "./schema.ts";
import { type SealRequest, type SealResult, sealJob } from "./seal.job.ts";
import { type SealBudget, SealPace } from "./seal-pace.ts";
import { bytesWaiting, requireSealsKeepUp } from "./seals-waiting.ts";
import { hotFileName, segmentFileName } from "./segment-format.ts";
import { readSealed, type SealedSegment, type Snapshot } from "./segment-list.ts";
import type { SeriesDefinition } from "./series-file.ts";

export interface WriterPlace {
  disk: Disk;
  directory: string;
  storeId: Uint8Array;
  pool: WorkerPool;
  lock: DiskFile;
}

export interface WriterOptions {
  flushIntervalMs: number;
  profile: "light" | "compact";
  /** Told of background work that failed while nobody was waiting for it. */
  onError: (error: unknown) => void;
  /** Without one, seals do not wait. */
  budget?: SealBudget | undefined;
}

interface Hot {
  segment: HotSegment;
  journal: JournalWriter;
}

/**
 * The one writer of a series. An append is one write into the hot file, which a killed process cannot lose any more,
 * and then a copy into memory, which makes it visible. A full segment is sealed by a worker while the next one is
 * appended to.
 */
export class SeriesWriter {
  readonly #place: WriterPlace;
  readonly #options: WriterOptions;
  readonly #definition: SeriesDefinition;
  readonly #encoder: RowEncoder;
  readonly #admission: Admission;
  readonly #releasedKey = () => this.#released();
  readonly #sealed: SealedSegment[];
  /** Full segments that wait to be sealed, oldest first. */
  readonly #full: (Hot & { rows: number })[] = [];
  readonly #pins = new Set<{ row: number }>();
  readonly #waiting = new Set<() => void>();
  readonly #flushTimer: FlushTimer;
  #hot: Hot | undefined;
  #snapshot: Snapshot | undefined;
  #endRow: number;
  #sealing: Promise<void> | undefined;
  /** Whether the last full file was filled fast. */
  #fast = false;
  readonly #pace: SealPace;
  /** Whether a worker was asked for: starting a thread is not for the append that fills a segment. */
  #expectsSeal = false;
  #closed = false;

  private constructor(place: WriterPlace, definition: SeriesDefinition, options: WriterOptions) {
    this.#place = place;
    this.#definition = definition;
    this.#options = options;
    this.#pace = new SealPace(options.budget);
    this.#encoder = new RowEncoder(definition.schema);
    this.#flushTimer = new FlushTimer(options.flushIntervalMs, () => {
      this.#sync().catch((error: unknown) => options.onError(error));
    });
    this.#admission = new Admission(definition);
    const { disk, directory, storeId } = place;
    const found = recoverSeries(disk, directory, storeId, definition.gaps);
    this.#sealed = found.sealed;
    this.#endRow = found.endRow;
    for (const [index, { segment, ordinal, position, rows, end }] of found.hot.entries()) {
      const name = hotFileName(segment.firstRow);
      const state = { end: position, rows: ordinal, torn: end.kind === "torn" };
      const journal = JournalWriter.resume(disk, { directory, name }, state);
      if (index === found.hot.length - 1) this.#hot = { segment, journal };
      else this.#full.push({ segment, journal, rows });
    }
    for (const { summary } of found.sealed)
      if (summary.key !== undefined) this.#admission.found(summary.key.max);
    for (const { segment } of found.hot)
      if (segment.rows.rows > 0) this.#admission.found(segment.rows.key?.max);
  }

  /** Recovers the series and continues it. @throws ERR_STORE_CORRUPT naming file and offset */
  static open(place: WriterPlace, definition: SeriesDefinition, options: WriterOptions): SeriesWriter {
    const writer = new SeriesWriter(place, definition, options);
    if (writer.#hot !== undefined && !writer.#continues(writer.#hot.segment)) {
      // Rows that wait to be sorted have the old columns and the old window: they are put in order as they are.
      writer.#drain(writer.#hot);
      writer.#roll(writer.#hot);
    }
    if (writer.#full.length > 0 || writer.#hot !== undefined) writer.#flushTimer.appended();
    writer.#sealInBackground();
    return writer;
  }

  get definition(): SeriesDefinition {
    return this.#definition;
  }

  get appendsSingly(): boolean {
    return this.#admission.singly;
  }

  get endRow(): number {
    return this.#endRow;
  }

  /**
   * Appends one row; when it returns, killing the process does not lose it.
   * @returns the row's number, or `undefined` when the row waits in the sorting window or was a duplicate
   */
  append(row: RowInput): number | undefined {
    this.#requireOpen();
    const end = this.#encoder.encodeRow(row);
    if (!this.#admission.admit(this.#encoder, end, this.#releasedKey)) return undefined;
    try {
      this.#write(end, 1);
    } catch (error) {
      this.#admission.failed(this.#encoder, end);
      throw error;
    }
    this.#admission.appended(this.#encoder);
    this.#noteAppended();
    return this.#definition.order === "sort" ? undefined : this.#endRow - 1;
  }

  /**
   * Appends rows given by column; on return all of them are as safe as one appended row. A batch is checked before
   * anything of it is appended, unless the series sorts or looks for duplicates: then rows go one by one.
   * @returns how many rows were appended (or wait in the window)
   */
  appendColumns(batch: BatchInput): number {
    this.#requireOpen();
    const { schema, segmentRows, retention } = this.#definition;
    const rows = rowsOfBatch(schema, batch);
    const ringRows = segmentRows * ((retention.segments ?? Number.POSITIVE_INFINITY) + 1);
    if (rows > ringRows) {
      throw new StoreError(
        "ERR_LIMIT",
        `a batch of ${rows} rows is larger than the ring, which holds ${ringRows}`,
        {
          context: { rows, limit: ringRows },
          hint: "Append it in parts, or give the series more or larger segments.",
        },
      );
    }
    if (this.#admission.singly) return this.#appendOneByOne(batch, rows);
    const { end: whole, appended } = this.#admission.checkBatch(this.#encoder, batch, rows);
    for (let from = 0; from < rows; ) {
      const used = this.#hot?.segment.rows.rows ?? 0;
      const room = used < segmentRows ? segmentRows - used : segmentRows;
      const to = Math.min(rows, from + Math.min(SERIES_RECORD_ROWS_MAX, room));
      const ready = whole !== undefined && to - from === rows;
      this.#write(ready ? whole : this.#encoder.encodeBatch(batch, from, to), to - from);
      from = to;
    }
    appended();
    if (rows > 0) this.#noteAppended();
    return rows;
  }

  /** Makes everything appended so far durable. */
  async flush(): Promise<void> {
    this.#requireOpen();
    await this.#sync();
  }

  /** Empties the sorting window, seals what is hot and waits until it is published. */
  async seal(): Promise<void> {
    this.#requireOpen();
    const hot = this.#hot;
    if (hot !== undefined) this.#drain(hot);
    if (hot !== undefined && hot.segment.rows.rows > 0) this.#roll(hot);
    await this.settled();
  }

  /** Waits until no full segment waits to be sealed. @throws what kept one from being sealed */
  async settled(): Promise<void> {
    await this.#pace.without(async () => {
      while (this.#full.length > 0) {
        this.#sealInBackground();
        await this.#sealing;
      }
    });
  }

  /** Keeps rows from `row` on from eviction until released. */
  pin(row: number): () => void {
    const pin = { row };
    this.#pins.add(pin);
    return () => {
      this.#pins.delete(pin);
      this.#evict();
    };
  }

  /** The same object until something changes. */
  snapshot(): Snapshot {
    this.#snapshot ??= this.#look();
    return this.#snapshot;
  }

  #look(): Snapshot {
    const hot = this.#full.map(({ segment, rows }) => ({ segment, rows }));
    if (this.#hot !== undefined) hot.push({ segment: this.#hot.segment, rows: this.#hot.segment.rows.rows });
    const firstRow = this.#sealed[0]?.firstRow ?? hot[0]?.segment.firstRow ?? this.#endRow;
    return { definition: this.#definition, sealed: [...this.#sealed], hot, firstRow, endRow: this.#endRow };
  }

  /** Bytes of the hot files' records: what they take, the room they keep ahead not counted. */
  get hotBytes(): number {
    return bytesWaiting(this.#full) + (this.#hot?.journal.sizeBytes ?? 0);
  }

  /** Calls `listener` once, after the next append (on a later turn) or when the series is closed. */
  onAppend(listener: () => void): () => void {
    this.#waiting.add(listener);
    return () => this.#waiting.delete(listener);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Everything durable, locks freed. Rows stay in the hot file, which the next writer continues. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#flushTimer.stop();
    this.#pace.hurry();
    try {
      await this.#sealing?.catch(() => {});
      for (const { journal } of this.#full) await journal.close();
      await this.#hot?.journal.close();
      for (const wake of this.#waiting) wake();
    } finally {
      this.#place.lock.close();
    }
  }

  /** Whether rows may go on into a hot file found at opening. */
  #continues(segment: HotSegment): boolean {
    const { schema, windowKeys, segmentRows } = this.#definition;
    const { description, rows } = segment;
    const full = windowKeys === undefined && rows.rows >= segmentRows;
    return sameSchema(description.schema, schema) && description.windowKeys === windowKeys && !full;
  }

  /** The key up to which rows have left the sorting window. */
  #released(): bigint | undefined {
    if (this.#hot !== undefined && this.#hot.segment.rows.rows > 0) return this.#hot.segment.rows.key!.max;
    return this.#full.at(-1)?.segment.rows.key?.max ?? this.#sealed.at(-1)?.summary.key?.max;
  }

  #appendOneByOne(batch: BatchInput, rows: number): number {
    const before = this.#endRow + (this.#hot?.segment.window?.rows ?? 0);
    for (let row = 0; row < rows; row++) this.append(rowOfBatch(this.#definition.schema, batch, row));
    return this.#endRow + (this.#hot?.segment.window?.rows ?? 0) - before;
  }

  /** Writes what the encoder holds up to `end` and makes it visible. */
  #write(end: number, rows: number): void {
    const hot = this.#room();
    const { bytes, view } = this.#encoder;
    hot.journal.append(bytes, view, end, rows);
    hot.segment.add(bytes, view, JOURNAL_RECORD_BYTES, rows);
    this.#endRow = hot.segment.endRow;
    this.#snapshot = undefined;
    if (this.#expectsSeal || hot.segment.rows.rows * 2 < this.#definition.segmentRows) return;
    this.#expectsSeal = true;
    this.#place.pool.prepare();
  }

  /** The hot segment, with room for a row. */
  #room(): Hot {
    const { segmentRows, schema, windowKeys } = this.#definition;
    if (this.#hot !== undefined) {
      const { segment, journal } = this.#hot;
      if (segment.rows.rows < segmentRows && journal.sizeBytes < SERIES_HOT_BYTES_MAX) return this.#hot;
      requireSealsKeepUp(this.#definition.name, this.#full);
      this.#roll(this.#hot);
    }
    if (this.#hot !== undefined) return this.#hot;
    this.#hot = this.#begin(new HotSegment(this.#endRow, { schema, windowKeys }), []);
    return this.#hot;
  }

  #begin(segment: HotSegment, carried: Uint8Array[]): Hot {
    const { disk, directory, storeId } = this.#place;
    const header = { storeId, firstRow: segment.firstRow, description: segment.description };
    const place = { directory, name: hotFileName(segment.firstRow) };
    const journal = JournalWriter.create(disk, place, header, { carried, fast: this.#fast });
    for (const payload of carried) {
      const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
      segment.add(payload, view, 0, 1);
    }
    return { segment, journal };
  }

  /** Lets the rows go that wait to be sorted. */
  #drain(hot: Hot): void {
    if (hot.segment.window === undefined || hot.segment.window.rows === 0) return;
    const drain = new Uint8Array(JOURNAL_RECORD_BYTES);
    const view = new DataView(drain.buffer);
    hot.journal.append(drain, view, JOURNAL_RECORD_BYTES, 0, RECORD_KINDS.drain);
    hot.segment.apply({ kind: RECORD_KINDS.drain, bytes: drain, view, at: JOURNAL_RECORD_BYTES, rows: 0 });
    this.#endRow = hot.segment.endRow;
    this.#snapshot = undefined;
  }

  /** Ends the hot segment; rows still in its sorting window go into the next one. */
  #roll(hot: Hot): void {
    const { schema, windowKeys } = this.#definition;
    const carried = hot.segment.window?.takeAll() ?? [];
    const next =
      carried.length > 0
        ? this.#begin(new HotSegment(hot.segment.endRow, { schema, windowKeys }), carried)
        : undefined;
    const { rows } = hot.segment.rows;
    if (rows > 0) {
      this.#fast = hot.journal.mapped;
      hot.journal.fill();
      this.#full.push({ ...hot, rows });
    } else {
      // Nothing in it: the next file may even take its name.
      this.#place.disk.remove(hot.journal.path);
      void hot.journal.release();
    }
    this.#hot = next;
    this.#snapshot = undefined;
    this.#sealInBackground();
  }

  #sealInBackground(): void {
    this.#pace.filled(this.#full.length);
    if (this.#sealing !== undefined || this.#full.length === 0) return;
    this.#sealing = this.#sealAll().finally(() => {
      this.#sealing = undefined;
    });
    // Whoever waits (`settled`, `seal`) gets the error; nobody may be waiting.
    this.#sealing.catch((error: unknown) => this.#options.onError(error));
  }

  async #sealAll(): Promise<void> {
    for (let hot = this.#full[0]; hot !== undefined && !this.#closed; hot = this.#full[0]) {
      const { disk, directory, storeId, pool } = this.#place;
      const { firstRow } = hot.segment;
      const { rows } = hot;
      await this.#pace.turn(this.#full.length);
      if (this.#closed) return;
      // Rows carried out of its window must be durable where they are now before this file goes.
      const next = this.#full[1] ?? this.#hot;
      if (hot.segment.window !== undefined) await next?.journal.sync();
      const { profile } = this.#options;
      const { derive } = this.#definition;
      const request: SealRequest = { directory, storeId, firstRow, rows, profile, ...(derive && { derive }) };
      const sent = pool.inline ? { ...request, disk } : request;
      const { sizeBytes } = await pool.run<SealResult>(sealJob, sent);
      this.#pace.charge(sizeBytes);
      const name = { name: segmentFileName(firstRow, rows), kind: "sealed" as const, firstRow, rows };
      this.#sealed.push(readSealed(disk, directory, name, storeId));
      this.#full.shift();
      this.#snapshot = undefined;
      await hot.journal.release();
      this.#evict();
    }
  }

  #evict(): void {
    const pinned = Math.min(Number.POSITIVE_INFINITY, ...[...this.#pins].map(({ row }) => row));
    const count = evictable(this.#definition, this.#sealed, this.#admission.newest, pinned);
    for (const { path } of this.#sealed.splice(0, count)) this.#place.disk.remove(path);
    if (count > 0) this.#snapshot = undefined;
  }

  #noteAppended(): void {
    if (this.#options.flushIntervalMs === 0) {
      for (const { journal } of this.#full) journal.syncSync();
      this.#hot?.journal.syncSync();
    } else this.#flushTimer.appended();
    if (this.#waiting.size > 0) this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    setImmediate(() => {
      for (const listener of waiting) listener();
    });
  }

  /** Syncs the files in order: rows are never durable before those that came earlier. */
  async #sync(): Promise<void> {
    for (const { journal } of [...this.#full]) await journal.sync();
    await this.#hot?.journal.sync();
  }

  #requireOpen(): void {
    if (this.#closed) {
      throw new StoreError("ERR_CLOSED", `series "${this.#definition.name}" is closed`, {
        context: { series: this.#definition.name },
      });
    }
  }
}
