// The entries of maps, before anyone has asked for them: rows of numbers and a hash table over their keys.
import { take } from "./memory";

/** A row: where its key and its value lie, and what is said of it. */
export const ROW_BYTES: usize = 32;
export const KEY_AT: usize = 0;
export const VALUE_AT: usize = 4;
export const VALUE_BYTES: usize = 8;
export const LSN: usize = 12;
/** Key bytes in the lower half, schema version in the upper. */
export const KEY_BYTES: usize = 20;
export const SCHEMA_VERSION: usize = 22;
/** 0: never. */
export const EXPIRY: usize = 24;
/** The uppermost byte, which no time reaches. */
export const FLAGS: usize = 31;
/** Nothing is there: the key was removed, or its row was taken. */
export const GONE: u8 = 1;

/** A map: its rows, its hash table, and how many rows the snapshot brought, in the keys' order. */
export const ROWS: usize = 0;
export const COUNT: usize = 4;
export const CAPACITY: usize = 8;
export const INDEX: usize = 12;
/** Places in the hash table, a power of two. Each holds a row's number + 1, or 0. */
export const INDEX_SIZE: usize = 16;
export const SORTED: usize = 20;
export const REMOVED: usize = 24;
export const STORED_VERSION: usize = 28;
export const EXPIRES: usize = 32;
/** Rows that a snapshot will bring. */
const EXPECTED: usize = 36;
const TABLE_BYTES: usize = 40;
const ROWS_INITIAL: u32 = 1024;
/** Room for rows that the log may bring, behind the snapshot's. */
const MORE_ROWS: u32 = 0x40000;

/** Maps by number, and how many numbers there may be. */
let tables: usize = 0;
let tableCount: u32 = 0;

export function beginTables(count: u32): void {
  tables = take(<usize>count * 4);
  tableCount = count;
}

export function defineTable(id: u32): usize {
  const table = take(TABLE_BYTES);
  store<u32>(tables + (<usize>id << 2), <u32>table);
  return table;
}

/** 0 when there is none. */
// @ts-ignore: decorator
@inline
export function tableOf(id: u64): usize {
  return id < <u64>tableCount ? <usize>load<u32>(tables + (<usize>id << 2)) : 0;
}

/** All rows are gone, and their keys. */
export function clearTable(table: usize): void {
  store<u32>(table, 0, COUNT);
  store<u32>(table, 0, SORTED);
  store<u32>(table, 0, REMOVED);
  const index = load<u32>(table, INDEX);
  if (index != 0) memory.fill(index, 0, <usize>load<u32>(table, INDEX_SIZE) << 2);
}

/** A new row at the end; returns its address. */
function addRow(table: usize): usize {
  const count = load<u32>(table, COUNT);
  if (count == load<u32>(table, CAPACITY)) reserveRows(table, max(ROWS_INITIAL, count * 2));
  store<u32>(table, count + 1, COUNT);
  return <usize>load<u32>(table, ROWS) + <usize>count * ROW_BYTES;
}

/** Room for rows, each in one line of the processor's cache. */
export function takeRows(count: u32): usize {
  return (take((<usize>count + 1) * ROW_BYTES) + ROW_BYTES - 1) & ~(ROW_BYTES - 1);
}

export function reserveRows(table: usize, capacity: u32): void {
  const count = load<u32>(table, COUNT);
  const rows = takeRows(capacity);
  memory.copy(rows, load<u32>(table, ROWS), <usize>count * ROW_BYTES);
  store<u32>(table, <u32>rows, ROWS);
  store<u32>(table, capacity, CAPACITY);
}

// Chunks of a snapshot that hold entries: docs/formats/critical.md and src/critical/snapshot-format.ts say what is where.

const CHUNK_ENTRIES: u32 = 2;
const COLUMN_EXPIRY: u32 = 1;
const COLUMN_ONE_VERSION: u32 = 2;

let at: usize = 0;

/** LEB128, of which whole chunks are known to be sound. */
function varint(end: usize): u64 {
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 49 && at < end; shift += 7) {
    const byte = <u64>load<u8>(at++);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return u64.MAX_VALUE;
}

/** Counts the rows of a chunk towards its map's; `false` when the chunk holds something else, or no sense. */
export function countRows(chunk: usize, end: usize): bool {
  if (end - chunk < 4 || <u32>load<u8>(chunk) != CHUNK_ENTRIES) return false;
  at = chunk + 1;
  const table = tableOf(varint(end));
  const count = varint(end);
  if (table == 0 || count > <u64>(end - at)) return false;
  store<u32>(table, load<u32>(table, EXPECTED) + <u32>count, EXPECTED);
  return true;
}

