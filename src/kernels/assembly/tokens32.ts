// tokens.ts for lanes of four bytes, sixteen at a time. Powers of two that differ from lane to lane are made as floats,
// whose exponent they are: exact, and a product with one shifts.

import { LANE_LEVELS, RAW_SIZES, RESIDUALS, TOKENS } from "./memory";
import { lookUp, SHIFTS } from "./residual";
import { firstsHigh, firstsLow, RAWS, rawSizes, tokensOf } from "./tokens";
import { FLOATS_2_23, FLOATS_8, LONGS_1, LONGS_122, LONGS_127, LONGS_15, LONGS_23_BITS } from "./vectors";

/** 2^n of four n up to 30, as integers. */
// @ts-ignore: decorator
@inline
function powers(n: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(v128.shl<i32>(v128.add<i32>(n, v128.load(LONGS_127)), 23));
}

/** Sixteen u8 as four vectors of i32: this one has the four from `quarter` * 4 on. */
// @ts-ignore: decorator
@inline
export function widened(bytes: v128, quarter: i32): v128 {
  const half = quarter < 2 ? i16x8.extend_low_i8x16_u(bytes) : i16x8.extend_high_i8x16_u(bytes);
  return (quarter & 1) == 0 ? i32x4.extend_low_i16x8_u(half) : i32x4.extend_high_i16x8_u(half);
}

/**
 * The magnitudes of four lanes: m = (r, or -r - 1) >> shift as a float, from the bits above the shift alone, which are
 * ten at most where m is not far, and so exact. The logarithm of a float is its exponent.
 */
// @ts-ignore: decorator
@inline
function magnitudes32(r: v128, shifts: v128): v128 {
  const size = v128.xor(r, v128.shr<i32>(r, 31));
  const whole = v128.andnot(size, v128.sub<i32>(powers(shifts), v128.load(LONGS_1)));
  const scale = v128.shl<i32>(v128.sub<i32>(v128.load(LONGS_127), shifts), 23);
  const m = v128.mul<f32>(f32x4.convert_i32x4_s(whole), scale);
  const log = v128.sub<i32>(v128.shr<u32>(m, 23), v128.load(LONGS_122));
  // Adding 2^23 leaves the integer in the lowest bits.
  const small = v128.and(v128.add<f32>(m, v128.load(FLOATS_2_23)), v128.load(LONGS_23_BITS));
  return v128.bitselect(small, v128.min<i32>(log, v128.load(LONGS_15)), v128.lt<f32>(m, v128.load(FLOATS_8)));
}

// @ts-ignore: decorator
@inline
function bytesOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

// @ts-ignore: decorator
@inline
function lowest(r: v128, size: v128): v128 {
  return v128.and(r, v128.sub<i32>(powers(size), v128.load(LONGS_1)));
}

export function tokens32(count: usize, zeros: bool, raws: bool): void {
  const none = i32x4.splat(0);
  for (let i: usize = 0; i < count; i += 16) {
    const at = RESIDUALS + (i << 2);
    const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
    const shifts = lookUp(SHIFTS, v128.load(LANE_LEVELS + i));
    const magnitude = bytesOf(
      magnitudes32(a, widened(shifts, 0)), magnitudes32(b, widened(shifts, 1)),
      magnitudes32(c, widened(shifts, 2)), magnitudes32(d, widened(shifts, 3)),
    );
    const negative = bytesOf(v128.shr<i32>(a, 31), v128.shr<i32>(b, 31), v128.shr<i32>(c, 31), v128.shr<i32>(d, 31));
    const unchanged = zeros
      ? bytesOf(v128.eq<i32>(a, none), v128.eq<i32>(b, none), v128.eq<i32>(c, none), v128.eq<i32>(d, none))
      : none;
    const token = tokensOf(magnitude, negative, unchanged, zeros);
    const sizes = rawSizes(token, shifts);
    v128.store(TOKENS + i, token);
    v128.store(RAW_SIZES + i, sizes);
    if (!raws) continue;
    const to = RAWS + (i << 2);
    v128.store(to, lowest(a, widened(sizes, 0)));
    v128.store(to, lowest(b, widened(sizes, 1)), 16);
    v128.store(to, lowest(c, widened(sizes, 2)), 32);
    v128.store(to, lowest(d, widened(sizes, 3)), 48);
  }
}

/** Four residuals from the first q of their runs, their shifts and raw bits. */
// @ts-ignore: decorator
@inline
function joined(firsts: v128, shifts: v128, raw: v128, size: v128): v128 {
  return v128.or(v128.mul<i32>(firsts, powers(shifts)), lowest(raw, size));
}

export function residuals32(count: usize): void {
  for (let i: usize = 0; i < count; i += 16) {
    const token = v128.load(TOKENS + i), sizes = v128.load(RAW_SIZES + i);
    const shifts = lookUp(SHIFTS, v128.load(LANE_LEVELS + i));
    const low = firstsLow(token), high = firstsHigh(token);
    const from = RAWS + (i << 2), to = RESIDUALS + (i << 2);
    v128.store(to, joined(i32x4.extend_low_i16x8_s(low), widened(shifts, 0), v128.load(from), widened(sizes, 0)));
    v128.store(to, joined(i32x4.extend_high_i16x8_s(low), widened(shifts, 1), v128.load(from, 16), widened(sizes, 1)), 16);
    v128.store(to, joined(i32x4.extend_low_i16x8_s(high), widened(shifts, 2), v128.load(from, 32), widened(sizes, 2)), 32);
    v128.store(to, joined(i32x4.extend_high_i16x8_s(high), widened(shifts, 3), v128.load(from, 48), widened(sizes, 3)), 48);
  }
}
