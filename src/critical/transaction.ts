import { isStoreError, StoreError } from "../errors.ts";
import { checkKey, checkTime, counted } from "./arguments.ts";
import type { MapChange } from "./change.ts";
import { messagePack } from "./codec.ts";
import type { Draft } from "./draft.ts";
import type { Entry } from "./entry.ts";
import type { KeyRange } from "./key-range.ts";
import type { CriticalMap } from "./map.ts";
import type { Put, RecordWriter } from "./record-writer.ts";
import { checkNumber, type Fence, fencedError, SEQUENCE_MAX, type SequenceState } from "./sequence.ts";
import type { CriticalSequence } from "./sequence-handle.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";
import type { VersionedEntry } from "./versioned-entry.ts";
import { walkWritten } from "./written-range.ts";

export interface PutOptions {
  /** Microseconds since the Unix epoch from which on the entry is gone. */
  expiresAtUs?: bigint;
  /** Only if the entry's version is this one; 0n: only if there is no entry. Else `ERR_CONFLICT`. */
  ifVersion?: bigint;
}

export interface DeleteOptions {
  ifVersion?: bigint;
}

/**
 * What a commit's callback works on. It sees everything committed or queued before it, and its own writes; nobody
 * sees these until they are durable. Each change is encoded into the log record the moment it is made.
 *
 * It is valid during the callback only.
 */
export class Transaction {
  readonly #state: State;
  readonly #writer: RecordWriter;
  /** The record it makes; gone once the callback has ended. */
  #draft: Draft | undefined;

  /** @internal */
  constructor(state: State, writer: RecordWriter, draft: Draft) {
    this.#state = state;
    this.#writer = writer;
    this.#draft = draft;
  }

  /** @internal The LSN its record gets if it is written. */
  get lsn(): number {
    return this.#open().lsn;
  }

