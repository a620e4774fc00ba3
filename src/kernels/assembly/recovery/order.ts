// Puts rows in the keys' order again, after some were added behind those of the snapshot and some have gone.
import { take } from "./memory";
import { CAPACITY, COUNT, FLAGS, GONE, INDEX, INDEX_SIZE, KEY_AT, KEY_BYTES, REMOVED, ROW_BYTES, ROWS, SORTED, takeRows } from "./rows";

/** A row to be sorted: the first bytes by which its key differs from the others, and its number. */
const ITEM_BYTES: usize = 16;
const ITEM_ROW: usize = 8;
/** A place in the hash table whose row has gone: a search goes on behind it. */
const TOMBSTONE: u32 = 0xffffffff;

let rows: usize = 0;
/** So many first bytes are the same in all keys that are sorted. */
let shared: usize = 0;

/** Afterwards all rows are in order and none is gone; their numbers are others. */
export function settleRows(table: usize): void {
  const count = load<u32>(table, COUNT);
  const sorted = load<u32>(table, SORTED);
  if (count == sorted && load<u32>(table, REMOVED) == 0) return;
  rows = <usize>load<u32>(table, ROWS);
  const items = take(<usize>(count - sorted) * ITEM_BYTES);
  let fresh: u32 = 0;
  for (let number = sorted; number < count; number++) {
    if (load<u8>(rowAt(number), FLAGS) == GONE) continue;
    store<u32>(items + <usize>(fresh++) * ITEM_BYTES, number, ITEM_ROW);
  }
  const ordered = sortItems(items, fresh);
  const kept = merge(table, ordered, fresh, sorted, count);
  store<u32>(table, kept, COUNT);
  store<u32>(table, kept, SORTED);
  store<u32>(table, 0, REMOVED);
}

// @ts-ignore: decorator
@inline
function rowAt(number: u32): usize {
  return rows + <usize>number * ROW_BYTES;
}

/**
 * Bytes of UTF-8 in the order of UTF-16's code units, which is the keys': surrogates, which stand for what begins with
 * 0xf0 and above, come before U+E000 and what follows.
 */
// @ts-ignore: decorator
@inline
function rank(byte: u32): u32 {
  return byte < 0xee ? byte : byte < 0xf0 ? byte + 5 : byte - 2;
}

function compareKeys(a: usize, b: usize): i32 {
  const keyA = <usize>load<u32>(a, KEY_AT);
  const keyB = <usize>load<u32>(b, KEY_AT);
  const bytesA = <usize>load<u16>(a, KEY_BYTES);
  const bytesB = <usize>load<u16>(b, KEY_BYTES);
  const both = min(bytesA, bytesB);
  for (let i: usize = 0; i < both; i++) {
    const byteA = <u32>load<u8>(keyA + i);
    const byteB = <u32>load<u8>(keyB + i);
    if (byteA != byteB) return <i32>rank(byteA) - <i32>rank(byteB);
  }
  return <i32>bytesA - <i32>bytesB;
}

/** How many first bytes all keys share. */
function sharedBytes(items: usize, count: u32): usize {
  const first = rowAt(load<u32>(items, ITEM_ROW));
  const key = <usize>load<u32>(first, KEY_AT);
  let most = <usize>load<u16>(first, KEY_BYTES);
  for (let i: u32 = 1; i < count && most > 0; i++) {
    const row = rowAt(load<u32>(items + <usize>i * ITEM_BYTES, ITEM_ROW));
    const other = <usize>load<u32>(row, KEY_AT);
    most = min(most, <usize>load<u16>(row, KEY_BYTES));
    let same: usize = 0;
    while (same < most && load<u8>(key + same) == load<u8>(other + same)) same++;
    most = same;
  }
  return most;
}

/** Eight bytes of a key behind those that all share, so that most comparisons are of one number. */
function prefixOf(row: usize): u64 {
  const key = <usize>load<u32>(row, KEY_AT) + shared;
  const left = <usize>load<u16>(row, KEY_BYTES) - shared;
  let prefix: u64 = 0;
  for (let i: usize = 0; i < 8; i++) prefix = (prefix << 8) | (i < left ? <u64>rank(<u32>load<u8>(key + i)) : 0);
  return prefix;
}

// @ts-ignore: decorator
@inline
function isBefore(a: usize, b: usize): bool {
  const prefixA = load<u64>(a);
  const prefixB = load<u64>(b);
  if (prefixA != prefixB) return prefixA < prefixB;
  return compareKeys(rowAt(load<u32>(a, ITEM_ROW)), rowAt(load<u32>(b, ITEM_ROW))) < 0;
}

