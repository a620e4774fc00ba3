// Records, put together from the blocks' payloads: src/wal/reader.ts does the same, block by block.
import { keptBytes } from "./chain";
import { take } from "./memory";

const HEADER_BYTES: usize = 104;
const KIND_DATA: u32 = 1;
const KIND_SEAL: u32 = 3;

/** Bytes of a record's place: where its payload begins and ends, its time, and what its changes replaced. */
export const PLACE_BYTES: usize = 32;
/** Length and time, before the payload. */
const RECORD_HEADER_BYTES: usize = 12;

let places: usize = 0;
let placesEnd: usize = 0;
let nextPlace: usize = 0;
let fromLsn: u64 = 0;
let begun: bool = false;
let begunLsn: u64 = 0;
let joined: usize = 0;
let joinedBytes: usize = 0;

/** Room for the places of so many records, from an LSN on; returns where they will be. */
export function beginRecords(lsn: f64, count: u32): usize {
  places = take((<usize>count + 1) * PLACE_BYTES);
  placesEnd = places + <usize>count * PLACE_BYTES;
  nextPlace = places;
  fromLsn = <u64>lsn;
  begun = false;
  return places;
}

/** Records placed so far. */
export function recordCount(): u32 {
  return <u32>((nextPlace - places) / PLACE_BYTES);
}

/** Places the records that end in these blocks, which were kept; returns how many blocks made sense. */
export function placeRecords(at: usize, count: i32): i32 {
  for (let i = 0; i < count; i++, at += keptBytes(at)) if (!placeBlock(at)) return i;
  return count;
}

function placeBlock(block: usize): bool {
  if (load<u64>(block, 40) == load<u64>(block, 48)) begun = false;
  const count = <u32>load<u16>(block, 80);
  const kind = <u32>load<u8>(block, 10);
  if (kind != KIND_DATA) return count == 0 || kind != KIND_SEAL;
  const length = <usize>load<u16>(block, 82);
  const continued = <usize>load<u16>(block, 84);
  const payload = block + HEADER_BYTES;
  const end = payload + length;
  if (begun && !join(payload, continued) && continued < length) return false;
  let at = payload + continued;
  let lsn = load<u64>(block, 72);
  for (let i: u32 = 0; i < count; i++, lsn++) {
    const start = at + RECORD_HEADER_BYTES;
    if (start > end || <usize>load<u32>(at) > end - start) {
      if (i != count - 1 || at == end) return false;
      begun = true;
      begunLsn = lsn;
      joined = take(0);
      joinedBytes = 0;
      append(at, end - at);
      return true;
    }
    const next = start + <usize>load<u32>(at);
    place(start, next, load<u64>(at, 4), lsn);
    at = next;
  }
  return at == end;
}

/** Adds to the record that has begun; places it once it is whole. */
function join(part: usize, sizeBytes: usize): bool {
  append(part, sizeBytes);
  if (joinedBytes < RECORD_HEADER_BYTES) return false;
  const wanted = RECORD_HEADER_BYTES + <usize>load<u32>(joined);
  if (joinedBytes < wanted) return false;
  begun = false;
  place(joined + RECORD_HEADER_BYTES, joined + wanted, load<u64>(joined, 4), begunLsn);
  return true;
}

/** Parts of a record lie one behind the other: nothing else is taken while one has begun. */
function append(part: usize, sizeBytes: usize): void {
  const have = take(0) - joined;
  const need = joinedBytes + sizeBytes;
  if (need > have) take(need - have);
  memory.copy(joined + joinedBytes, part, sizeBytes);
  joinedBytes += sizeBytes;
}

/** Records before the first wanted are none; one that does not follow from the one before ends it all. */
function place(start: usize, end: usize, timeUs: u64, lsn: u64): void {
  if (lsn < fromLsn) return;
  if (nextPlace == placesEnd || lsn != fromLsn + <u64>recordCount()) placesEnd = nextPlace;
  else placeAt(start, end, <f64>timeUs);
}

/** Places a record that lies in this memory already. */
export function placeAt(start: usize, end: usize, timeUs: f64): void {
  store<f64>(nextPlace, <f64>start);
  store<f64>(nextPlace, <f64>end, 8);
  store<f64>(nextPlace, timeUs, 16);
  nextPlace += PLACE_BYTES;
}
