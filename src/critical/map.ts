import type { Critical } from "./critical.ts";
import type { Entry, Table } from "./table.ts";
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
    if (!this.table.expires) return this.table.slots.size;
    let size = 0;
    for (const slot of this.table.slots.values()) if (this.#live(slot.entry)) size++;
    return size;
  }

  *keys(range?: KeyRange): IterableIterator<string> {
    for (const entry of this.versionedEntries(range, false)) yield entry.key;
  }

  *values(range?: KeyRange): IterableIterator<V> {
    for (const entry of this.versionedEntries(range, true)) yield entry.value;
  }

  /** Key and value in key order; keys as of the call, values as of each step. */
  *entries(range?: KeyRange): IterableIterator<[string, V]> {
    for (const entry of this.versionedEntries(range, true)) yield [entry.key, entry.value];
  }

  [Symbol.iterator](): IterableIterator<[string, V]> {
    return this.entries();
  }

  *versionedEntries(range: KeyRange = {}, decode = true): IterableIterator<VersionedEntry<V>> {
    const { from, to } = bounds(range);
    const nowUs = this.#critical.nowUs();
    let left = range.limit ?? Number.POSITIVE_INFINITY;
    for (const slot of this.table.order.range(from, to, range.reverse === true)) {
      if (slot.removed || !slot.entry.liveAt(nowUs)) continue;
      if (left-- <= 0) return;
      yield versioned<V>(this.table, slot.key, slot.entry, decode);
    }
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

export function versioned<V>(table: Table, key: string, entry: Entry, decode = true): VersionedEntry<V> {
  const result: VersionedEntry<V> = {
    key,
    value: (decode ? table.decode(entry) : undefined) as V,
    version: BigInt(entry.lsn),
  };
  if (entry.expiresAtUs !== 0) result.expiresAtUs = BigInt(entry.expiresAtUs);
  return result;
}

/** The bounds of a range with its prefix worked in. */
export function bounds(range: KeyRange): { from: string | undefined; to: string | undefined } {
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
