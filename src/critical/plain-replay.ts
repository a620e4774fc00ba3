import { ByteReader } from "./byte-reader.ts";
import type { ReplacedRows } from "./cold-rows.ts";
import { CHANGE_END, CHANGE_PUT, CHANGE_PUT_EXPIRING, KIND_TRANSACTION } from "./record-format.ts";
import type { RecordPlace } from "./record-reader.ts";
import type { State } from "./state.ts";
import type { Table } from "./table.ts";

const input = new ByteReader("critical record", Buffer.alloc(0));

/** A change of the record: the row whose value it replaces, and the value. Used again for every record. */
interface PlainPut {
  table: Table;
  row: number;
  valueAt: number;
  valueBytes: number;
  lsn: number;
  expiresAtUs: number;
  schemaVersion: number;
}

const puts: PlainPut[] = [];

/**
 * Applies a record that only puts keys of the snapshot which nobody has asked for yet: the rows get other values
 * and stay columns of numbers. That is what most records of a full log are, and an object for each is what would
 * make an opening slow.
 *
 * @param replaced gets what its changes replaced, in their order.
 * @returns the number of changes; -1, and nothing changed, for any other record.
 * @throws ERR_STORE_CORRUPT when the bytes make no sense
 */
export function replayPlain(place: RecordPlace, state: State, replaced: ReplacedRows): number {
  const { buffer, offset } = place;
  if (buffer[offset] !== KIND_TRANSACTION || buffer[offset + 1] !== 0) return -1;
  const count = findPuts(place, state);
  for (let index = 0; index < count; index++) {
    const put = puts[index]!;
    const { table } = put;
    table.cold!.replace(put.row, buffer, put, replaced);
    if (put.schemaVersion > table.storedVersion) table.storedVersion = put.schemaVersion;
    if (put.expiresAtUs !== 0) table.expires = true;
  }
  if (count < 0) return -1;
  state.lsn = place.lsn;
  state.timeUs = place.timeUs;
  return count;
}

/** Reads the record's changes into `puts`; returns how many there are, or -1. */
function findPuts({ buffer, offset, end, lsn }: RecordPlace, state: State): number {
  input.reuse(buffer, offset + 2, end);
  for (let count = 0; ; count++) {
    const code = input.u8();
    if (code === CHANGE_END) return input.position === input.end ? count : -1;
    if (code !== CHANGE_PUT && code !== CHANGE_PUT_EXPIRING) return -1;
    const table = state.tableById(input.varint());
    const cold = table?.cold;
    if (table === undefined || cold === undefined || !cold.takesFrom(buffer)) return -1;
    const keyBytes = input.u16();
    input.need(keyBytes);
    const row = cold.findAt(buffer, input.position, keyBytes);
    if (row < 0) return -1;
    input.position += keyBytes;
    let put = puts[count];
    if (put === undefined) {
      put = { table, row, valueAt: 0, valueBytes: 0, lsn, expiresAtUs: 0, schemaVersion: 0 };
      puts.push(put);
    }
    put.table = table;
    put.row = row;
    put.lsn = lsn;
    put.schemaVersion = input.varint();
    put.expiresAtUs = code === CHANGE_PUT_EXPIRING ? input.u64() : 0;
    put.valueBytes = input.length();
    put.valueAt = input.position;
    input.position += put.valueBytes;
  }
}