  /** The time of this transaction in microseconds; later than that of every commit before it. */
  get time(): bigint {
    return BigInt(this.#open().timeUs);
  }

  get<V>(map: CriticalMap<V>, key: string): V | undefined {
    const table = this.#table(map);
    const entry = this.#entry(table, key);
    return entry === undefined ? undefined : (table.decode(entry) as V);
  }

  has(map: CriticalMap<unknown>, key: string): boolean {
    return this.#entry(this.#table(map), key) !== undefined;
  }

  /** The version of a key's entry for `ifVersion`: 0n when there is none. */
  version(map: CriticalMap<unknown>, key: string): bigint {
    return BigInt(this.#entry(this.#table(map), key)?.lsn ?? 0);
  }

  put<V>(map: CriticalMap<V>, key: string, value: V, options?: PutOptions): void {
    const table = this.#table(map);
    checkKey(key);
    let expiresAtUs = 0;
    if (options !== undefined) {
      if (options.ifVersion !== undefined) this.#checkVersion(table, key, options.ifVersion);
      if (options.expiresAtUs !== undefined) expiresAtUs = checkTime(options.expiresAtUs);
    }
    this.#put(table, key, value, expiresAtUs);
  }

  /** Removes a key; `false` when there was none. */
  delete(map: CriticalMap<unknown>, key: string, options?: DeleteOptions): boolean {
    const table = this.#table(map);
    checkKey(key);
    if (options?.ifVersion !== undefined) this.#checkVersion(table, key, options.ifVersion);
    if (table.visible(key) === undefined) return false;
    const was = this.#entry(table, key) !== undefined;
    const draft = this.#begin();
    this.#writer.delete(table.id, key);
    this.#hide(table, key);
    draft.halfway = false;
    return was;
  }

  /** Removes every key of a map. */
  clear(map: CriticalMap<unknown>): void {
    const table = this.#table(map);
    if (table.id === 0) return;
    const draft = this.#begin();
    this.#writer.clear(table.id);
    const hiding: MapChange[] = [];
    const durable = table.order.leaves().flat();
    for (const key of [...table.overlay.keys(), ...durable.map((slot) => slot.key)]) {
      if (table.visible(key) !== undefined) hiding.push(this.#cover(table, key));
    }
    draft.add({ kind: "clear", table, hiding, cleared: [] });
    draft.halfway = false;
  }

  /**
   * Adds to a counter and returns what it is then; an absent one counts from zero. Number and bigint counters keep
   * their kind. An expiry is set when the counter is created, or again when one is given.
   */
  increment<V extends number | bigint>(map: CriticalMap<V>, key: string, by?: V, options?: PutOptions): V {
    const table = this.#table(map);
    checkKey(key);
    if (options?.ifVersion !== undefined) this.#checkVersion(table, key, options.ifVersion);
    const entry = this.#entry(table, key);
    const current = entry === undefined ? undefined : table.decode(entry);
    const sum = counted(map.name, key, current, by);
    const given = options?.expiresAtUs;
    const expiresAtUs = given === undefined ? (entry?.expiresAtUs ?? 0) : checkTime(given);
    this.#put(table, key, sum, expiresAtUs);
    return sum as V;
  }

  /** The next number of a sequence. @throws ERR_SEQUENCE_FENCED in a copy of the store */
  next(handle: CriticalSequence): bigint {
    const sequence = this.#sequence(handle);
    this.#checkFence(sequence);
    let value = sequence.visibleNext;
    if (sequence.floorTime && value < this.#open().timeUs) value = BigInt(this.#open().timeUs);
    if (value + sequence.reserve > SEQUENCE_MAX) {
      throw new StoreError("ERR_LIMIT", `sequence ${sequence.name} has reached the end of 64-bit numbers`);
    }
    const logged = value >= sequence.loggedNext ? value + sequence.reserve : sequence.loggedNext;
    // A number is only safe once a record that covers it is durable; one that is still queued does not do.
    if (value >= sequence.durableNext) this.#advance(sequence, logged, value + 1n, false);
    else this.#advanceInMemory(sequence, sequence.loggedNext, value + 1n);
    return value;
  }

  /** Makes the next number at least `n`; never lowers it. */
  atLeast(handle: CriticalSequence, n: bigint): void {
    const sequence = this.#sequence(handle);
    checkNumber(sequence.name, n);
    this.#checkFence(sequence);
    if (n <= sequence.visibleNext) return;
    if (n > sequence.durableNext) {
      this.#advance(sequence, n > sequence.loggedNext ? n : sequence.loggedNext, n, false);
    } else {
      this.#advanceInMemory(sequence, sequence.loggedNext, n);
    }
  }

  /** Aborts the transaction with `ERR_CONFLICT` unless `condition` holds: nothing is written. */
  require(condition: unknown, reason: string): asserts condition {
    const draft = this.#open();
    if (condition) return;
    draft.doom = new StoreError("ERR_CONFLICT", reason, {
      hint: "Nothing was changed; read again and decide anew.",
    });
    throw draft.doom;
  }

  /** Key and value of a range in key order, own writes included; do not write to the map within the loop. */
  *entries<V>(map: CriticalMap<V>, range: KeyRange = {}): IterableIterator<[string, V]> {
    for (const { key, value } of this.versionedEntries(map, range)) yield [key, value];
  }

  *keys(map: CriticalMap<unknown>, range: KeyRange = {}): IterableIterator<string> {
    for (const { key } of this.versionedEntries(map, range)) yield key;
  }

  *versionedEntries<V>(map: CriticalMap<V>, range: KeyRange = {}): IterableIterator<VersionedEntry<V>> {
    const table = this.#table(map);
    yield* walkWritten<V>(table, range, (key) => this.#entry(table, key));
  }

  /** @internal Ends the callback: the transaction can no longer be used. */
  end(): void {
    this.#draft = undefined;
  }

  /** @internal Raises a fence, or lifts it. */
  fence(fence: Fence | undefined): void {
    const draft = this.#open();
    this.#writer.fence(fence);
    draft.add({ kind: "fence", fence });
  }

  /** @internal Takes a fenced sequence over: its next number is `next`. */
  adopt(sequence: SequenceState, next: bigint): void {
    this.#advance(sequence, next, next, true);
  }

  /** @internal Removes an entry that has expired, unless it was written again. */
  expire(table: Table, key: string): void {
    const entry = table.visible(key);
    if (entry === undefined || entry.liveAt(this.#open().timeUs)) return;
    const draft = this.#begin();
    this.#writer.delete(table.id, key);
    this.#hide(table, key);
    draft.halfway = false;
  }

  /** @internal Writes an entry of an older schema version anew. */
  upgrade(table: Table, key: string): void {
    const entry = this.#entry(table, key);
    if (entry === undefined || entry.schemaVersion >= (table.schema?.version ?? 0)) return;
    this.#put(table, key, table.decode(entry), entry.expiresAtUs);
  }

  /** @internal Gives back what is left of a reservation. */
  release(sequence: SequenceState): void {
    this.#advance(sequence, sequence.visibleNext, sequence.visibleNext, false);
  }

  #put(table: Table, key: string, value: unknown, expiresAtUs: number): void {
    const { schema } = table;
    if (value === undefined) {
      throw new StoreError("ERR_INVALID_ARGUMENT", `map ${table.name}: the value of ${key} is undefined`, {
        hint: "Use delete to remove a key, null for a value that says nothing.",
      });
    }
    const checked =
      schema === undefined || schema.validator === undefined ? value : schema.validated(value, `key ${key}`);
    const schemaVersion = schema === undefined ? table.storedVersion || 1 : schema.version;
    if (table.id === 0) this.#defineFor(table, key, checked);
    const draft = this.#begin();
    const after = this.#write(table, key, checked, schemaVersion, expiresAtUs);
    if (expiresAtUs !== 0) table.expires = true;
    const change = draft.mapChange("put", table, key, after);
    table.cover(change);
    draft.add(change);
    draft.halfway = false;
  }

  /** Writes a put into the record, which has been begun; of one that is refused nothing stays. */
  #write(table: Table, key: string, value: unknown, schemaVersion: number, expiresAtUs: number): Entry {
    const draft = this.#open();
    put.tableId = table.id;
    put.key = key;
    put.value = value;
    put.codec = table.codec;
    put.schemaVersion = schemaVersion;
    put.expiresAtUs = expiresAtUs;
    try {
      return this.#writer.put(put, draft.lsn);
    } catch (error) {
      draft.halfway = false;
      throw refusedFor(error, table, key);
    } finally {
      put.value = undefined;
    }
  }

  /** A map gets its number with its first write, unless that is refused. */
  #defineFor(table: Table, key: string, value: unknown): void {
    const draft = this.#begin();
    try {
      this.#writer.check(value, table.codec);
    } catch (error) {
      draft.halfway = false;
      throw refusedFor(error, table, key);
    }
    this.#defineTable(table);
    draft.halfway = false;
  }

  /** Begins a change. Reading a value may run code of its own, which must not make another in the middle of it. */
  #begin(): Draft {
    const draft = this.#open();
    if (draft.halfway) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "a change was begun in the middle of another", {
        hint: "A value's properties may not change anything when they are read; let errors leave the callback.",
      });
    }
    draft.halfway = true;
    return draft;
  }

  #hide(table: Table, key: string): void {
    this.#open().add(this.#cover(table, key));
  }

