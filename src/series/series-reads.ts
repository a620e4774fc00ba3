import type { RecordBatch, Table } from "apache-arrow";
import { StoreError } from "../errors.ts";
import { SERIES_GAPS_MAX } from "../limits.ts";
import { ArrowBatches, loadArrow } from "./arrow-batches.ts";
import { findAsOf } from "./as-of.ts";
import { type Value, valueAt } from "./column-slice.ts";
import { keyFromNs, keyToNs } from "./key-value.ts";
import { type Part, partsOf, type ReadCache, type Which } from "./parts.ts";
import { RangeRead, type RangeSource, readRuns } from "./range-read.ts";
import { Bars, barColumns, barSlices } from "./resample.ts";
import { type Column, requireColumn, type Schema, storageOf, unitNs } from "./schema.ts";
import { BLOCK_ROWS } from "./segment-format.ts";
import type { Snapshot } from "./segment-list.ts";

/** One row: its number, its event time where it has one, and its values by column. */
export interface SeriesRow {
  row: number;
  /** Event time in nanoseconds (a counter as it is); `undefined` for a series keyed by arrival. */
  tsNs: bigint | undefined;
  values: Record<string, Value>;
}

export interface RangeOptions {
  /** From this time on, in nanoseconds; with a counter as key, from this count on. Default: the first row. */
  fromNs?: bigint | undefined;
  /** Before this time. Default: the newest row. */
  toNs?: bigint | undefined;
  /** From this row number on, and before that one. */
  fromRow?: number | undefined;
  toRow?: number | undefined;
  /** Default: all, in the series' order. */
  columns?: readonly string[] | undefined;
  /** Which time `fromNs` and `toNs` are: when it happened (default) or when it was known. */
  by?: "event" | "known" | undefined;
}

export interface AsOfOptions {
  columns?: readonly string[] | undefined;
  by?: "event" | "known" | undefined;
  /** Only rows that were known at this time, in nanoseconds: what one could have seen then. */
  knownAtNs?: bigint | undefined;
}

export interface ResampleOptions {
  /** Length of a bar in nanoseconds; bars begin at multiples of it since the epoch. */
  everyNs: bigint;
  price: string;
  /** Summed up as volume. */
  size?: string | undefined;
  fromNs?: bigint | undefined;
  toNs?: bigint | undefined;
}

/** A place where a sequence did not go on by one. */
export interface SequenceGap {
  /** The row after the gap. */
  row: number;
  /** The last number before it, and the one that came. */
  before: bigint;
  after: bigint;
}

/** Questions to a snapshot of a series. */
export class SeriesReads {
  readonly #name: string;
  readonly #look: () => Snapshot;
  readonly #cache: () => Promise<ReadCache>;
  #parts: { snapshot: Snapshot; parts: Part[] } | undefined;

  constructor(name: string, look: () => Snapshot, cache: () => Promise<ReadCache>) {
    this.#name = name;
    this.#look = look;
    this.#cache = cache;
  }

