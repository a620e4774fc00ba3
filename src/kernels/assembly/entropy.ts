// Counts of tokens, and how many bits they take at their entropy: what decides between contexts, tables and shifts.

import { CONTEXTS, COUNTS, COUNTS2, PLACES, TOKENS } from "./memory";

/** Bytes of one context's counts: 32 of u32. */
export const ROW: usize = 128;

/** log2 of four integers at least 1, within 0.00002: the exponent of a float, and a polynomial in its mantissa. */
// @ts-ignore: decorator
@inline
function logarithms(n: v128): v128 {
  const bits = f32x4.convert_i32x4_s(n);
  const exponent = f32x4.convert_i32x4_s(v128.sub<i32>(v128.shr<u32>(bits, 23), i32x4.splat(127)));
  const one = f32x4.splat(1);
  const x = v128.sub<f32>(v128.or(v128.and(bits, i32x4.splat(0x7fffff)), one), one);
  let p = v128.add<f32>(v128.mul<f32>(x, f32x4.splat(-0.04514836)), f32x4.splat(0.14842545));
  p = v128.add<f32>(v128.mul<f32>(x, p), f32x4.splat(-0.26717879));
  p = v128.add<f32>(v128.mul<f32>(x, p), f32x4.splat(0.44191695));
  const bend = v128.mul<f32>(v128.mul<f32>(x, v128.sub<f32>(one, x)), p);
  return v128.add<f32>(exponent, v128.add<f32>(x, bend));
}

// @ts-ignore: decorator
@inline
function sumOf(lanes: v128): f32 {
  return f32x4.extract_lane(lanes, 0) + f32x4.extract_lane(lanes, 1) + f32x4.extract_lane(lanes, 2) + f32x4.extract_lane(lanes, 3);
}

/** What rowBits() found beside: how many tokens a row counts, and how many different ones. */
export let rowTotal: u32 = 0;
export let rowTokens: u32 = 0;

/** Bits at the entropy of the 32 counts at `row`. */
export function rowBits(row: usize): f32 {
  let total = i32x4.splat(0), used = i32x4.splat(0), bits = f32x4.splat(0);
  for (let at = row; at < row + ROW; at += 16) total = v128.add<i32>(total, v128.load(at));
  rowTotal = integerSum(total);
  if (rowTotal == 0) return 0;
  const none = i32x4.splat(0), one = i32x4.splat(1);
  for (let at = row; at < row + ROW; at += 16) {
    const n = v128.load(at);
    if (!v128.any_true(n)) continue;
    used = v128.sub<i32>(used, v128.gt<i32>(n, none));
    bits = v128.add<f32>(bits, v128.mul<f32>(f32x4.convert_i32x4_s(n), logarithms(v128.max<i32>(n, one))));
  }
  rowTokens = integerSum(used);
  const log = f32x4.extract_lane(logarithms(i32x4.splat(rowTotal)), 0);
  return <f32>rowTotal * log - sumOf(bits);
}

// @ts-ignore: decorator
@inline
function integerSum(lanes: v128): u32 {
  return i32x4.extract_lane(lanes, 0) + i32x4.extract_lane(lanes, 1) + i32x4.extract_lane(lanes, 2) + i32x4.extract_lane(lanes, 3);
}

// @ts-ignore: decorator
@inline
function bump(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}

// @ts-ignore: decorator
@inline
function cell(counts: usize, place: u64): void {
  bump(counts + (<usize>(place & 0xffff) << 2));
}

/**
 * Counts the tokens of `count` lanes, a multiple of 16, by context into COUNTS, of which `contexts` rows are used. Leaves
 * context and token of each lane in PLACES.
 */
export function countTokens(count: usize, contexts: u32): void {
  const sizeBytes = <usize>contexts * ROW;
  memory.fill(COUNTS, 0, sizeBytes);
  memory.fill(COUNTS2, 0, sizeBytes);
  for (let i: usize = 0; i < count; i += 16) {
    const context = v128.load(CONTEXTS + i), token = v128.load(TOKENS + i);
    const low = v128.or(v128.shl<i16>(i16x8.extend_low_i8x16_u(context), 5), i16x8.extend_low_i8x16_u(token));
    const high = v128.or(v128.shl<i16>(i16x8.extend_high_i8x16_u(context), 5), i16x8.extend_high_i8x16_u(token));
    v128.store(PLACES + (i << 1), low);
    v128.store(PLACES + (i << 1), high, 16);
  }
  // Two tables: counting one token twice in a row would wait for the first store.
  for (let at = PLACES; at < PLACES + (count << 1); at += 8) {
    const four = load<u64>(at);
    cell(COUNTS, four);
    cell(COUNTS2, four >> 16);
    cell(COUNTS, four >> 32);
    cell(COUNTS2, four >> 48);
  }
  for (let at: usize = 0; at < sizeBytes; at += 16) {
    v128.store(COUNTS + at, v128.add<i32>(v128.load(COUNTS + at), v128.load(COUNTS2 + at)));
  }
}
