import type { Change, LogRecord } from "./change.ts";
import type { ReplacedRows } from "./cold-rows.ts";
import type { Entry } from "./entry.ts";
import type { HistoryBlockWriter } from "./history-writer.ts";
import { type RecordPlace, readRecord } from "./record-reader.ts";
import type { Slot } from "./slot.ts";
import type { State } from "./state.ts";

/** Sealed records are cut off the front of the columns once there are so many, and as many as are left. */
const CUT_MIN = 1024;

const ROWS_INITIAL = 1024;
/** The numbers of one record. */
const OFFSET = 0;
const END = 1;
const TIME_US = 2;
/** Where in the list of what was replaced its changes begin. */
const FIRST_BEFORE = 3;
const COLUMNS = 4;

/** In the place of what a replayed change replaced, until someone asks: the changes count from the first replayed. */
const REPLAYED = Symbol("replayed");

/** Records replayed all at once. */
export interface ReplayedRecords {
  firstLsn: number;
  count: number;
  /** All of them lie in it. */
  buffer: Buffer;
  /** Of each: where it begins and ends, its time, and the number of its first change. */
  columns: Float64Array;
  /** What each change replaced, by its number. */
  replaced: ReplacedRows<readonly Slot[]>;
}

/**
 * Durable records until history has sealed them, committed or replayed: where their payloads lie in a few large
 * buffers, and what each change replaced. As objects, forty thousand of them would cost an opening more in garbage
 * collection than everything else together, and every commit the moving of what it keeps.
 */
export class RecentRecords {
  readonly #state: State;
  /** Where each record lies, those before `#first` being sealed, and `COLUMNS` numbers for each. */
  #buffers: (Buffer | undefined)[] = [];
  #columns: Float64Array = new Float64Array(ROWS_INITIAL * COLUMNS);
  /** What the changes of all records replaced, one after the other. */
  #befores: (Entry | bigint | typeof REPLAYED | readonly Slot[] | undefined)[] = [];
  /** How many elements of `#befores` have been cut off: what `FIRST_BEFORE` counts from. */
  #beforesCut = 0;
  /** Beside them what puts wrote. */
  #afters: (Entry | undefined)[] = [];
  /** What replayed records replaced. */
  #replaced: ReplacedRows<readonly Slot[]> | undefined;
  #first = 0;
  /** LSN of the record at `#first`; the others follow without a gap. */
  #firstLsn = 0;

  constructor(state: State) {
    this.#state = state;
  }

  get count(): number {
    return this.#buffers.length - this.#first;
  }

  /** Takes an applied record; its bytes must not change any more. */
  add(place: RecordPlace, changes: readonly Change[]): void {
    this.#add(place);
    for (let i = 0; i < changes.length; i++) {
      const change = changes[i]!;
      if (change.kind === "clear") this.#befores.push(change.cleared);
      else if (change.kind === "fence") this.#befores.push(undefined);
      else this.#befores.push(change.before);
      this.#afters.push(change.kind === "put" ? change.after : undefined);
    }
  }

  /** Takes replayed records before any other. */
  addReplayed({ firstLsn, count, buffer, columns, replaced }: ReplayedRecords): void {
    if (count === 0) return;
    this.#firstLsn = firstLsn;
    this.#buffers = new Array<Buffer | undefined>(count).fill(buffer);
    this.#columns = columns;
    this.#befores = new Array<typeof REPLAYED>(replaced.count).fill(REPLAYED);
    this.#afters = new Array<Entry | undefined>(replaced.count).fill(undefined);
    this.#replaced = replaced;
  }

  #add(place: RecordPlace): void {
    if (this.count === 0) this.#firstLsn = place.lsn;
    const at = this.#buffers.length * COLUMNS;
    if (at === this.#columns.length) this.#grow();
    const columns = this.#columns;
    columns[at + OFFSET] = place.offset;
    columns[at + END] = place.end;
    columns[at + TIME_US] = place.timeUs;
    columns[at + FIRST_BEFORE] = this.#beforesCut + this.#befores.length;
    this.#buffers.push(place.buffer);
  }

