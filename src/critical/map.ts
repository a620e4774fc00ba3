import { checkRange } from "./arguments.ts";
import type { Critical } from "./critical.ts";
import type { SlotCursor } from "./ordered-slots.ts";
import type { Entry, Slot, Table } from "./table.ts";
import type { MapHistoryChange, Moment } from "./trail.ts";

/** Which keys, in the order of their UTF-16 code units. */
export interface KeyRange {
  /** First key wanted. */
  from?: string;
  /** First key no longer wanted. */
  to?: string;
  /** Only keys that start so; narrows `from` and `to`. */
  prefix?: string;
  reverse?: boolean;
  /** At most so many entries. */
  limit?: number;
}

/** An entry with what a compare-and-set needs. */
export interface VersionedEntry<V> {
  key: string;
  value: V;
  /** LSN of the commit that wrote it; what `ifVersion` compares. */
  version: bigint;
  /** Microseconds since the Unix epoch. */
  expiresAtUs?: bigint;
}

/** A map as it was at one moment. */
export interface PastMap<V> {
  readonly lsn: bigint;
  get(key: string): V | undefined;
  entries(range?: KeyRange): IterableIterator<[string, V]>;
}

/**
 * A map of the critical partition. Reads come from memory and show what is durable; writes are made in a
 * transaction. Values are frozen; a value with a byte array in it is decoded anew for each read, because
 * JavaScript cannot freeze those.
 */
export class CriticalMap<V> {
  /** @internal */
  readonly table: Table;
  readonly #critical: Critical;

  /** @internal */
  constructor(critical: Critical, table: Table) {
    this.#critical = critical;
    this.table = table;
  }

  get name(): string {
    return this.table.name;
  }

  /** The value of `key`, or `undefined` when there is none or it has expired. */
  get(key: string): V | undefined {
    const entry = this.table.entry(key);
    return entry === undefined || !this.#live(entry) ? undefined : (this.table.decode(entry) as V);
  }

  has(key: string): boolean {
    const entry = this.table.entry(key);
    return entry !== undefined && this.#live(entry);
  }

  /** The value with the version that `ifVersion` compares. */
  entry(key: string): VersionedEntry<V> | undefined {
    const entry = this.table.entry(key);
    return entry === undefined || !this.#live(entry) ? undefined : versioned<V>(this.table, key, entry);
  }

  /** Live entries; walks the map unless nothing in it ever expires. */
  get size(): number {
    if (!this.table.expires) return this.table.size;
    let size = 0;
    for (const leaf of this.table.order.leaves()) for (const slot of leaf) if (this.#live(slot.entry)) size++;
    return size;
  }

  *keys(range?: KeyRange): IterableIterator<string> {
    const walk = this.#walk(range);
    for (let slot = walk.next(); slot !== undefined; slot = walk.next()) yield slot.key;
  }

  *values(range?: KeyRange): IterableIterator<V> {
    const walk = this.#walk(range);
    for (let slot = walk.next(); slot !== undefined; slot = walk.next())
      yield this.table.decode(slot.entry) as V;
  }

  /** Key and value in key order; keys as of the first step, values as of each. */
  *entries(range?: KeyRange): IterableIterator<[string, V]> {
    const walk = this.#walk(range);
    for (let slot = walk.next(); slot !== undefined; slot = walk.next()) {
      yield [slot.key, this.table.decode(slot.entry) as V];
    }
  }

  [Symbol.iterator](): IterableIterator<[string, V]> {
    return this.entries();
  }

  *versionedEntries(range?: KeyRange): IterableIterator<VersionedEntry<V>> {
    const walk = this.#walk(range);
    for (let slot = walk.next(); slot !== undefined; slot = walk.next()) {
      yield versioned<V>(this.table, slot.key, slot.entry);
    }
  }

  #walk(range: KeyRange | undefined): LiveWalk {
    const nowUs = this.table.expires ? this.#critical.nowUs() : 0;
    if (range === undefined) return new LiveWalk(this.table.order.cursor(undefined, undefined, false), nowUs);
    const { from, to } = bounds(range);
    return new LiveWalk(this.table.order.cursor(from, to, range.reverse === true), nowUs, range.limit);
  }

  /** Every kept change of `key`, oldest first, with the value before and after. */
  history(key: string): IterableIterator<MapHistoryChange<V>> {
    return this.#critical.mapHistory<V>(this.table, key);
  }

  /**
   * The map as it was right after the commit with that LSN, or at that time.
   *
   * @throws ERR_NOT_FOUND when the history kept does not reach back so far
   */
  at(moment: Moment): PastMap<V> {
    return this.#critical.mapAt<V>(this.table, moment);
  }

  #live(entry: Entry): boolean {
    return entry.expiresAtUs === 0 || entry.expiresAtUs > this.#critical.nowUs();
  }
}

/** Passes over what was removed or has expired, up to a limit. */
class LiveWalk {
  readonly #cursor: SlotCursor;
  readonly #nowUs: number;
  #left: number;

  constructor(cursor: SlotCursor, nowUs: number, limit = Number.POSITIVE_INFINITY) {
    this.#cursor = cursor;
    this.#nowUs = nowUs;
    this.#left = limit;
  }

  next(): Slot | undefined {
    if (this.#left <= 0) return undefined;
    let slot = this.#cursor.next();
    while (slot !== undefined && (slot.removed || !slot.entry.liveAt(this.#nowUs)))
      slot = this.#cursor.next();
    this.#left--;
    return slot;
  }
}

export function versioned<V>(table: Table, key: string, entry: Entry): VersionedEntry<V> {
  const result: VersionedEntry<V> = { key, value: table.decode(entry) as V, version: BigInt(entry.lsn) };
  if (entry.expiresAtUs !== 0) result.expiresAtUs = BigInt(entry.expiresAtUs);
  return result;
}

/** The bounds of a range with its prefix worked in. @throws ERR_INVALID_ARGUMENT */
export function bounds(range: KeyRange): { from: string | undefined; to: string | undefined } {
  checkRange(range);
  const { prefix } = range;
  let { from, to } = range;
  if (prefix !== undefined && prefix !== "") {
    if (from === undefined || from < prefix) from = prefix;
    const end = afterPrefix(prefix);
    if (end !== undefined && (to === undefined || to > end)) to = end;
  }
  return { from, to };
}

/** The first string after all that start with `prefix`, if there is one. */
function afterPrefix(prefix: string): string | undefined {
  for (let length = prefix.length; length > 0; length--) {
    const last = prefix.charCodeAt(length - 1);
    if (last < 0xffff) return prefix.slice(0, length - 1) + String.fromCharCode(last + 1);
  }
  return undefined;
}
