/**
 * A state map's log is a version log (`docs/formats/version-log.md`) of its own. Each change in a record is
 *
 *     ["s", key, [seq, timeUs, schemaVersion, value]]     value: MessagePack as binary; absent: the key is gone
 *
 * `seq` numbers the map's updates from 1; changes of one update share it and lie in one record, so that no update is
 * ever seen in part. A log that was compacted begins with the state before what it keeps.
 */
import { Packr, Unpackr } from "msgpackr";
import { StoreError } from "../errors.ts";
import type { Change } from "../versions/changes.ts";

const STATE_MAP = "s";

/** Values keep their types: a bigint stays one, a Date, a Map and a Set too. */
const packr = new Packr({
  useRecords: false,
  moreTypes: true,
  largeBigIntToString: false,
  useBigIntExtension: true,
});
const unpackr = new Unpackr({ useRecords: false, moreTypes: true });

/** One change of one key. */
export interface StateChange {
  key: string;
  seq: number;
  timeUs: bigint;
  schemaVersion: number;
  /** The value as MessagePack; `undefined` when the key was removed. */
  bytes: Uint8Array | undefined;
}

export function toLogChange({ key, seq, timeUs, schemaVersion, bytes }: StateChange): Change {
  const fields = [seq, Number(timeUs), schemaVersion];
  return { map: STATE_MAP, key, value: bytes === undefined ? fields : [...fields, bytes] };
}

export function fromLogChange({ key, value }: Change): StateChange {
  const [seq, timeUs, schemaVersion, bytes] = value as [number, number, number, Uint8Array | undefined];
  return { key, seq, timeUs: BigInt(timeUs), schemaVersion, bytes };
}

/** @throws `ERR_INVALID_ARGUMENT` for what MessagePack cannot hold */
export function packValue(map: string, key: string, value: unknown): Uint8Array {
  if (value === undefined || typeof value === "function" || typeof value === "symbol") {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `map ${map}, key ${JSON.stringify(key)}: a ${typeof value} cannot be stored`,
      {
        context: { map, key },
        hint: "Store plain data; `delete` removes a key.",
      },
    );
  }
  try {
    return new Uint8Array(packr.pack(value));
  } catch (cause) {
    throw new StoreError(
      "ERR_INVALID_ARGUMENT",
      `map ${map}, key ${JSON.stringify(key)}: the value cannot be stored`,
      {
        cause,
        context: { map, key },
        hint: "Store plain data without cycles.",
      },
    );
  }
}

export function unpackValue(bytes: Uint8Array): unknown {
  return unpackr.unpack(bytes);
}
