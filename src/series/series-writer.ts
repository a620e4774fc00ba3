import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { SERIES_HOT_BYTES_MAX, SERIES_RECORD_ROWS_MAX, SERIES_SEALS_WAITING_MAX } from "../limits.ts";
import type { WorkerPool } from "../workers/pool.ts";
import { valueAt } from "./column-slice.ts";
import { Duplicates } from "./duplicates.ts";
import { HotSegment } from "./hot-segment.ts";
import { JOURNAL_RECORD_BYTES, RECORD_KINDS } from "./journal-format.ts";
import { JournalWriter } from "./journal-writer.ts";
import { comparePairs, pairToBigInt } from "./key-value.ts";
import { recoverSeries } from "./recover-series.ts";
import { type BatchInput, batchRows, RowEncoder, type RowInput } from "./row-encoder.ts";
import { columnIndex, type Schema, sameSchema } from "./schema.ts";
import { type SealRequest, type SealResult, sealJob } from "./seal.job.ts";
import { hotFileName, segmentFileName } from "./segment-format.ts";
import { readSealed, type SealedSegment, type Snapshot } from "./segment-list.ts";
import type { SeriesDefinition } from "./series-file.ts";
import { tooLate } from "./sort-window.ts";

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
}

interface Hot {
  segment: HotSegment;
  journal: JournalWriter;
}

