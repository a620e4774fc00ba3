import type { Entry } from "./entry.ts";
import type { Table } from "./table.ts";

/** An entry with what a compare-and-set needs. */
export interface VersionedEntry<V> {
  key: string;
  value: V;
  /** LSN of the commit that wrote it; what `ifVersion` compares. */
  version: bigint;
  /** Microseconds since the Unix epoch. */
  expiresAtUs?: bigint;
}

export function versioned<V>(table: Table, key: string, entry: Entry): VersionedEntry<V> {
  const result: VersionedEntry<V> = { key, value: table.decode(entry) as V, version: BigInt(entry.lsn) };
  if (entry.expiresAtUs !== 0) result.expiresAtUs = BigInt(entry.expiresAtUs);
  return result;
}
