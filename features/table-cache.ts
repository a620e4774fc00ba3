import type { Table } from "../formats/tables/table.ts";
import { tableBytes } from "../formats/tables/table.ts";

/** How often a decoded table was there, and what the kept ones take. */
export interface TableCacheStats {
  hits: number;
  misses: number;
  usedBytes: number;
  limitBytes: number;
}

/**
 * Decoded tables by what they hold, shared by all readers of the process: the last used up to a number of bytes, and
 * beyond it those that somebody still has.
 */
export class TableCache {
  readonly #maxBytes: number;
  readonly #kept = new Map<string, { table: Table; sizeBytes: number }>();
  readonly #held = new Map<string, WeakRef<Table>>();
  #sizeBytes = 0;
  #hits = 0;
  #misses = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  stats(): TableCacheStats {
    return {
      hits: this.#hits,
      misses: this.#misses,
      usedBytes: this.#sizeBytes,
      limitBytes: this.#maxBytes,
    };
  }

  get(key: string): Table | undefined {
    const table = this.#find(key);
    if (table === undefined) this.#misses++;
    else this.#hits++;
    return table;
  }

  #find(key: string): Table | undefined {
    const kept = this.#kept.get(key);
    if (kept !== undefined) {
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      return kept.table;
    }
    const table = this.#held.get(key)?.deref();
    if (table === undefined) this.#held.delete(key);
    return table;
  }

  put(key: string, table: Table): void {
    const sizeBytes = tableBytes(table);
    this.#held.set(key, new WeakRef(table));
    for (const [other, ref] of this.#held) if (ref.deref() === undefined) this.#held.delete(other);
    if (sizeBytes > this.#maxBytes) return;
    this.#kept.set(key, { table, sizeBytes });
    this.#sizeBytes += sizeBytes;
    for (const [oldest, entry] of this.#kept) {
      if (this.#sizeBytes <= this.#maxBytes) break;
      this.#kept.delete(oldest);
      this.#sizeBytes -= entry.sizeBytes;
    }
  }

  clear(): void {
    this.#kept.clear();
    this.#held.clear();
    this.#sizeBytes = 0;
  }
}