  /** Hides a key under a deletion. */
  #cover(table: Table, key: string): MapChange {
    const change = this.#open().mapChange("delete", table, key, undefined);
    table.cover(change);
    return change;
  }

  #entry(table: Table, key: string): Entry | undefined {
    const { timeUs } = this.#open();
    const entry = table.visible(key);
    return entry?.liveAt(timeUs) ? entry : undefined;
  }

  #checkVersion(table: Table, key: string, expected: bigint): void {
    const entry = this.#entry(table, key);
    const version = BigInt(entry?.lsn ?? 0);
    if (version === expected) return;
    if (typeof expected !== "bigint") {
      throw new StoreError("ERR_INVALID_ARGUMENT", `ifVersion is a ${typeof expected}, not a bigint`, {
        context: { map: table.name, key },
        hint: "Use what `entry` or `tx.version` gave; 0n stands for no entry.",
      });
    }
    const doom = new StoreError(
      "ERR_CONFLICT",
      `map ${table.name}: ${key} has version ${version}, not ${expected}`,
      {
        context: { map: table.name, key, version, expected },
        hint: "Someone changed it since it was read: read again and decide anew. Nothing was changed.",
      },
    );
    this.#open().doom = doom;
    throw doom;
  }

  #checkFence(sequence: SequenceState): void {
    if (this.#state.isFenced(sequence)) throw fencedError(sequence.name, this.#state.fence!);
  }

  #advance(sequence: SequenceState, logged: bigint, visible: bigint, adopts: boolean): void {
    const draft = this.#begin();
    this.#define(sequence);
    this.#writer.sequence(sequence.id, logged, adopts);
    this.#advanceInMemory(sequence, logged, visible);
    draft.add({ kind: "sequence", sequence, next: logged, adopts, before: 0n });
    draft.halfway = false;
  }

  #advanceInMemory(sequence: SequenceState, logged: bigint, visible: bigint): void {
    const { loggedNext, visibleNext } = sequence;
    sequence.loggedNext = logged;
    sequence.visibleNext = visible;
    this.#open().undoing(() => {
      sequence.loggedNext = loggedNext;
      sequence.visibleNext = visibleNext;
    });
  }

  #define(sequence: SequenceState): void {
    if (sequence.id !== 0) return;
    this.#state.defineSequence(sequence);
    this.#open().undoing(() => this.#state.undefineSequence(sequence));
    this.#writer.defineSequence(sequence.id, sequence.name);
  }

  #defineTable(table: Table): void {
    this.#state.defineTable(table);
    this.#open().undoing(() => this.#state.undefineTable(table));
    this.#writer.defineMap(table.id, table.name);
  }

  #table(map: CriticalMap<unknown>): Table {
    this.#open();
    const { table } = map;
    if (table?.owner !== this.#state) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "this map belongs to another store");
    }
    return table;
  }

  #sequence(handle: CriticalSequence): SequenceState {
    this.#open();
    const { state } = handle;
    if (state?.owner !== this.#state) {
      throw new StoreError("ERR_INVALID_ARGUMENT", "this sequence belongs to another store");
    }
    return state;
  }

  #open(): Draft {
    if (this.#draft !== undefined) return this.#draft;
    throw new StoreError("ERR_INVALID_ARGUMENT", "a transaction was used after its callback returned", {
      hint: "Do all reads and writes of a commit within its callback.",
    });
  }
}

/** The put being written: one at a time is. */
const put: Put = {
  tableId: 0,
  key: "",
  value: undefined,
  codec: messagePack,
  schemaVersion: 0,
  expiresAtUs: 0,
};

/** What is refused is told of by its place. */
function refusedFor(error: unknown, table: Table, key: string): unknown {
  if (!isStoreError(error, "ERR_INVALID_ARGUMENT") && !isStoreError(error, "ERR_LIMIT")) return error;
  const { code, message, hint, context, cause } = error;
  return new StoreError(code, `map ${table.name}, key ${key}: ${message}`, {
    context: { ...context, map: table.name, key },
    ...(hint === undefined ? {} : { hint }),
    ...(cause === undefined ? {} : { cause }),
  });
}