/** Adds the rows of a chunk that was counted, after all before; `false` when its columns do not fit into it. */
export function loadRows(chunk: usize, end: usize): bool {
  at = chunk + 1;
  const table = tableOf(varint(end));
  const count = <usize>varint(end);
  const columns = <u32>load<u8>(at++);
  // What is left may be shorter than any column: each is as long as the count says, which fits into the chunk.
  const keyLengths = at;
  const valueLengths = keyLengths + (count << 1);
  const lsns = valueLengths + (count << 2);
  at = lsns + (count << 3);
  let expiries: usize = 0;
  if ((columns & COLUMN_EXPIRY) != 0) {
    expiries = at;
    at += count << 3;
    store<u32>(table, 1, EXPIRES);
  }
  if (at > end) return false;
  let version: u32 = 0;
  let versions: usize = 0;
  if ((columns & COLUMN_ONE_VERSION) != 0) version = <u32>varint(end);
  else {
    versions = at;
    at += count << 1;
  }
  if (at > end) return false;
  let value = <u64>at + <u64>sumLengths(keyLengths, count);
  const have = load<u32>(table, COUNT);
  const capacity = load<u32>(table, EXPECTED);
  if (load<u32>(table, CAPACITY) < capacity) reserveRows(table, capacity + min(capacity, MORE_ROWS));
  let row = <usize>load<u32>(table, ROWS) + <usize>have * ROW_BYTES;
  let key = at;
  for (let i: usize = 0; i < count; i++, row += ROW_BYTES) {
    const keyBytes = <usize>load<u16>(keyLengths + (i << 1));
    const valueBytes = load<u32>(valueLengths + (i << 2));
    store<u32>(row, <u32>key, KEY_AT);
    store<u32>(row, <u32>value, VALUE_AT);
    store<u32>(row, valueBytes, VALUE_BYTES);
    store<u64>(row, load<u64>(lsns + (i << 3)), LSN);
    store<u16>(row, <u16>keyBytes, KEY_BYTES);
    store<u16>(row, versions == 0 ? <u16>version : load<u16>(versions + (i << 1)), SCHEMA_VERSION);
    store<u64>(row, expiries == 0 ? 0 : load<u64>(expiries + (i << 3)) & 0x00ffffffffffffff, EXPIRY);
    key += keyBytes;
    value += <u64>valueBytes;
  }
  store<u32>(table, have + <u32>count, COUNT);
  store<u32>(table, have + <u32>count, SORTED);
  return value == <u64>end;
}

/** Bytes of all keys of a run. */
function sumLengths(lengths: usize, count: usize): u32 {
  let sum: u32 = 0;
  for (let i: usize = 0; i < count; i++) sum += <u32>load<u16>(lengths + (i << 1));
  return sum;
}

/** Makes a hash table, with room for so many keys more, and leaves it to `indexRows` to fill it. */
export function makeIndex(table: usize, more: u32): void {
  const count = load<u32>(table, COUNT);
  const wanted = <u64>(count + more) + (<u64>(count + more) >> 1);
  let size: u32 = 16;
  while (<u64>size < wanted) size <<= 1;
  store<u32>(table, <u32>take(<usize>size << 2), INDEX);
  store<u32>(table, size, INDEX_SIZE);
}

/** Puts the keys of rows into the hash table, where they are not yet. */
export function indexRows(table: usize, from: u32, to: u32): void {
  const mask = load<u32>(table, INDEX_SIZE) - 1;
  const index = <usize>load<u32>(table, INDEX);
  let row = <usize>load<u32>(table, ROWS) + <usize>from * ROW_BYTES;
  for (let number = from + 1; number <= to; number++, row += ROW_BYTES) {
    let place = hashOf(load<u32>(row, KEY_AT), <usize>load<u16>(row, KEY_BYTES)) & mask;
    while (load<u32>(index + (<usize>place << 2)) != 0) place = (place + 1) & mask;
    store<u32>(index + (<usize>place << 2), number);
  }
}

/**
 * Four bytes at a time, with the finalizer of MurmurHash3 (Appleby, public domain). src/critical/cold-rows.ts has the
 * same.
 */
export function hashOf(key: usize, sizeBytes: usize): u32 {
  let hash = <u32>sizeBytes;
  const whole = key + (sizeBytes & ~3);
  let at = key;
  for (; at < whole; at += 4) hash = mixed(hash, load<u32>(at));
  const end = key + sizeBytes;
  if (at < end) {
    let word: u32 = 0;
    for (let shift: u32 = 0; at < end; at++, shift += 8) word |= <u32>load<u8>(at) << shift;
    hash = mixed(hash, word);
  }
  hash = (hash ^ (hash >> 16)) * 0x85ebca6b;
  hash = (hash ^ (hash >> 13)) * 0xc2b2ae35;
  return hash ^ (hash >> 16);
}

// @ts-ignore: decorator
@inline
function mixed(hash: u32, word: u32): u32 {
  const product = (hash ^ word) * 0x9e3779b1;
  return product ^ (product >> 15);
}

function isSame(a: usize, b: usize, sizeBytes: usize): bool {
  const end = a + sizeBytes;
  for (; a + 8 <= end; a += 8, b += 8) if (load<u64>(a) != load<u64>(b)) return false;
  for (; a < end; a++, b++) if (load<u8>(a) != load<u8>(b)) return false;
  return true;
}

/** The address of a key's row, gone or not; a new one is gone until it is filled. 0: there is none, and none is made. */
export function rowOf(table: usize, key: usize, keyBytes: usize, hash: u32, make: bool): usize {
  const mask = load<u32>(table, INDEX_SIZE) - 1;
  const index = <usize>load<u32>(table, INDEX);
  const rows = <usize>load<u32>(table, ROWS) - ROW_BYTES;
  let place = hash & mask;
  for (;;) {
    const number = load<u32>(index + (<usize>place << 2));
    if (number == 0) break;
    const row = rows + <usize>number * ROW_BYTES;
    if (<usize>load<u16>(row, KEY_BYTES) == keyBytes && isSame(load<u32>(row, KEY_AT), key, keyBytes)) {
      return row;
    }
    place = (place + 1) & mask;
  }
  if (!make) return 0;
  const row = addRow(table);
  store<u32>(row, <u32>key, KEY_AT);
  store<u16>(row, <u16>keyBytes, KEY_BYTES);
  store<u64>(row, 0, EXPIRY);
  store<u8>(row, GONE, FLAGS);
  store<u32>(table, load<u32>(table, REMOVED) + 1, REMOVED);
  const count = load<u32>(table, COUNT);
  store<u32>(index + (<usize>place << 2), count);
  if (<u64>count * 4 > <u64>(mask + 1) * 3) {
    makeIndex(table, count);
    indexRows(table, 0, count);
  }
  return row;
}
