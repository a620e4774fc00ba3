import { StoreError } from "../errors.ts";
import type { Entry } from "./entry.ts";
import type { History } from "./history.ts";
import { filterMayHold, keyHashes } from "./history-format.ts";
import { blockRecords, type PastRecord, readBlock, readFilter } from "./history-reader.ts";
import { bounds, type KeyRange } from "./key-range.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";

/** A moment: right after a commit, or a time. A bare bigint below 10¹⁴ is an LSN, from there on microseconds. */
export type Moment = bigint | { lsn: bigint } | { timeUs: bigint };

/** Values from here on are times: 10¹⁴ µs is March 1973, and a log with as many records lies centuries away. */
const TIMES_FROM = 100_000_000_000_000n;

/** One change of a key. */
export interface MapHistoryChange<V> {
  lsn: bigint;
  timeUs: bigint;
  actor?: string;
  reason?: string;
  /** `undefined`: there was no entry. */
  before: V | undefined;
  /** `undefined`: the entry was removed. */
  after: V | undefined;
  expiresAtUs?: bigint;
}

/** A map as it was at one moment. */
export interface PastMap<V> {
  readonly lsn: bigint;
  get(key: string): V | undefined;
  entries(range?: KeyRange): IterableIterator<[string, V]>;
}

/** Reads the trail: sealed blocks first, then what still waits to be sealed. */
export class Trail {
  readonly #history: History;
  readonly #state: State;

  constructor(history: History, state: State) {
    this.#history = history;
    this.#state = state;
  }

  /**
   * Every kept record from `fromLsn` on; with `map` and `key`, blocks that cannot hold the key are skipped.
   *
   * @throws ERR_STORE_CORRUPT where records are damaged, or missing in between
   */
  *records(fromLsn: number, about?: { map: string; key: string }): Generator<PastRecord> {
    const hashes = about === undefined ? undefined : keyHashes(about.map, about.key);
    const pending = this.#history.pending();
    const lastLsn = this.#state.lsn;
    let next = Math.max(fromLsn, this.#history.firstLsn);
    for (const place of this.#history.places(fromLsn)) {
      if (place.firstLsn > next) throw missing(next, place.firstLsn - 1);
      next = place.lastLsn + 1;
      const file = this.#history.disk.open(place.path, { access: "read" });
      let raw: Buffer;
      try {
        if (hashes !== undefined && !filterMayHold(readFilter(file, place), hashes)) continue;
        raw = readBlock(file, place);
      } finally {
        file.close();
      }
      for (const record of blockRecords(raw, place.path)) if (record.lsn >= fromLsn) yield record;
    }
    for (const record of pending) {
      if (record.lsn > next) throw missing(next, record.lsn - 1);
      if (record.lsn < next) continue;
      next++;
      yield record;
    }
    if (next <= lastLsn) throw missing(next, lastLsn);
  }

  *mapHistory<V>(table: Table, key: string): Generator<MapHistoryChange<V>> {
    const decode = (entry: Entry | undefined) =>
      (entry === undefined ? undefined : table.decode(entry)) as V | undefined;
    for (const record of this.records(1, { map: table.name, key })) {
      for (const change of record.changes) {
        if (change.kind !== "map" || change.map !== table.name || change.key !== key) continue;
        const { actor, reason } = record.annotations;
        const found: MapHistoryChange<V> = {
          lsn: BigInt(record.lsn),
          timeUs: BigInt(record.timeUs),
          // What had expired by then was not there for anyone to see.
          before: change.before?.liveAt(record.timeUs) ? decode(change.before) : undefined,
          after: decode(change.after),
        };
        if (actor !== undefined) found.actor = actor;
        if (reason !== undefined) found.reason = reason;
        if (change.after !== undefined && change.after.expiresAtUs !== 0) {
          found.expiresAtUs = BigInt(change.after.expiresAtUs);
        }
        yield found;
      }
    }
  }

  mapAt<V>(table: Table, moment: Moment): PastMap<V> {
    const { lsn, timeUs } = this.resolve(moment);
    const decode = (entry: Entry) => table.decode(entry) as V;
    const changedSince = () => this.#changedSince(table, lsn);
    let overrides: Map<string, Entry | undefined> | undefined;
    let overridesLsn = 0;
    return {
      lsn: BigInt(lsn),
      get: (key) => {
        const entry = this.#entryAt(table, key, lsn);
        return entry?.liveAt(timeUs) ? decode(entry) : undefined;
      },
      entries: (range: KeyRange = {}) => {
        if (overrides === undefined || overridesLsn !== this.#state.lsn) {
          overrides = changedSince();
          overridesLsn = this.#state.lsn;
        }
        return pastEntries(table, overrides, timeUs, range, decode);
      },
    };
  }

  /** What the first change after `lsn` replaced, or else what is there now. */
  #entryAt(table: Table, key: string, lsn: number): Entry | undefined {
    const current = table.entry(key);
    if (current !== undefined && current.lsn <= lsn) return current;
    this.#checkKept(lsn);
    for (const record of this.records(lsn + 1, { map: table.name, key })) {
      for (const change of record.changes) {
        if (change.kind === "map" && change.map === table.name && change.key === key) return change.before;
      }
    }
    return current;
  }

