import type { Change, LogRecord } from "./change.ts";
import type { HistoryBlockWriter } from "./history-writer.ts";
import { type RecordPlace, readRecord } from "./record-reader.ts";
import type { State } from "./state.ts";
import type { Entry, Slot } from "./table.ts";

const ARENA_BYTES = 1 << 20;
/** Sealed records are cut off the front of the columns once there are so many, and as many as are left. */
const CUT_MIN = 1024;

/**
 * Durable records until history has sealed them, committed or replayed: where their payloads lie in a few large
 * buffers, and what each change replaced. As objects, forty thousand of them would cost an opening more in garbage
 * collection than everything else together, and every commit the moving of what it keeps.
 */
export class RecentRecords {
  readonly #state: State;
  #arena: Buffer = Buffer.alloc(0);
  #arenaUsed = 0;
  /** Columns, one element a record; those before `#first` are sealed. */
  #buffers: (Buffer | undefined)[] = [];
  #offsets: number[] = [];
  #ends: number[] = [];
  #timesUs: number[] = [];
  /** What the changes of all records replaced, one after the other, and where each record's begin. */
  #befores: (Entry | bigint | readonly Slot[] | undefined)[] = [];
  #firstBefore: number[] = [];
  /** How many elements of `#befores` have been cut off: what `#firstBefore` counts from. */
  #beforesCut = 0;
  /** Beside them what puts wrote. */
  #afters: (Entry | undefined)[] = [];
  #first = 0;
  /** LSN of the record at `#first`; the others follow without a gap. */
  #firstLsn = 0;

  constructor(state: State) {
    this.#state = state;
  }

  get count(): number {
    return this.#offsets.length - this.#first;
  }

  /** Copies a payload to where it stays. */
  place(payload: Uint8Array, lsn: number, timeUs: number): RecordPlace {
    const sizeBytes = payload.byteLength;
    if (this.#arena.byteLength - this.#arenaUsed < sizeBytes) {
      this.#arena = Buffer.allocUnsafeSlow(Math.max(ARENA_BYTES, sizeBytes));
      this.#arenaUsed = 0;
    }
    const offset = this.#arenaUsed;
    this.#arena.set(payload, offset);
    this.#arenaUsed += sizeBytes;
    return { buffer: this.#arena, offset, end: offset + sizeBytes, lsn, timeUs };
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

  /** The same with what each of its changes replaced, where nothing else is known of them. */
  addReplaced(place: RecordPlace, replaced: readonly Entry[]): void {
    this.#add(place);
    for (let i = 0; i < replaced.length; i++) {
      this.#befores.push(replaced[i]);
      this.#afters.push(undefined);
    }
  }

  #add(place: RecordPlace): void {
    if (this.count === 0) this.#firstLsn = place.lsn;
    this.#buffers.push(place.buffer);
    this.#offsets.push(place.offset);
    this.#ends.push(place.end);
    this.#timesUs.push(place.timeUs);
    this.#firstBefore.push(this.#beforesCut + this.#befores.length);
  }

  /**
   * Adds a record to a block of the history. Values it wrote that nobody has replaced take their bytes with them:
   * what it lies in can go.
   */
  seal(index: number, block: HistoryBlockWriter): void {
    const at = this.#first + index;
    const from = this.#beforeOf(at);
    if (!block.addPlain(this.#placeOf(index), this.#state, this.#befores, from))
      block.add(this.record(index));
    const to = this.#beforeOf(at + 1);
    for (let change = from; change < to; change++) {
      const after = this.#afters[change];
      if (after?.current) this.#state.values.keep(after);
    }
  }

  #placeOf(index: number): RecordPlace {
    const at = this.#first + index;
    return {
      buffer: this.#buffers[at]!,
      offset: this.#offsets[at]!,
      end: this.#ends[at]!,
      lsn: this.lsnOf(index),
      timeUs: this.#timesUs[at]!,
    };
  }

  /** A record as it was when it had been applied; 0 is the oldest. */
  record(index: number): LogRecord {
    const record = readRecord(this.#placeOf(index), this.#state);
    let beforeAt = this.#beforeOf(this.#first + index);
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
    copy.#buffers = this.#buffers.slice();
    copy.#offsets = this.#offsets.slice();
    copy.#ends = this.#ends.slice();
    copy.#timesUs = this.#timesUs.slice();
    copy.#befores = this.#befores.slice();
    copy.#afters = this.#afters.slice();
    copy.#firstBefore = this.#firstBefore.slice();
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
    if (first < this.#offsets.length && (first < CUT_MIN || first * 2 < this.#offsets.length)) return;
    this.#buffers = this.#buffers.slice(first);
    this.#offsets = this.#offsets.slice(first);
    this.#ends = this.#ends.slice(first);
    this.#timesUs = this.#timesUs.slice(first);
    this.#firstBefore = this.#firstBefore.slice(first);
    this.#befores = this.#befores.slice(before);
    this.#afters = this.#afters.slice(before);
    this.#beforesCut += before;
    this.#first = 0;
  }

  /** Where in `#befores` a record's begin; of the place behind the last one, their end. */
  #beforeOf(at: number): number {
    return (this.#firstBefore[at] ?? this.#beforesCut + this.#befores.length) - this.#beforesCut;
  }
}
