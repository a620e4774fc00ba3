import { Packr, Unpackr } from "msgpackr";

/** One change of one key; `value: null` removes it. Values are plain data that MessagePack can hold. */
export interface Change {
  map: string;
  key: string;
  value: unknown;
}

const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

/** A record's payload as what it changes. */
export function unpackChanges(payload: Uint8Array): Change[] {
  const changes = unpackr.unpack(payload) as [string, string, unknown][];
  return changes.map(([map, key, value]) => ({ map, key, value }));
}

/** The payload of a record with these changes. */
export function packChanges(changes: readonly Change[]): Uint8Array {
  return packr.pack(changes.map(({ map, key, value }) => [map, key, value]));
}
