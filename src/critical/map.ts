import type { Entry } from "./entry.ts";
import { bounds, type KeyRange } from "./key-range.ts";
import type { SlotCursor } from "./ordered-slots.ts";
import type { Slot } from "./slot.ts";
import type { Table } from "./table.ts";
import type { MapHistoryChange, Moment, PastMap, Trail } from "./trail.ts";
import { type VersionedEntry, versioned } from "./versioned-entry.ts";

/** Who knows what time it is for those who read: never before the last commit. */
interface Now {
  nowUs(): number;
}

/**
 * A map of the critical partition. Reads come from memory and show what is durable; writes are made in a
 * transaction. Values are frozen; a value with a byte array in it is decoded anew for each read, because
 * JavaScript cannot freeze those.
 */
export class CriticalMap<V> {
  /** @internal */
  readonly table: Table;
  readonly #trail: Trail;
  readonly #now: Now;

  /** @internal */
  constructor(table: Table, trail: Trail, now: Now) {
    this.table = table;
    this.#trail = trail;
    this.#now = now;
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
    const nowUs = this.table.expires ? this.#now.nowUs() : 0;
    if (range === undefined) return new LiveWalk(this.table.order.cursor(undefined, undefined, false), nowUs);
    const { from, to } = bounds(range);
    return new LiveWalk(this.table.order.cursor(from, to, range.reverse === true), nowUs, range.limit);
  }

  /** Every kept change of `key`, oldest first, with the value before and after. */
  history(key: string): IterableIterator<MapHistoryChange<V>> {
    return this.#trail.mapHistory<V>(this.table, key);
  }

  /**
   * The map as it was right after the commit with that LSN, or at that time.
   *
   * @throws ERR_NOT_FOUND when the history kept does not reach back so far
   */
  at(moment: Moment): PastMap<V> {
    return this.#trail.mapAt<V>(this.table, moment);
  }

  #live(entry: Entry): boolean {
    return entry.expiresAtUs === 0 || entry.expiresAtUs > this.#now.nowUs();
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