  range(options: RangeOptions = {}): RangeRead {
    const snapshot = this.#look();
    return new RangeRead(() => this.#source(snapshot, options));
  }

  async last(count: number, columns?: readonly string[]): Promise<Table> {
    if (!Number.isInteger(count) || count < 0) throw invalid(`last takes a number of rows, not ${count}`);
    const snapshot = this.#look();
    const fromRow = Math.max(snapshot.firstRow, snapshot.endRow - count);
    return new RangeRead(() => this.#source(snapshot, { fromRow, columns })).table();
  }

  async first(columns?: readonly string[]): Promise<SeriesRow | undefined> {
    const snapshot = this.#look();
    const [part] = (await this.#partsOf(snapshot)).filter(({ rows }) => rows > 0);
    return part && this.#row(snapshot.definition.schema, part, 0, columns);
  }

  async asOf(tsNs: bigint, options: AsOfOptions = {}): Promise<SeriesRow | undefined> {
    const snapshot = this.#look();
    const { schema, order } = snapshot.definition;
    const which = whichOf(options.by);
    const column = this.#timeColumn(schema, which);
    const key = keyFromNs(column, tsNs, false);
    const knownColumn = options.knownAtNs === undefined ? undefined : this.#timeColumn(schema, "known");
    const known = knownColumn && {
      column: knownColumn,
      most: keyFromNs(knownColumn, options.knownAtNs!, false),
    };
    const ordered = which === "key" && order !== "allow" && known === undefined;
    const found = findAsOf(await this.#partsOf(snapshot), { which, column, key, known, ordered });
    return found && this.#row(schema, found.part, found.row, options.columns);
  }

  /** Resolves when reads have all they need but rows. */
  async load(): Promise<void> {
    await this.#cache();
  }

  /** The newest times of the newest sealed segments, newest first: of those that are in order and not large. */
  sealedTimesNs(most: { segments: number; sizeBytes: number }): bigint[] {
    const { sealed, definition } = this.#look();
    const name = definition.schema.key;
    if (name === undefined) return [];
    const key = requireColumn(definition.schema, name);
    return sealed
      .slice(-most.segments)
      .reverse()
      .filter(({ summary }) => summary.key?.sorted === true && summary.sizeBytes <= most.sizeBytes)
      .map(({ summary }) => keyToNs(key, summary.key!.max));
  }

  async resample({ everyNs, price, size, fromNs, toNs }: ResampleOptions): Promise<Table> {
    const snapshot = this.#look();
    const { schema } = snapshot.definition;
    const key = this.#timeColumn(schema, "key");
    const everyKeys = everyNs / (unitNs(key.type) ?? 1n);
    if (everyKeys < 1n) throw invalid(`a bar of ${everyNs} ns is shorter than a unit of the key`);
    const columns = [
      key,
      numberColumn(schema, price),
      ...(size === undefined ? [] : [numberColumn(schema, size)]),
    ];
    const source = await this.#source(snapshot, { fromNs, toNs, columns: columns.map(({ name }) => name) });
    const bars = new Bars(everyKeys);
    for (const { slices } of readRuns(source)) bars.add(slices[0]!, slices[1]!, slices[2]);
    const arrow = new ArrowBatches(await loadArrow(), barColumns(key));
    const sorted = bars.sorted();
    return arrow.table([arrow.batch(barSlices(barColumns(key), sorted), sorted.length)]);
  }

  /**
   * Where a column of sequence numbers does not go on by one.
   * @throws ERR_LIMIT after `SERIES_GAPS_MAX` of them: then the column is no sequence
   */
  async sequenceGaps(column: string, options: Omit<RangeOptions, "columns"> = {}): Promise<SequenceGap[]> {
    const snapshot = this.#look();
    numberColumn(snapshot.definition.schema, column);
    const source = await this.#source(snapshot, { ...options, columns: [column] });
    const gaps: SequenceGap[] = [];
    let before: bigint | undefined;
    for (const { firstRow, rows, slices } of readRuns(source)) {
      for (let row = 0; row < rows; row++) {
        const after = BigInt(slices[0]!.values[row]!);
        if (before !== undefined && after !== before + 1n) {
          if (gaps.length === SERIES_GAPS_MAX) {
            throw new StoreError("ERR_LIMIT", `column "${column}" has more than ${SERIES_GAPS_MAX} gaps`, {
              context: { column, limit: SERIES_GAPS_MAX },
              hint: "Ask for a shorter range, or for a column that counts.",
            });
          }
          gaps.push({ row: firstRow + row, before, after });
        }
        before = after;
      }
    }
    return gaps;
  }

  /** Batches of rows [fromRow, snapshot's end), for `tail`. */
  async *batches(snapshot: Snapshot, options: RangeOptions): AsyncGenerator<RecordBatch> {
    yield* new RangeRead(() => this.#source(snapshot, options));
  }

  async #source(snapshot: Snapshot, options: RangeOptions): Promise<RangeSource> {
    const { schema } = snapshot.definition;
    const { fromNs, toNs, fromRow = 0, toRow = snapshot.endRow, by } = options;
    const columns = options.columns?.map((name) => requireColumn(schema, name)) ?? schema.columns;
    if (columns.length === 0) throw invalid("name at least one column");
    const source = { parts: await this.#partsOf(snapshot), columns, fromRow, toRow };
    if (fromNs === undefined && toNs === undefined) return source;
    const which = whichOf(by);
    const column = this.#timeColumn(schema, which);
    const bound = (ns: bigint | undefined) => (ns === undefined ? undefined : keyFromNs(column, ns, true));
    return { ...source, keys: { column, which, range: { from: bound(fromNs), to: bound(toNs) } } };
  }

  async #partsOf(snapshot: Snapshot): Promise<Part[]> {
    if (this.#parts?.snapshot !== snapshot) {
      this.#parts = { snapshot, parts: partsOf(snapshot, await this.#cache()) };
    }
    return this.#parts.parts;
  }

  #row(schema: Schema, part: Part, row: number, names: readonly string[] | undefined): SeriesRow {
    const block = Math.floor(row / BLOCK_ROWS);
    const at = (column: Column) => valueAt(part.block(column, block), row % BLOCK_ROWS);
    const columns = names?.map((name) => requireColumn(schema, name)) ?? schema.columns;
    const key = schema.key === undefined ? undefined : requireColumn(schema, schema.key);
    part.prepare(columns, block);
    return {
      row: part.firstRow + row,
      tsNs: key && keyToNs(key, at(key) as bigint),
      values: Object.fromEntries(columns.map((column) => [column.name, at(column)])),
    };
  }

  #timeColumn(schema: Schema, which: Which): Column {
    const name = which === "key" ? schema.key : schema.knownKey;
    if (name !== undefined) return requireColumn(schema, name);
    const message =
      which === "key"
        ? `series "${this.#name}" is keyed by arrival and has no event time`
        : `series "${this.#name}" has no known time`;
    throw new StoreError("ERR_INVALID_ARGUMENT", message, {
      context: { series: this.#name },
      hint: which === "key" ? "Read it by row numbers: `fromRow` and `toRow`." : "Create it with `knownKey`.",
    });
  }
}

function whichOf(by: "event" | "known" | undefined): Which {
  return by === "known" ? "known" : "key";
}

function numberColumn(schema: Schema, name: string): Column {
  const column = requireColumn(schema, name);
  if (storageOf(column.type) !== undefined && column.listSize === 0) return column;
  throw invalid(`column "${name}" (${column.type}) holds no single numbers`);
}

function invalid(message: string): StoreError {
  return new StoreError("ERR_INVALID_ARGUMENT", message);
}