/** Looks at the clock on every so many appends, for a caller who never lets the event loop turn. */
const CLOCK_EVERY_APPENDS = 64;

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
  readonly #duplicates: Duplicates | undefined;
  readonly #sealed: SealedSegment[];
  /** Full segments that wait to be sealed, oldest first. */
  readonly #full: (Hot & { rows: number })[] = [];
  readonly #pins = new Set<{ row: number }>();
  readonly #waiting = new Set<() => void>();
  #hot: Hot | undefined;
  #snapshot: Snapshot | undefined;
  #endRow: number;
  #hasKey = false;
  #newestHi = 0;
  #newestLo = 0;
  #flushTimer: NodeJS.Timeout | undefined;
  #flushDueMs = Number.POSITIVE_INFINITY;
  #appends = 0;
  #sealing: Promise<void> | undefined;
  #closed = false;

  private constructor(place: WriterPlace, definition: SeriesDefinition, options: WriterOptions) {
    this.#place = place;
    this.#definition = definition;
    this.#options = options;
    this.#encoder = new RowEncoder(definition.schema);
    this.#duplicates = definition.duplicates === "keep" ? undefined : new Duplicates();
    const { disk, directory, storeId } = place;
    const found = recoverSeries(disk, directory, storeId, definition.gaps);
    this.#sealed = found.sealed;
    this.#endRow = found.endRow;
    for (const [index, { segment, ordinal, position, rows }] of found.hot.entries()) {
      const name = hotFileName(segment.firstRow);
      const journal = JournalWriter.resume(disk, { directory, name }, { end: position, rows: ordinal });
      const last = index === found.hot.length - 1;
      if (last && this.#continues(segment)) this.#hot = { segment, journal };
      else this.#full.push({ segment, journal, rows });
    }
    for (const { summary } of found.sealed) if (summary.key !== undefined) this.#noteKey(summary.key.max);
    for (const { segment } of found.hot) if (segment.rows.rows > 0) this.#noteKey(segment.rows.key?.max);
  }

  /** Recovers the series and continues it. @throws ERR_STORE_CORRUPT naming file and offset */
  static open(place: WriterPlace, definition: SeriesDefinition, options: WriterOptions): SeriesWriter {
    const writer = new SeriesWriter(place, definition, options);
    if (writer.#full.length > 0 || writer.#hot !== undefined) writer.#scheduleFlush();
    writer.#sealInBackground();
    return writer;
  }

  get definition(): SeriesDefinition {
    return this.#definition;
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
    if (!this.#admit(end)) return undefined;
    try {
      this.#write(end, 1);
    } catch (error) {
      this.#duplicates?.forget(this.#encoder.bytes.subarray(JOURNAL_RECORD_BYTES, end));
      throw error;
    }
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
    const rows = batchRows(schema, batch);
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
    if (this.#definition.order === "sort" || this.#duplicates !== undefined)
      return this.#appendOneByOne(batch, rows);
    const whole = this.#checkBatch(batch, rows);
    for (let from = 0; from < rows; ) {
      const used = this.#hot?.segment.rows.rows ?? 0;
      const room = used < segmentRows ? segmentRows - used : segmentRows;
      const to = Math.min(rows, from + Math.min(SERIES_RECORD_ROWS_MAX, room));
      const ready = whole !== undefined && to - from === rows;
      this.#write(ready ? whole : this.#encoder.encodeBatch(batch, from, to), to - from);
      from = to;
    }
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
    if (hot?.segment.window !== undefined && hot.segment.window.rows > 0) {
      const drain = new Uint8Array(JOURNAL_RECORD_BYTES);
      const view = new DataView(drain.buffer);
      hot.journal.append(drain, view, JOURNAL_RECORD_BYTES, 0, RECORD_KINDS.drain);
      hot.segment.apply({ kind: RECORD_KINDS.drain, bytes: drain, view, at: JOURNAL_RECORD_BYTES, rows: 0 });
      this.#endRow = hot.segment.endRow;
      this.#snapshot = undefined;
    }
    if (hot !== undefined && hot.segment.rows.rows > 0) this.#roll(hot);
    await this.settled();
  }

  /** Waits until no full segment waits to be sealed. @throws what kept one from being sealed */
  async settled(): Promise<void> {
    while (this.#full.length > 0) {
      this.#sealInBackground();
      await this.#sealing;
    }
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
    const full = this.#full.reduce((sum, { journal }) => sum + journal.sizeBytes, 0);
    return full + (this.#hot?.journal.sizeBytes ?? 0);
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
    clearTimeout(this.#flushTimer);
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
    return (
      sameSchema(description.schema, schema) &&
      description.windowKeys === windowKeys &&
      rows.rows < segmentRows
    );
  }

  #noteKey(key: bigint | undefined): void {
    if (key === undefined) return;
    const [hi, lo] = [Number(key >> 32n), Number(BigInt.asUintN(32, key))];
    if (this.#hasKey && comparePairs(hi, lo, this.#newestHi, this.#newestLo) <= 0) return;
    this.#hasKey = true;
    this.#newestHi = hi;
    this.#newestLo = lo;
  }

  /** Whether the encoded row is to be appended. @throws ERR_CONFLICT where the policies refuse it */
  #admit(end: number): boolean {
    if (this.#definition.schema.key === undefined) return true;
    const { keyHi, keyLo, bytes } = this.#encoder;
    const order = this.#hasKey ? comparePairs(keyHi, keyLo, this.#newestHi, this.#newestLo) : 1;
    if (order < 0 && this.#definition.order === "reject") throw this.#outOfOrder(pairToBigInt(keyHi, keyLo));
    if (order < 0 && this.#definition.order === "sort") this.#requireInWindow(pairToBigInt(keyHi, keyLo));
    const payload = bytes.subarray(JOURNAL_RECORD_BYTES, end);
    if (this.#duplicates?.seen(keyHi, keyLo, payload)) {
      if (this.#definition.duplicates === "drop") return false;
      throw new StoreError("ERR_CONFLICT", `series "${this.#definition.name}": the row came before`, {
        context: { series: this.#definition.name, key: pairToBigInt(keyHi, keyLo) },
        hint: 'Open the series with duplicates "drop" to skip such rows, or "keep" to keep them.',
      });
    }
    if (order > 0) {
      this.#hasKey = true;
      this.#newestHi = keyHi;
      this.#newestLo = keyLo;
    }
    return true;
  }

  #requireInWindow(key: bigint): void {
    const released = this.#hot?.segment.rows.rows ? this.#hot.segment.rows.key!.max : this.#sealedMax();
    if (released !== undefined && key < released) {
      throw tooLate(key, `rows up to ${released} have left the sorting window`);
    }
  }

  #sealedMax(): bigint | undefined {
    return this.#full.at(-1)?.segment.rows.key?.max ?? this.#sealed.at(-1)?.summary.key?.max;
  }

  #outOfOrder(key: bigint, at?: { newest: bigint; row: number }): StoreError {
    const newest = at?.newest ?? pairToBigInt(this.#newestHi, this.#newestLo);
    const { name } = this.#definition;
    const where = at === undefined ? "" : `, row ${at.row + 1} of the batch`;
    return new StoreError(
      "ERR_CONFLICT",
      `series "${name}"${where}: the key ${key} is older than ${newest}, the newest`,
      {
        context: { series: name, key, newest, row: at?.row },
        hint: "Open the series with order `allow`, or `{ sortWithinMs }` for rows that come a little late.",
      },
    );
  }

  /**
   * Encodes a batch part by part, and with it checks every value and key: nothing is appended of a batch that has a
   * wrong one. Returns where the payload of a batch of one part ends, which need not be encoded again.
   */
  #checkBatch(batch: BatchInput, rows: number): number | undefined {
    const { schema, order } = this.#definition;
    const encoder = this.#encoder;
    let [hi, lo, has] = [this.#newestHi, this.#newestLo, this.#hasKey];
    let end: number | undefined;
    for (let from = 0; from < rows; from += SERIES_RECORD_ROWS_MAX) {
      const to = Math.min(rows, from + SERIES_RECORD_ROWS_MAX);
      end = encoder.encodeBatch(batch, from, to);
      if (schema.key === undefined) continue;
      const { view, keysAt } = encoder;
      for (let at = keysAt; at < keysAt + 8 * (to - from); at += 8) {
        const nextLo = view.getUint32(at, true);
        const nextHi = view.getInt32(at + 4, true);
        const compared = has ? comparePairs(nextHi, nextLo, hi, lo) : 1;
        if (compared < 0 && order === "reject") {
          const row = from + (at - keysAt) / 8;
          throw this.#outOfOrder(pairToBigInt(nextHi, nextLo), { newest: pairToBigInt(hi, lo), row });
        }
        if (compared < 0) continue;
        hi = nextHi;
        lo = nextLo;
        has = true;
      }
    }
    if (has) this.#noteKey(pairToBigInt(hi, lo));
    return rows <= SERIES_RECORD_ROWS_MAX ? end : undefined;
  }

  #appendOneByOne(batch: BatchInput, rows: number): number {
    const names = this.#definition.schema.columns.map(({ name }) => name);
    const before = this.#endRow + (this.#hot?.segment.window?.rows ?? 0);
    for (let row = 0; row < rows; row++) {
      this.append(
        Object.fromEntries(names.map((name) => [name, cellOf(this.#definition.schema, batch, name, row)])),
      );
    }
    return this.#endRow + (this.#hot?.segment.window?.rows ?? 0) - before;
  }

  /** Writes what the encoder holds up to `end` and makes it visible. */
  #write(end: number, rows: number): void {
    const hot = this.#room();
    const { bytes, view } = this.#encoder;
    hot.journal.append(bytes, view, end, rows);
    hot.segment.apply({ kind: RECORD_KINDS.rows, bytes, view, at: JOURNAL_RECORD_BYTES, rows });
    this.#endRow = hot.segment.endRow;
    this.#snapshot = undefined;
  }

  /** The hot segment, with room for a row. */
  #room(): Hot {
    const { segmentRows, schema, windowKeys } = this.#definition;
    if (this.#hot !== undefined) {
      const { segment, journal } = this.#hot;
      if (segment.rows.rows < segmentRows && journal.sizeBytes < SERIES_HOT_BYTES_MAX) return this.#hot;
      if (this.#full.length >= SERIES_SEALS_WAITING_MAX) throw this.#sealingBehind();
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
    const journal = JournalWriter.create(disk, place, header, carried);
    for (const payload of carried) {
      const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
      segment.apply({ kind: RECORD_KINDS.rows, bytes: payload, view, at: 0, rows: 1 });
    }
    return { segment, journal };
  }

  /** Ends the hot segment; rows still in its sorting window go into the next one. */
  #roll(hot: Hot): void {
    const { schema, windowKeys } = this.#definition;
    const carried = hot.segment.window?.takeAll() ?? [];
    const next =
      carried.length > 0
        ? this.#begin(new HotSegment(hot.segment.endRow, { schema, windowKeys }), carried)
        : undefined;
    this.#full.push({ ...hot, rows: hot.segment.rows.rows });
    this.#hot = next;
    this.#snapshot = undefined;
    this.#sealInBackground();
  }

  #sealInBackground(): void {
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
      // Rows carried out of its window must be durable where they are now before this file goes.
      const next = this.#full[1] ?? this.#hot;
      if (hot.segment.window !== undefined) await next?.journal.sync();
      if (rows > 0) {
        const request: SealRequest = { directory, storeId, firstRow, rows, profile: this.#options.profile };
        await pool.run<SealResult>(sealJob, pool.inline ? { ...request, disk } : request);
        const name = { name: segmentFileName(firstRow, rows), kind: "sealed" as const, firstRow, rows };
        this.#sealed.push(readSealed(disk, directory, name, storeId));
      } else disk.remove(`${directory}/${hotFileName(firstRow)}`);
      this.#full.shift();
      this.#snapshot = undefined;
      await hot.journal.release();
      this.#evict();
    }
  }

  /** Removes the oldest sealed segments that the ring has no room for. */
  #evict(): void {
    const { segments, bytes, ns } = this.#definition.retention;
    let stored = this.#sealed.reduce((sum, { summary }) => sum + summary.sizeBytes, 0);
    const pinned = Math.min(Number.POSITIVE_INFINITY, ...[...this.#pins].map(({ row }) => row));
    for (let oldest = this.#sealed[0]; oldest !== undefined; oldest = this.#sealed[0]) {
      const tooMany = segments !== undefined && this.#sealed.length > segments;
      const tooLarge = bytes !== undefined && stored > bytes && this.#sealed.length > 1;
      const tooOld = ns !== undefined && this.#hasKey && this.#isOlder(oldest, ns);
      if (!(tooMany || tooLarge || tooOld) || oldest.firstRow + oldest.rows > pinned) return;
      this.#place.disk.remove(oldest.path);
      stored -= oldest.summary.sizeBytes;
      this.#sealed.shift();
      this.#snapshot = undefined;
    }
  }

  #isOlder(segment: SealedSegment, ns: bigint): boolean {
    const { schema } = this.#definition;
    const type = schema.columns.find(({ name }) => name === schema.key)!.type;
    const unit = type === "ts_ns" ? 1n : type === "ts_us" ? 1_000n : 1_000_000n;
    const newest = pairToBigInt(this.#newestHi, this.#newestLo);
    return segment.summary.key !== undefined && newest - segment.summary.key.max > ns / unit;
  }

  #noteAppended(): void {
    if (this.#options.flushIntervalMs === 0) {
      for (const { journal } of this.#full) journal.syncSync();
      this.#hot?.journal.syncSync();
    } else this.#scheduleFlush();
    if (this.#waiting.size > 0) this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    setImmediate(() => {
      for (const listener of waiting) listener();
    });
  }

  #scheduleFlush(): void {
    if (this.#flushTimer !== undefined) {
      // A caller who never lets the timer fire is served from here: the sync itself runs on another thread.
      if (++this.#appends % CLOCK_EVERY_APPENDS === 0 && performance.now() > this.#flushDueMs)
        this.#flushNow();
      return;
    }
    const { flushIntervalMs } = this.#options;
    this.#flushDueMs = performance.now() + flushIntervalMs * 1.5;
    this.#flushTimer = setTimeout(() => this.#flushNow(), flushIntervalMs);
    this.#flushTimer.unref();
  }

  #flushNow(): void {
    clearTimeout(this.#flushTimer);
    this.#flushTimer = undefined;
    this.#flushDueMs = Number.POSITIVE_INFINITY;
    this.#sync().catch((error: unknown) => this.#options.onError(error));
  }

  /** Syncs the files in order: rows are never durable before those that came earlier. */
  async #sync(): Promise<void> {
    for (const { journal } of [...this.#full]) await journal.sync();
    await this.#hot?.journal.sync();
  }

  #sealingBehind(): StoreError {
    const { name } = this.#definition;
    return new StoreError(
      "ERR_LIMIT",
      `series "${name}": ${SERIES_SEALS_WAITING_MAX} full segments wait to be sealed`,
      {
        context: { series: name, limit: SERIES_SEALS_WAITING_MAX },
        retryable: true,
        hint: "Await `settled()` between batches, so that sealing keeps up.",
      },
    );
  }

  #requireOpen(): void {
    if (this.#closed) {
      throw new StoreError("ERR_CLOSED", `series "${this.#definition.name}" is closed`, {
        context: { series: this.#definition.name },
      });
    }
  }
}

function cellOf(schema: Schema, batch: BatchInput, name: string, row: number): unknown {
  const input = batch[name];
  if (input === undefined) return null;
  if ("arrow" in input) {
    const column = schema.columns[columnIndex(schema, name)]!;
    return valueAt({ column, ...input.arrow }, row);
  }
  if ("hi" in input) return { hi: input.hi[row], lo: input.lo[row] };
  if (!("valid" in input)) return input[row];
  return input.valid[row] ? input.values[row] : null;
}
