// Canonical Huffman coding of a byte plane, for speed: codes of up to eleven bits, one look-up a symbol to decode, four
// streams, each of a quarter of the plane, so that four chains of look-ups go on at once. Rarely more than 1 or 2 % above
// the entropy.
//
//   lengths are D. Huffman's by the in-place method of A. Moffat and J. Katajainen (1995), bounded by moving the longest up

import { END } from "./memory";

export const LENGTH_MAX: u32 = 11;
const SLOT_COUNT: u32 = 1 << LENGTH_MAX;
/** Where reading past a damaged stream ends up. */
const BITS_END: usize = (END - 64) << 3;

/** Code lengths by symbol, u8; 0 for one that does not occur. */
const LENGTHS = memory.data(256, 16);
/** By symbol, u32: the code's bits, first one lowest, and its length << 16. */
const CODES = memory.data(256 * 4, 16);
/** By the next eleven bits, u16: length, and the symbol << 8. */
const SLOTS = memory.data(2048 * 2, 16);
/** Symbols in order of frequency, u32: count << 8 | symbol; and what becomes of their counts. */
const SORTED = memory.data(256 * 8, 16);
const SORTING = memory.data(256 * 8, 16);
const DEPTHS = memory.data(256 * 4, 16);
const DIGITS = memory.data(256 * 4);
/** How many codes have a length, u32 by length. */
const LENGTH_COUNTS = memory.data(64 * 4);

export function huffmanLengths(): usize {
  return LENGTHS;
}