  /** For every key changed after `lsn`, what its first change replaced. */
  #changedSince(table: Table, lsn: number): Map<string, Entry | undefined> {
    this.#checkKept(lsn);
    const replaced = new Map<string, Entry | undefined>();
    for (const record of this.records(lsn + 1)) {
      for (const change of record.changes) {
        if (change.kind !== "map" || change.map !== table.name || replaced.has(change.key)) continue;
        replaced.set(change.key, change.before);
      }
    }
    return replaced;
  }

  /** The last LSN of a moment, and the time by which entries had expired. @throws ERR_NOT_FOUND */
  resolve(moment: Moment): { lsn: number; timeUs: number } {
    if (typeof moment === "bigint") {
      return this.resolve(moment >= TIMES_FROM ? { timeUs: moment } : { lsn: moment });
    }
    checkMoment(moment);
    const current = this.#state;
    const first = this.#history.firstLsn;
    if ("lsn" in moment) {
      const lsn = Number(moment.lsn);
      if (lsn > current.lsn) throw outside(`LSN ${moment.lsn} has not been committed`, first, current.lsn);
      this.#checkKept(lsn);
      return { lsn, timeUs: this.#timeOf(lsn) };
    }
    const timeUs = Number(moment.timeUs);
    if (timeUs >= current.timeUs) return { lsn: current.lsn, timeUs };
    const lsn = this.#lastBefore(timeUs);
    if (lsn === undefined) {
      throw outside(`time ${moment.timeUs} is older than the history kept`, first, current.lsn);
    }
    return { lsn, timeUs };
  }

  /** What was kept when a past map was asked for may have been dropped since. */
  #checkKept(lsn: number): void {
    const first = this.#history.firstLsn;
    if (lsn >= first - 1) return;
    throw outside(`LSN ${lsn} is older than the history kept`, first, this.#state.lsn);
  }

  /** Where reading on from a moment begins: an LSN itself, or the last record up to a time. */
  locate(moment: bigint | { timeUs: bigint }): { lsn: number; isTime: boolean } {
    if (typeof moment === "bigint" && moment < TIMES_FROM) return { lsn: Number(moment), isTime: false };
    const timeUs = Number(typeof moment === "bigint" ? moment : moment.timeUs);
    if (timeUs >= this.#state.timeUs) return { lsn: this.#state.lsn, isTime: true };
    return { lsn: this.#lastBefore(timeUs) ?? this.#history.firstLsn - 1, isTime: true };
  }

  #timeOf(lsn: number): number {
    if (lsn === this.#state.lsn) return this.#state.timeUs;
    for (const record of this.records(lsn)) return record.lsn === lsn ? record.timeUs : record.timeUs - 1;
    return 0;
  }

  /** The last record at or before a time; before a store's first record there was nothing. */
  #lastBefore(timeUs: number): number | undefined {
    const first = this.#history.firstLsn;
    let found = first === 1 ? 0 : undefined;
    let from = first;
    for (const place of this.#history.places(first)) {
      if (place.lastTimeUs <= timeUs) found = place.lastLsn;
      if (place.firstTimeUs > timeUs) break;
      from = place.firstLsn;
    }
    for (const record of this.records(from)) {
      if (record.timeUs > timeUs) break;
      found = record.lsn;
    }
    return found;
  }
}

function* pastEntries<V>(
  table: Table,
  overrides: ReadonlyMap<string, Entry | undefined>,
  timeUs: number,
  range: KeyRange,
  decode: (entry: Entry) => V,
): Generator<[string, V]> {
  const { from, to } = bounds(range);
  const keys = new Set<string>();
  const cursor = table.order.cursor(from, to, false);
  for (let slot = cursor.next(); slot !== undefined; slot = cursor.next()) keys.add(slot.key);
  for (const key of overrides.keys()) {
    if ((from === undefined || key >= from) && (to === undefined || key < to)) keys.add(key);
  }
  const sorted = [...keys].sort();
  if (range.reverse === true) sorted.reverse();
  let left = range.limit ?? Number.POSITIVE_INFINITY;
  for (const key of sorted) {
    const entry = overrides.has(key) ? overrides.get(key) : table.entry(key);
    if (!entry?.liveAt(timeUs)) continue;
    if (left-- <= 0) return;
    yield [key, decode(entry)];
  }
}

function missing(firstLsn: number, lastLsn: number): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `the history of LSN ${firstLsn} to ${lastLsn} is missing`, {
    context: { firstLsn: BigInt(firstLsn), lastLsn: BigInt(lastLsn) },
    hint: "The current state is not affected; a backup may hold this part. `varve audit verify` says which file.",
  });
}

function outside(problem: string, firstLsn: number, lastLsn: number): StoreError {
  return new StoreError("ERR_NOT_FOUND", problem, {
    context: { firstLsn: BigInt(firstLsn), lastLsn: BigInt(lastLsn) },
    hint: `The history kept begins with LSN ${firstLsn} and ends with ${lastLsn}.`,
  });
}

function checkMoment(moment: unknown): void {
  const { lsn, timeUs } = (moment ?? {}) as { lsn?: unknown; timeUs?: unknown };
  if (typeof (lsn ?? timeUs) === "bigint") return;
  throw new StoreError("ERR_INVALID_ARGUMENT", "a moment is a bigint: an LSN, or microseconds since 1970", {
    hint: "at(receipt.lsn), at({ lsn: 5n }) or at({ timeUs: 1_700_000_000_000_000n })",
  });
}