/** Natural merge sort: keys often come in order already. Returns where the sorted items are. */
function sortItems(items: usize, count: u32): usize {
  if (count < 2) return items;
  shared = sharedBytes(items, count);
  for (let i: u32 = 0; i < count; i++) {
    const item = items + <usize>i * ITEM_BYTES;
    store<u64>(item, prefixOf(rowAt(load<u32>(item, ITEM_ROW))));
  }
  const runs = take(<usize>(count + 1) * 4);
  let runCount: u32 = 1;
  store<u32>(runs, 0);
  for (let i: u32 = 1; i < count; i++) {
    const item = items + <usize>i * ITEM_BYTES;
    if (isBefore(item, item - ITEM_BYTES)) store<u32>(runs + (<usize>(runCount++) << 2), i);
  }
  let source = items;
  let target = runCount > 1 ? take(<usize>count * ITEM_BYTES) : items;
  while (runCount > 1) {
    let left: u32 = 0;
    for (let run: u32 = 0; run < runCount; run += 2) {
      const from = load<u32>(runs + (<usize>run << 2));
      const middle = run + 1 < runCount ? load<u32>(runs + (<usize>(run + 1) << 2)) : count;
      const to = run + 2 < runCount ? load<u32>(runs + (<usize>(run + 2) << 2)) : count;
      mergeRuns(source, target, from, middle, to);
      store<u32>(runs + (<usize>(left++) << 2), from);
    }
    runCount = left;
    const other = source;
    source = target;
    target = other;
  }
  return source;
}

function mergeRuns(source: usize, target: usize, from: u32, middle: u32, to: u32): void {
  let a = source + <usize>from * ITEM_BYTES;
  let b = source + <usize>middle * ITEM_BYTES;
  const endA = b;
  const endB = source + <usize>to * ITEM_BYTES;
  let out = target + <usize>from * ITEM_BYTES;
  while (a < endA && b < endB) {
    if (isBefore(b, a)) {
      v128.store(out, v128.load(b));
      b += ITEM_BYTES;
    } else {
      v128.store(out, v128.load(a));
      a += ITEM_BYTES;
    }
    out += ITEM_BYTES;
  }
  memory.copy(out, a, endA - a);
  memory.copy(out + (endA - a), b, endB - b);
}

/** The snapshot's rows and the fresh ones, merged; the hash table gets the new numbers. Returns how many there are. */
function merge(table: usize, items: usize, fresh: u32, sorted: u32, count: u32): u32 {
  const target = takeRows(sorted + fresh);
  const numbers = take(<usize>count << 2);
  let kept: u32 = 0;
  let next: u32 = 0;
  for (let i: u32 = 0; i <= fresh; i++) {
    const number = i < fresh ? load<u32>(items + <usize>i * ITEM_BYTES, ITEM_ROW) : 0;
    const until = i < fresh ? firstAbove(rowAt(number), next, sorted) : sorted;
    for (; next < until; next++) if (keep(next, target, numbers, kept)) kept++;
    if (i < fresh && keep(number, target, numbers, kept)) kept++;
  }
  const index = <usize>load<u32>(table, INDEX);
  const indexEnd = index + (<usize>load<u32>(table, INDEX_SIZE) << 2);
  for (let at = index; at < indexEnd; at += 4) {
    const number = load<u32>(at);
    if (number == 0) continue;
    const now = load<u32>(numbers + (<usize>(number - 1) << 2));
    store<u32>(at, now == 0 ? TOMBSTONE : now);
  }
  store<u32>(table, <u32>target, ROWS);
  store<u32>(table, sorted + fresh, CAPACITY);
  return kept;
}

/** Copies a row to its new place and notes that, number + 1; `false` for one that is gone. */
function keep(number: u32, target: usize, numbers: usize, kept: u32): bool {
  const row = rowAt(number);
  if (load<u8>(row, FLAGS) == GONE) return false;
  const to = target + <usize>kept * ROW_BYTES;
  v128.store(to, v128.load(row));
  v128.store(to, v128.load(row, 16), 16);
  store<u32>(numbers + (<usize>number << 2), kept + 1);
  return true;
}

/** The first row of the snapshot's, from one on, whose key is above that of a row: by steps that double. */
function firstAbove(row: usize, from: u32, end: u32): u32 {
  let step: u32 = 1;
  let low = from;
  let high = from;
  while (high < end && compareKeys(rowAt(high), row) < 0) {
    low = high + 1;
    high += step;
    step <<= 1;
  }
  if (high > end) high = end;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(rowAt(middle), row) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
