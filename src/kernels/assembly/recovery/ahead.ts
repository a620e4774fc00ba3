// Looks for the rows of records that are applied next. Keys lie all over the memory, so that a look-up waits for it three
// times: for the place in the hash table, the row, the row's key. Here these waits of many records overlap, because none
// of the loads depends on another record's; what was fetched is in the processor's cache when the record is applied.
import { CHANGE_DELETE, CHANGE_PUT } from "./changes";
import { PLACE_BYTES } from "./records";
import { hashOf, INDEX, INDEX_SIZE, KEY_AT, ROW_BYTES, ROWS, tableOf } from "./rows";

const RECORDS: u32 = 32;
/** Kind and flags, then the code of the first change, its map's number and the length of its key. */
const KEY_OFFSET: usize = 6;

/** Of each record: the key of its first change, that key's hash, where the row is or what it has; 0: none. */
const LOOK_BYTES: usize = 12;
const LOOK_HASH: usize = 4;
const LOOK_ROW: usize = 8;
const looks: usize = memory.data(32 * 12, 16);

/** Looks ahead from a record; returns up to which. What the records say is not checked here, only not trusted. */
export function lookAhead(places: usize, from: u32, records: u32): u32 {
  const to = min(from + RECORDS, records);
  const end = looks + <usize>(to - from) * LOOK_BYTES;
  let look = looks;
  for (let place = places + <usize>from * PLACE_BYTES; look < end; place += PLACE_BYTES, look += LOOK_BYTES) {
    lookAt(look, <usize>load<f64>(place), <usize>load<f64>(place, 8));
  }
  for (look = looks; look < end; look += LOOK_BYTES) {
    const row = <usize>load<u32>(look, LOOK_ROW);
    if (row != 0) store<u32>(look, load<u32>(row, KEY_AT), LOOK_ROW);
  }
  for (look = looks; look < end; look += LOOK_BYTES) {
    const key = <usize>load<u32>(look, LOOK_ROW);
    if (key != 0) store<u32>(look, <u32>load<u8>(key), LOOK_ROW);
  }
  return to;
}

function lookAt(look: usize, start: usize, end: usize): void {
  store<u32>(look, 0);
  store<u32>(look, 0, LOOK_ROW);
  if (end - start < KEY_OFFSET) return;
  const code = <u32>load<u8>(start, 2);
  const id = <u64>load<u8>(start, 3);
  if (code < CHANGE_PUT || code > CHANGE_DELETE || id >= 0x80) return;
  const key = start + KEY_OFFSET;
  const keyBytes = <usize>load<u16>(start, 4);
  if (keyBytes > end - key) return;
  const table = tableOf(id);
  const index = table == 0 ? <usize>0 : <usize>load<u32>(table, INDEX);
  if (index == 0) return;
  const hash = hashOf(key, keyBytes);
  store<u32>(look, <u32>key);
  store<u32>(look, hash, LOOK_HASH);
  const place = <usize>(hash & (load<u32>(table, INDEX_SIZE) - 1)) << 2;
  const number = load<u32>(index + place);
  if (number != 0) store<u32>(look, load<u32>(table, ROWS) + (number - 1) * <u32>ROW_BYTES, LOOK_ROW);
}

/** The hash of a key that a record names: known already for the first. */
export function aheadHash(record: u32, key: usize, keyBytes: usize): u32 {
  const look = looks + <usize>(record % RECORDS) * LOOK_BYTES;
  return <usize>load<u32>(look) == key ? load<u32>(look, LOOK_HASH) : hashOf(key, keyBytes);
}