/** Sorts the symbols that `counts` (u32 by symbol) has, rarest first, to SORTED; returns how many. */
function sortSymbols(counts: usize): u32 {
  let kinds: u32 = 0, most: u32 = 0;
  for (let symbol: u32 = 0; symbol < 256; symbol++) {
    const count = load<u32>(counts + (<usize>symbol << 2));
    if (count == 0) continue;
    store<u64>(SORTED + (<usize>kinds << 3), (<u64>count << 8) | symbol);
    most |= count;
    kinds++;
  }
  let from = SORTED, to = SORTING;
  for (let digit: u32 = 0; digit < 32 && most >> digit != 0; digit += 8) {
    memory.fill(DIGITS, 0, 1024);
    for (let i: u32 = 0; i < kinds; i++) {
      const at = DIGITS + (<usize>((load<u64>(from + (<usize>i << 3)) >> <u64>(digit + 8)) & 255) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
    let sum: u32 = 0;
    for (let value: usize = 0; value < 1024; value += 4) {
      const n = load<u32>(DIGITS + value);
      store<u32>(DIGITS + value, sum);
      sum += n;
    }
    for (let i: u32 = 0; i < kinds; i++) {
      const entry = load<u64>(from + (<usize>i << 3));
      const at = DIGITS + (<usize>((entry >> <u64>(digit + 8)) & 255) << 2);
      const place = load<u32>(at);
      store<u64>(to + (<usize>place << 3), entry);
      store<u32>(at, place + 1);
    }
    const done = from;
    from = to;
    to = done;
  }
  if (from != SORTED) memory.copy(SORTED, from, kinds << 3);
  return kinds;
}

// @ts-ignore: decorator
@inline
function weight(i: u32): u32 {
  return load<u32>(DEPTHS + (<usize>i << 2));
}

// @ts-ignore: decorator
@inline
function setWeight(i: u32, value: u32): void {
  store<u32>(DEPTHS + (<usize>i << 2), value);
}

/** Turns `kinds` sorted counts at DEPTHS into how many codes have which length. */
function findLengths(kinds: u32): void {
  // Joins the two lightest of leaves and nodes; a node's place then says which is above it.
  let leaf: u32 = 0, root: u32 = 0;
  for (let next: u32 = 0; next < kinds - 1; next++) {
    let sum: u32 = 0;
    for (let part = 0; part < 2; part++) {
      if (leaf >= kinds || (root < next && weight(root) < weight(leaf))) {
        sum += weight(root);
        setWeight(root, next);
        root++;
      } else {
        sum += weight(leaf);
        leaf++;
      }
    }
    setWeight(next, sum);
  }
  // Depths of the nodes, and from them how many leaves are at each.
  memory.fill(LENGTH_COUNTS, 0, 256);
  setWeight(kinds - 2, 0);
  for (let node = <i32>kinds - 3; node >= 0; node--) setWeight(node, weight(weight(node)) + 1);
  let depth: u32 = 0, open: u32 = 1, node = <i32>kinds - 2, left = kinds;
  while (left > 0) {
    let inner: u32 = 0;
    for (; node >= 0 && weight(node) == depth; node--) inner++;
    const leaves = open - inner;
    store<u32>(LENGTH_COUNTS + (<usize>min<u32>(depth, 63) << 2), leaves);
    left -= leaves;
    open = inner << 1;
    depth++;
  }
}

// @ts-ignore: decorator
@inline
function codesOf(length: u32): u32 {
  return load<u32>(LENGTH_COUNTS + (<usize>length << 2));
}

// @ts-ignore: decorator
@inline
function addCodes(length: u32, change: u32): void {
  store<u32>(LENGTH_COUNTS + (<usize>length << 2), codesOf(length) + change);
}

/** No code longer than LENGTH_MAX: those that were are, and others become longer until all fit. */
function boundLengths(): void {
  let taken: u32 = 0;
  for (let length: u32 = LENGTH_MAX + 1; length < 64; length++) addCodes(LENGTH_MAX, codesOf(length));
  for (let length: u32 = 1; length <= LENGTH_MAX; length++) taken += codesOf(length) << (LENGTH_MAX - length);
  for (; taken > SLOT_COUNT; taken--) {
    // One of the longest goes beside one that becomes a bit longer than it was.
    let length = LENGTH_MAX - 1;
    while (codesOf(length) == 0) length--;
    addCodes(LENGTH_MAX, -1);
    addCodes(length, -1);
    addCodes(length + 1, 2);
  }
}

/** Code lengths of the bytes that `counts` (u32 by byte) has, two kinds at least; returns the bits they take in all. */
export function huffmanPlan(counts: usize): u32 {
  const kinds = sortSymbols(counts);
  for (let i: u32 = 0; i < kinds; i++) setWeight(i, <u32>(load<u64>(SORTED + (<usize>i << 3)) >> 8));
  findLengths(kinds);
  boundLengths();
  memory.fill(LENGTHS, 0, 256);
  let bits: u32 = 0, next: u32 = 0;
  for (let length = LENGTH_MAX; length > 0; length--) {
    for (let n = codesOf(length); n > 0; n--) {
      const entry = load<u64>(SORTED + (<usize>next << 3));
      store<u8>(LENGTHS + <usize>(entry & 255), length);
      bits += length * <u32>(entry >> 8);
      next++;
    }
  }
  return bits;
}

// @ts-ignore: decorator
@inline
function reversed(code: u32, length: u32): u32 {
  let out: u32 = 0;
  for (let i: u32 = 0; i < length; i++) out |= ((code >>> i) & 1) << (length - 1 - i);
  return out;
}

/** Makes the tables of the codes whose lengths are at `huffmanLengths`; false unless they are complete. */
export function huffmanUse(decoding: bool): bool {
  memory.fill(LENGTH_COUNTS, 0, 256);
  for (let symbol: usize = 0; symbol < 256; symbol++) {
    const length = <u32>load<u8>(LENGTHS + symbol);
    if (length > LENGTH_MAX) return false;
    addCodes(length, 1);
  }
  // Codes of a length count up from twice what comes after the last shorter one; by symbol within a length.
  let code: u32 = 0;
  store<u32>(LENGTH_COUNTS, 0);
  for (let length: u32 = 1; length <= LENGTH_MAX; length++) {
    const n = codesOf(length);
    store<u32>(LENGTH_COUNTS + (<usize>length << 2), code);
    code = (code + n) << 1;
  }
  if (code != SLOT_COUNT << 1) return false;
  for (let symbol: u32 = 0; symbol < 256; symbol++) {
    const length = <u32>load<u8>(LENGTHS + <usize>symbol);
    if (length == 0) continue;
    const own = codesOf(length);
    addCodes(length, 1);
    const bits = reversed(own, length);
    if (!decoding) {
      store<u32>(CODES + (<usize>symbol << 2), bits | (length << 16));
      continue;
    }
    const step = <usize>2 << length;
    for (let at = SLOTS + (<usize>bits << 1); at < SLOTS + 4096; at += step) store<u16>(at, length | (symbol << 8));
  }
  return true;
}

// @ts-ignore: decorator
@inline
function codeOf(symbol: u64): u64 {
  return load<u32>(CODES + (<usize>(symbol & 255) << 2));
}

/** Codes `count` bytes to `out`; returns where they end. */
export function huffmanEncode(from: usize, count: usize, out: usize): usize {
  let held: u64 = 0, fill: u64 = 0;
  let i: usize = 0;
  // Four codes of eleven bits beside up to seven bits that are held.
  for (; i + 4 <= count; i += 4) {
    const symbols = <u64>load<u32>(from + i);
    const c0 = codeOf(symbols), c1 = codeOf(symbols >> 8), c2 = codeOf(symbols >> 16), c3 = codeOf(symbols >> 24);
    const n0 = c0 >> 16, n2 = c2 >> 16, n01 = n0 + (c1 >> 16);
    const low = (c0 & 0xffff) | ((c1 & 0xffff) << n0), high = (c2 & 0xffff) | ((c3 & 0xffff) << n2);
    held |= (low | (high << n01)) << fill;
    fill += n01 + n2 + (c3 >> 16);
    store<u64>(out, held);
    out += <usize>(fill >> 3);
    held >>= fill & 56;
    fill &= 7;
  }
  for (; i < count; i++) {
    const code = codeOf(load<u8>(from + i));
    held |= (code & 0xffff) << fill;
    fill += code >> 16;
    store<u64>(out, held);
    out += <usize>(fill >> 3);
    held >>= fill & 56;
    fill &= 7;
  }
  return out + usize(fill > 0);
}

// @ts-ignore: decorator
@inline
function slotOf(bits: u64): u64 {
  return <u64>load<u16>(SLOTS + (<usize>(bits & (SLOT_COUNT - 1)) << 1));
}

/** Five symbols of one stream: 55 bits, of the 57 that a load holds wherever in a byte it begins. Returns the new place. */
// @ts-ignore: decorator
@inline
function five(place: usize, to: usize): usize {
  let bits = load<u64>(place >> 3) >> <u64>(place & 7);
  // Shifts look at the lowest six bits alone, which are the length.
  const s0 = slotOf(bits);
  bits >>= s0;
  const s1 = slotOf(bits);
  bits >>= s1;
  const s2 = slotOf(bits);
  bits >>= s2;
  const s3 = slotOf(bits);
  bits >>= s3;
  const s4 = slotOf(bits);
  store<u32>(to, <u32>((s0 >> 8) | (s1 & 0xff00) | ((s2 & 0xff00) << 8) | ((s3 & 0xff00) << 16)));
  store<u8>(to, <u8>(s4 >> 8), 4);
  return place + <usize>((s0 + s1 + s2 + s3 + s4) & 255);
}

// @ts-ignore: decorator
@inline
function one(place: usize, to: usize): usize {
  const slot = slotOf(load<u64>(place >> 3) >> <u64>(place & 7));
  store<u8>(to, <u8>(slot >> 8));
  return place + <usize>(slot & 255);
}

// @ts-ignore: decorator
@inline
function endsAt(place: usize, end: usize): bool {
  return (place + 7) >> 3 == end;
}

/**
 * Fills a plane from four streams that lie one after the other at `at`, the first three of which have so many bytes and
 * all of them `sizeBytes`; false unless each ends where it should.
 */
export function huffmanDecode(plane: usize, count: usize, at: usize, a: usize, b: usize, c: usize, sizeBytes: usize): bool {
  const quarter = count >> 2;
  let p0 = at << 3, p1 = (at + a) << 3, p2 = (at + a + b) << 3, p3 = (at + a + b + c) << 3;
  const to1 = plane + quarter, to2 = to1 + quarter, to3 = to2 + quarter;
  let i: usize = 0;
  for (; i + 5 <= quarter; i += 5) {
    p0 = min(five(p0, plane + i), BITS_END);
    p1 = min(five(p1, to1 + i), BITS_END);
    p2 = min(five(p2, to2 + i), BITS_END);
    p3 = min(five(p3, to3 + i), BITS_END);
  }
  for (; i < quarter; i++) {
    p0 = min(one(p0, plane + i), BITS_END);
    p1 = min(one(p1, to1 + i), BITS_END);
    p2 = min(one(p2, to2 + i), BITS_END);
    p3 = min(one(p3, to3 + i), BITS_END);
  }
  for (; i < count - 3 * quarter; i++) p3 = min(one(p3, to3 + i), BITS_END);
  return endsAt(p0, at + a) && endsAt(p1, at + a + b) && endsAt(p2, at + a + b + c) && endsAt(p3, at + sizeBytes);
}