  #grow(): void {
    const grown = new Float64Array(this.#columns.length * 2);
    grown.set(this.#columns);
    this.#columns = grown;
  }

  /**
   * Adds a record to a block of the history. Values it wrote that nobody has replaced take their bytes with them:
   * what it lies in can go.
   */
  seal(index: number, block: HistoryBlockWriter): void {
    const at = this.#first + index;
    const from = this.#beforeOf(at);
    this.#makeEntries(from, this.#beforeOf(at + 1));
    if (!block.addPlain(this.#placeOf(index), this.#state, this.#befores, from))
      block.add(this.record(index));
    const to = this.#beforeOf(at + 1);
    for (let change = from; change < to; change++) {
      const after = this.#afters[change];
      if (after?.current) this.#state.values.keep(after);
    }
  }

  /** Makes entries of what so far are numbers in `#replaced`. */
  #makeEntries(from: number, to: number): void {
    for (let at = from; at < to; at++) {
      const before = this.#befores[at];
      if (before === REPLAYED) this.#befores[at] = this.#replaced!.before(this.#beforesCut + at);
    }
  }

  #placeOf(index: number): RecordPlace {
    const row = this.#first + index;
    const at = row * COLUMNS;
    return {
      buffer: this.#buffers[row]!,
      offset: this.#columns[at + OFFSET]!,
      end: this.#columns[at + END]!,
      lsn: this.lsnOf(index),
      timeUs: this.#columns[at + TIME_US]!,
    };
  }

  /** A record as it was when it had been applied; 0 is the oldest. */
  record(index: number): LogRecord {
    const record = readRecord(this.#placeOf(index), this.#state);
    let beforeAt = this.#beforeOf(this.#first + index);
    this.#makeEntries(beforeAt, this.#beforeOf(this.#first + index + 1));
    for (const change of record.changes) {
      const before = this.#befores[beforeAt++];
      if (change.kind === "clear") change.cleared = before as readonly Slot[];
      else if (change.kind === "sequence") change.before = before as bigint;
      else if (change.kind !== "fence") change.before = before as Entry | undefined;
    }
    return record;
  }

  lsnOf(index: number): number {
    return this.#firstLsn + index;
  }

  /** The same records; what happens to these does not touch it. */
  copy(): RecentRecords {
    const copy = new RecentRecords(this.#state);
    copy.#replaced = this.#replaced;
    copy.#buffers = this.#buffers.slice();
    copy.#columns = this.#columns.slice();
    copy.#befores = this.#befores.slice();
    copy.#afters = this.#afters.slice();
    copy.#beforesCut = this.#beforesCut;
    copy.#first = this.#first;
    copy.#firstLsn = this.#firstLsn;
    return copy;
  }

  /** Forgets the oldest records. */
  drop(count: number): void {
    const first = this.#first + count;
    const before = this.#beforeOf(first);
    // What they held must be free to go at once, not only when the columns are cut.
    this.#buffers.fill(undefined, this.#first, first);
    this.#befores.fill(undefined, this.#beforeOf(this.#first), before);
    this.#afters.fill(undefined, this.#beforeOf(this.#first), before);
    this.#first = first;
    this.#firstLsn += count;
    if (this.count === 0) this.#replaced = undefined;
    const { length } = this.#buffers;
    if (first < length && (first < CUT_MIN || first * 2 < length)) return;
    this.#buffers = this.#buffers.slice(first);
    this.#columns.copyWithin(0, first * COLUMNS, length * COLUMNS);
    this.#befores = this.#befores.slice(before);
    this.#afters = this.#afters.slice(before);
    this.#beforesCut += before;
    this.#first = 0;
  }

  /** Where in `#befores` a record's begin; of the place behind the last one, their end. */
  #beforeOf(at: number): number {
    if (at >= this.#buffers.length) return this.#befores.length;
    return this.#columns[at * COLUMNS + FIRST_BEFORE]! - this.#beforesCut;
  }
}
