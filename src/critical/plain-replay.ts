import { ByteReader } from "./byte-reader.ts";
import { CHANGE_END, CHANGE_PUT, CHANGE_PUT_EXPIRING, KIND_TRANSACTION } from "./record-format.ts";
import type { RecordPlace } from "./record-reader.ts";
import type { State } from "./state.ts";
import type { Entry } from "./table.ts";

const input = new ByteReader("critical record", Buffer.alloc(0));
/** Rows of the record's changes, and what these replaced; used again for every record. */
const rows: number[] = [];
const replaced: Entry[] = [];

/**
 * Applies a record that only puts keys of the snapshot which nobody has asked for yet: the rows get other values
 * and stay columns of numbers. That is what most records of a full log are, and an object for each is what would
 * make an opening slow.
 *
 * @returns what its changes replaced, valid until the next call; `undefined`, and nothing changed, for any other
 *   record.
 * @throws ERR_STORE_CORRUPT when the bytes make no sense
 */
export function replayPlain(place: RecordPlace, state: State): readonly Entry[] | undefined {
  const { buffer, offset, end, lsn } = place;
  if (buffer[offset] !== KIND_TRANSACTION || buffer[offset + 1] !== 0) return undefined;
  if (!findRows(place, state)) return undefined;
  replaced.length = 0;
  input.reuse(buffer, offset + 2, end);
  for (let change = 0; change < rows.length; change++) {
    const code = input.u8();
    const table = state.tableById(input.varint())!;
    const keyBytes = input.u16();
    input.position += keyBytes;
    const schemaVersion = input.varint();
    const expiresAtUs = code === CHANGE_PUT_EXPIRING ? input.u64() : 0;
    const valueBytes = input.length();
    const value = { valueAt: input.position, valueBytes, lsn, expiresAtUs, schemaVersion };
    replaced.push(table.cold!.replace(rows[change]!, buffer, value));
    if (schemaVersion > table.storedVersion) table.storedVersion = schemaVersion;
    if (expiresAtUs !== 0) table.expires = true;
    input.position += valueBytes;
  }
  state.lsn = lsn;
  state.timeUs = place.timeUs;
  return replaced;
}

function findRows({ buffer, offset, end }: RecordPlace, state: State): boolean {
  rows.length = 0;
  input.reuse(buffer, offset + 2, end);
  for (;;) {
    const code = input.u8();
    if (code === CHANGE_END) return input.position === input.end;
    if (code !== CHANGE_PUT && code !== CHANGE_PUT_EXPIRING) return false;
    const cold = state.tableById(input.varint())?.cold;
    if (cold === undefined || !cold.takesFrom(buffer)) return false;
    const keyBytes = input.u16();
    input.need(keyBytes);
    const row = cold.findAt(buffer, input.position, keyBytes);
    if (row < 0) return false;
    rows.push(row);
    input.position += keyBytes;
    input.varint();
    if (code === CHANGE_PUT_EXPIRING) input.u64();
    const valueBytes = input.length();
    input.position += valueBytes;
  }
}
