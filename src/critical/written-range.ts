import type { Entry } from "./entry.ts";
import { bounds, type KeyRange } from "./key-range.ts";
import type { Table } from "./table.ts";
import { type VersionedEntry, versioned } from "./versioned-entry.ts";

/**
 * A range of a map as a transaction sees it, in key order: durable entries, and among them what running and queued
 * transactions have written.
 *
 * @param entryOf what the transaction sees of a key.
 */
export function* walkWritten<V>(
  table: Table,
  range: KeyRange,
  entryOf: (key: string) => Entry | undefined,
): Generator<VersionedEntry<V>> {
  const { from, to } = bounds(range);
  const reverse = range.reverse === true;
  let left = range.limit ?? Number.POSITIVE_INFINITY;
  const added = [...table.overlay.keys()].filter(
    (key) =>
      table.slot(key) === undefined && (from === undefined || key >= from) && (to === undefined || key < to),
  );
  added.sort();
  if (!reverse) added.reverse();
  const cursor = table.order.cursor(from, to, reverse);
  for (let slot = cursor.next(); slot !== undefined; slot = cursor.next()) {
    for (let key = added.at(-1); key !== undefined; key = added.at(-1)) {
      if (reverse ? key < slot.key : key > slot.key) break;
      added.pop();
      const entry = entryOf(key);
      if (entry !== undefined && left-- > 0) yield versioned<V>(table, key, entry);
    }
    const entry = entryOf(slot.key);
    if (entry !== undefined && left-- > 0) yield versioned<V>(table, slot.key, entry);
    if (left <= 0) return;
  }
  for (const key of added.reverse()) {
    const entry = entryOf(key);
    if (entry !== undefined && left-- > 0) yield versioned<V>(table, key, entry);
  }
}
