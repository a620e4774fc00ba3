// Residuals as bins: a bin is a lowest value and how many raw bits are added to it. Which bins there are is decided in
// src/series/columns/bins.ts; here residuals are sorted, cut into cells, given their bins, and put together again.

import { BINS, COUNTS } from "./columns-memory";

const DIGITS = memory.data(256 * 4);
const CELLS = memory.data(512 * 4);

/** Sorts i64 at `from`, using as much room at `spare`; returns where the result lies: one of the two. */
export function columnSort(from: usize, spare: usize, count: usize): usize {
  const end = count << 3;
  const sign: u64 = 0x8000000000000000;
  let varying: u64 = 0;
  const one = load<u64>(from);
  for (let i: usize = 0; i < end; i += 8) varying |= load<u64>(from + i) ^ one;
  let source = from, target = spare;
  const table = DIGITS;
  for (let digit: usize = 0; digit < 8; digit++) {
    const shift = <u64>(digit << 3);
    if (((varying >> shift) & 255) == 0) continue;
    memory.fill(table, 0, 1024);
    for (let i: usize = 0; i < end; i += 8) {
      const at = table + (<usize>(((load<u64>(source + i) ^ sign) >> shift) & 255) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
    let sum: u32 = 0;
    for (let at = table; at < table + 1024; at += 4) {
      const n = load<u32>(at);
      store<u32>(at, sum);
      sum += n;
    }
    for (let i: usize = 0; i < end; i += 8) {
      const x = load<u64>(source + i);
      const at = table + (<usize>(((x ^ sign) >> shift) & 255) << 2);
      const place = load<u32>(at);
      store<u32>(at, place + 1);
      store<u64>(target + (<usize>place << 3), x);
    }
    const other = source;
    source = target;
    target = other;
  }
  return source;
}

/**
 * Cuts sorted residuals into cells of about `size`, never within a run of equal ones; a run of `size` and more is a cell
 * of its own. Writes the end of each cell (u32, exclusive) to `ends`, at most `most`, and returns how many.
 */
export function columnCells(sorted: usize, count: u32, size: u32, ends: usize, most: u32): u32 {
  let cells: u32 = 0, start: u32 = 0, i: u32 = 0;
  while (i < count) {
    const value = load<i64>(sorted + (<usize>i << 3));
    let end = i + 1;
    while (end < count && load<i64>(sorted + (<usize>end << 3)) == value) end++;
    const own = end - i >= size;
    if (own && i > start && cells < most) {
      store<u32>(ends + (<usize>cells << 2), i);
      cells++;
      start = i;
    }
    if ((own || end - start >= size || end == count) && cells < most) {
      store<u32>(ends + (<usize>cells << 2), end);
      cells++;
      start = end;
    }
    i = end;
  }
  if (start < count) store<u32>(ends + (<usize>(cells - 1) << 2), count);
  return cells;
}

/**
 * About how many bits residuals take: entropy of their sign, octave and two leading bits around `center`, and the bits
 * below. For comparing predictions.
 */
export function columnCost(r: usize, count: usize, center: i64, logs: usize): f64 {
  memory.fill(CELLS, 0, 2048);
  let raw: u64 = 0;
  for (let i: usize = 0; i < count << 3; i += 8) {
    const x = load<i64>(r + i) - center;
    const m = <u64>(x < 0 ? -x : x);
    let cell: u64 = m;
    if (m >= 8) {
      const bits = 61 - clz(m);
      cell = (bits << 2) + (m >> bits) + 0;
      raw += bits;
    }
    const at = CELLS + (<usize>(((cell & 255) << 1) | u64(x < 0)) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  let entropy: f64 = load<f64>(logs + (count << 3)), used: f64 = 0;
  for (let at = CELLS; at < CELLS + 2048; at += 4) {
    const n = load<u32>(at);
    if (n == 0) continue;
    entropy -= load<f64>(logs + (<usize>n << 3));
    used += 1;
  }
  return entropy + <f64>raw + used * 2;
}

/** Gives each residual its bin, of `bins` sorted by their lowest values. */
export function columnTokens(r: usize, count: usize, bins: u32, tokens: usize): void {
  let top: u32 = 1;
  while (top << 1 < bins) top <<= 1;
  for (let i: usize = 0; i < count; i++) {
    const x = load<i64>(r + (i << 3));
    let bin: u32 = 0;
    for (let step = top; step > 0; step >>= 1) {
      const next = bin + step;
      if (next < bins && load<i64>(<usize>next << 5, BINS) <= x) bin = next;
    }
    store<u8>(tokens + i, bin);
  }
}

/** Writes what lies above each residual's bin's lowest value from bit 0 of `to`; returns how many bits. */
export function columnPutRaw(r: usize, tokens: usize, count: usize, to: usize): usize {
  let at = to, held: u64 = 0, fill: u64 = 0;
  for (let i: usize = 0; i < count; i++) {
    const bin = <usize>load<u8>(tokens + i) << 5;
    let bits = <u64>load<u8>(bin, BINS + 16);
    let raw = <u64>(load<i64>(r + (i << 3)) - load<i64>(bin, BINS));
    if (bits > 32) {
      held |= (raw & 0xffffffff) << fill;
      store<u64>(at, held);
      at += 4;
      held = fill == 0 ? 0 : (raw & 0xffffffff) >> (32 - fill);
      raw >>= 32;
      bits -= 32;
    }
    held |= raw << fill;
    fill += bits;
    if (fill >= 32) {
      store<u32>(at, <u32>held);
      at += 4;
      held >>= 32;
      fill -= 32;
    }
  }
  store<u64>(at, held);
  return ((at - to) << 3) + <usize>fill;
}

// @ts-ignore: decorator
@inline
function rawFrom(at: usize, bit: usize): u64 {
  return load<u64>(at + (bit >> 3)) >> <u64>(bit & 7);
}

/** Raw bits of a bin that has up to 56, of a word that begins with them. */
// @ts-ignore: decorator
@inline
function valueOf(bin: usize, word: u64, multiplied: bool, multiplier: i64): i64 {
  const raw = <i64>(word & load<u64>(bin, BINS + 8));
  return load<i64>(bin, BINS) + (multiplied ? raw * multiplier : raw);
}

/**
 * The values' loop for bins of up to 56 bits: four values that have no more together share a load. Inlined where
 * `multiplied` and `summed` are constants.
 */
// @ts-ignore: decorator
@inline
function valuesLoop(
  tokens: usize, count: usize, from: usize, bit: usize, multiplied: bool, multiplier: i64, summed: bool, before: i64,
  to: usize,
): usize {
  let i: usize = 0, last = before;
  const end = count & ~3;
  for (; i < end; i += 4) {
    const four = load<u32>(tokens + i);
    // Each byte of it times 32: where its bin stands.
    const b0 = <usize>((four << 5) & 0x1fe0), b1 = <usize>((four >>> 3) & 0x1fe0);
    const b2 = <usize>((four >>> 11) & 0x1fe0), b3 = <usize>((four >>> 19) & 0x1fe0);
    const n0 = <usize>load<u8>(b0, BINS + 16), n1 = <usize>load<u8>(b1, BINS + 16);
    const n2 = <usize>load<u8>(b2, BINS + 16), n3 = <usize>load<u8>(b3, BINS + 16);
    const n01 = n0 + n1, all = n01 + n2 + n3;
    const r0 = rawFrom(from, bit);
    let r1: u64, r2: u64, r3: u64;
    if (all <= 56) {
      r1 = r0 >> <u64>n0;
      r2 = r1 >> <u64>n1;
      r3 = r2 >> <u64>n2;
    } else {
      r1 = rawFrom(from, bit + n0);
      r2 = rawFrom(from, bit + n01);
      r3 = rawFrom(from, bit + n01 + n2);
    }
    bit += all;
    let v0 = valueOf(b0, r0, multiplied, multiplier), v1 = valueOf(b1, r1, multiplied, multiplier);
    let v2 = valueOf(b2, r2, multiplied, multiplier), v3 = valueOf(b3, r3, multiplied, multiplier);
    if (summed) {
      const v01 = v0 + v1;
      v0 += last;
      v1 = last + v01;
      v3 = last + (v01 + (v2 + v3));
      v2 = v1 + v2;
      last = v3;
    }
    const target = to + (i << 3);
    store<i64>(target, v0);
    store<i64>(target, v1, 8);
    store<i64>(target, v2, 16);
    store<i64>(target, v3, 24);
  }
  for (; i < count; i++) {
    const bin = <usize>load<u8>(tokens + i) << 5;
    const value = valueOf(bin, rawFrom(from, bit), multiplied, multiplier);
    last = summed ? last + value : value;
    store<i64>(to + (i << 3), last);
    bit += <usize>load<u8>(bin, BINS + 16);
  }
  return bit;
}

function plainValues(tokens: usize, count: usize, from: usize, bit: usize, multiplier: i64, to: usize): usize {
  if (multiplier == 1) return valuesLoop(tokens, count, from, bit, false, 1, false, 0, to);
  return valuesLoop(tokens, count, from, bit, true, multiplier, false, 0, to);
}

function summedValues(
  tokens: usize, count: usize, from: usize, bit: usize, multiplier: i64, before: i64, to: usize,
): usize {
  if (multiplier == 1) return valuesLoop(tokens, count, from, bit, false, 1, true, before, to);
  return valuesLoop(tokens, count, from, bit, true, multiplier, true, before, to);
}

/** Residuals of bins that have no raw bits: their lowest values. */
// @ts-ignore: decorator
@inline
function lowestLoop(tokens: usize, count: usize, summed: bool, before: i64, to: usize): void {
  let last = before;
  for (let i: usize = 0; i < count; i++) {
    const value = load<i64>(<usize>load<u8>(tokens + i) << 5, BINS);
    last = summed ? last + value : value;
    store<i64>(to + (i << 3), last);
  }
}

/**
 * Residuals of bins: lowest value + raw bits * multiplier, raw bits from bit `bit` of `from` on; returns the bit after
 * the last. `widest` bounds a bin's bits. The caller sees to it that so many bits, or at least memory, lie there. `summed`:
 * instead their running sums from `before` on.
 */
export function columnValues(
  tokens: usize, count: usize, from: usize, bit: usize, multiplier: i64, widest: u32, summed: bool, before: i64, to: usize,
): usize {
  if (widest == 0) {
    if (summed) lowestLoop(tokens, count, true, before, to);
    else lowestLoop(tokens, count, false, before, to);
    return bit;
  }
  if (widest <= 56) {
    if (summed) return summedValues(tokens, count, from, bit, multiplier, before, to);
    return plainValues(tokens, count, from, bit, multiplier, to);
  }
  let last = before;
  for (let i: usize = 0; i < count; i++) {
    const bin = <usize>load<u8>(tokens + i) << 5;
    const word = (rawFrom(from, bit) & 0xffffffff) | (rawFrom(from, bit + 32) << 32);
    const value = valueOf(bin, word, true, multiplier);
    last = summed ? last + value : value;
    store<i64>(to + (i << 3), last);
    bit += <usize>load<u8>(bin, BINS + 16);
  }
  return bit;
}

/** Adds to COUNTS, 256 a context, how often each bin comes in each; the class before begins anew every `lane` rows. */
export function columnCount(tokens: usize, context: usize, count: usize, byClass: bool, lane: usize): void {
  let last: u32 = 0, left = lane;
  for (let i: usize = 0; i < count; i++) {
    const token = <u32>load<u8>(tokens + i);
    let c = <u32>load<u8>(context + i);
    if (byClass) {
      if (left == 0) {
        last = 0;
        left = lane;
      }
      left--;
      c += last;
      last = <u32>load<u8>(<usize>token << 5, BINS + 17);
    }
    const at = COUNTS + (<usize>((c << 8) | token) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
}

/** Bits that the counted bins take by the entropy of their contexts, and their frequencies about. */
export function columnCountedCost(contexts: u32, bins: u32, logs: usize): f64 {
  let bits: f64 = 0;
  for (let c: u32 = 0; c < contexts; c++) {
    let total: u32 = 0;
    for (let b: u32 = 0; b < bins; b++) {
      const n = load<u32>(COUNTS + (<usize>((c << 8) | b) << 2));
      if (n == 0) {
        bits += 2;
        continue;
      }
      total += n;
      bits += 9 - load<f64>(logs + (<usize>n << 3));
    }
    bits += load<f64>(logs + (<usize>total << 3));
  }
  return bits;
}

/** How many edges a vector of changes' zigzags are over, negative; edges are the largest zigzags of classes, as below. */
// @ts-ignore: decorator
@inline
function passed(values: v128, before: v128, t0: v128, t1: v128, t2: v128): v128 {
  const change = v128.sub<i64>(values, before);
  const negative = v128.lt<i64>(change, i64x2.splat(0));
  const size = v128.xor(v128.xor(v128.add<i64>(change, change), negative), i64x2.splat(i64.MIN_VALUE));
  return v128.add<i64>(v128.add<i64>(v128.gt<i64>(size, t0), v128.gt<i64>(size, t1)), v128.gt<i64>(size, t2));
}

/** The largest zigzag of `edge` bits, in the order of signed integers. */
// @ts-ignore: decorator
@inline
function largestOf(edge: u32): i64 {
  return (edge >= 64 ? -1 : <i64>(((<u64>1) << <u64>edge) - 1)) ^ i64.MIN_VALUE;
}

/**
 * Classes of a column's rows for contexts: how many edges, in bits, the zigzag of a row's change is over. Works on
 * eight rows at a time and may write as many past the end. `first`: whether no row lies before, which then counts as equal.
 */
export function columnClasses(y: usize, count: usize, first: bool, edge0: u32, edge1: u32, edge2: u32, to: usize): void {
  const t0 = i64x2.splat(largestOf(edge0)), t1 = i64x2.splat(largestOf(edge1)), t2 = i64x2.splat(largestOf(edge2));
  let last = i64x2.splat(load<i64>(first ? y : y - 8));
  for (let i: usize = 0; i < count; i += 8) {
    const at = y + (i << 3);
    const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
    const ca = passed(a, v128.shuffle<i64>(last, a, 1, 2), t0, t1, t2);
    const cb = passed(b, v128.shuffle<i64>(a, b, 1, 2), t0, t1, t2);
    const cc = passed(c, v128.shuffle<i64>(b, c, 1, 2), t0, t1, t2);
    const cd = passed(d, v128.shuffle<i64>(c, d, 1, 2), t0, t1, t2);
    last = d;
    store<u64>(to + i, i64x2.extract_lane(v128.neg<i8>(bytesOf(ca, cb, cc, cd)), 0));
  }
}

/** Eight small numbers as bytes, twice. */
// @ts-ignore: decorator
@inline
function bytesOf(a: v128, b: v128, c: v128, d: v128): v128 {
  const low = v128.shuffle<i32>(a, b, 0, 2, 4, 6), high = v128.shuffle<i32>(c, d, 0, 2, 4, 6);
  const words = i16x8.narrow_i32x4_s(low, high);
  return i8x16.narrow_i16x8_s(words, words);
}

/**
 * The first `most` values stand in `values`: a row's class is the last of them that it is, 0 for rows with others. Works on
 * eight rows at a time, as above.
 */
export function columnValueClasses(y: usize, count: usize, values: usize, most: u32, to: usize): void {
  const end = values + (<usize>most << 3);
  for (let i: usize = 0; i < count; i += 8) {
    const at = y + (i << 3);
    const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
    let ca = i64x2.splat(0), cb = ca, cc = ca, cd = ca, found = ca;
    for (let v = values; v < end; v += 8) {
      const value = v128.load64_splat(v);
      // Classes come in rising order, so that the largest is the last.
      ca = v128.max<i32>(ca, v128.and(v128.eq<i64>(a, value), found));
      cb = v128.max<i32>(cb, v128.and(v128.eq<i64>(b, value), found));
      cc = v128.max<i32>(cc, v128.and(v128.eq<i64>(c, value), found));
      cd = v128.max<i32>(cd, v128.and(v128.eq<i64>(d, value), found));
      found = v128.add<i64>(found, i64x2.splat(1));
    }
    store<u64>(to + i, i64x2.extract_lane(bytesOf(ca, cb, cc, cd), 0));
  }
}

/**
 * context[i] = context[i] * by + more[i]; with `more` 0 only the product. Contexts before are below 16, since the
 * product stays below 32: a table multiplies. May write 15 past the end.
 */
export function columnMixContexts(context: usize, more: usize, count: usize, by: u32): void {
  if (by == 1) {
    for (let i: usize = 0; more != 0 && i < count; i += 16) {
      v128.store(context + i, v128.add<i8>(v128.load(context + i), v128.load(more + i)));
    }
    return;
  }
  let products = i8x16.splat(0);
  const step = i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (let i: u32 = 0; i < by; i++) products = v128.add<i8>(products, step);
  for (let i: usize = 0; i < count; i += 16) {
    let product = v128.swizzle(products, v128.load(context + i));
    if (more != 0) product = v128.add<i8>(product, v128.load(more + i));
    v128.store(context + i, product);
  }
}
