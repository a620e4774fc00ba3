// Folded residuals as tokens and raw bits. With q = r >> shift and m = q, or -q - 1 where q is negative:
//
//   m         0 … 7   8-15  16-31  32-63  64-127  128-255  256-511  512-1023   from 1024 on
//   magnitude 0 … 7   8     9      10     11      12       13       14         far
//   raw bits  shift   + 3   + 4    + 5    + 6     + 7      + 8      + 9        see raw-bits.ts
//
//   token     14 - magnitude where q is negative, else 15 + magnitude; 30 far; 31 where r is 0, if that is kept apart
//
// Every token stands for a run of values that begins at a multiple of its length: r is the run's first value with the
// raw bits, which are r's own lowest, put into the zeros below it.

import { LANE_LEVELS, RAW_SIZES, RESIDUALS, TOKENS, WORK } from "./memory";
import { factorsHigh, factorsLow, lookUp, SHIFTS, unitsHigh, unitsLow } from "./residual";
import { residuals32, tokens32 } from "./tokens32";
import { BYTES_15, BYTES_30, BYTES_31 } from "./vectors";

export const FAR: u8 = 30;
export const UNCHANGED: u8 = 31;

/** Raw bits of the lanes, as wide as their residuals. */
export const RAWS: usize = WORK;

let zeros = false;

/** Whether residuals of 0 have a token of their own. */
export function tokensSetup(withZeros: bool): void {
  zeros = withZeros;
}

/** Bits below the shift that a token adds to its lane's raw ones, by token. */
const EXTRA = memory.data<u8>([
  9, 8, 7, 6, 5, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 4, 5, 6, 7, 8, 9, 0, 0,
]);
/** The first q of a token's run, by token: low and high bytes apart. */
const FIRST_LOW = memory.data<u8>([
  0, 0, 0, 128, 192, 224, 240, 248, 249, 250, 251, 252, 253, 254, 255, 0,
  1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 0, 0, 0, 0,
]);
const FIRST_HIGH = memory.data<u8>([
  252, 254, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0,
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0,
]);

// @ts-ignore: decorator
@inline
export function residualAt(position: usize, width: usize): i64 {
  if (width == 2) return <i64>load<i16>(RESIDUALS + (position << 1));
  if (width == 4) return <i64>load<i32>(RESIDUALS + (position << 2));
  return load<i64>(RESIDUALS + (position << 3));
}

// @ts-ignore: decorator
@inline
export function shiftAt(position: usize): u64 {
  return <u64>load<u8>(SHIFTS + load<u8>(LANE_LEVELS + position));
}

/** Fills TOKENS and RAW_SIZES from RESIDUALS and LANE_LEVELS, and RAWS if asked to; `count` is a multiple of 16. */
export function tokensFind(count: usize, width: usize, raws: bool): void {
  if (width == 2) tokens16(count, raws);
  else if (width == 4) tokens32(count, zeros, raws);
  else tokensWide(count);
}

function tokensWide(count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const r = load<i64>(RESIDUALS + (i << 3));
    const shift = shiftAt(i);
    const q = r >> shift;
    const m = q ^ (q >> 63);
    let token: u8, size: u64;
    if (zeros && r == 0) {
      token = UNCHANGED;
      size = 0;
    } else if (m >= 1024) {
      token = FAR;
      size = 0;
    } else {
      const log = <u64>63 - clz(m | 1);
      const magnitude = <u8>(m < 8 ? m : log + 5);
      token = q < 0 ? 14 - magnitude : 15 + magnitude;
      size = shift + (m < 8 ? 0 : log);
    }
    store<u8>(TOKENS + i, token);
    store<u8>(RAW_SIZES + i, <u8>size);
    store<i64>(RAWS + (i << 3), r & (((<i64>1) << size) - 1));
  }
}

// Two bytes a lane, sixteen lanes at a time.

/** Eight quotients: r / 2^shift rounded down, by a product with 2^(14 - shift) of which 14 bits are dropped. */
// @ts-ignore: decorator
@inline
function quotients16(r: v128, factor: v128): v128 {
  const low = v128.shr<i32>(i32x4.extmul_low_i16x8_s(r, factor), 14);
  const high = v128.shr<i32>(i32x4.extmul_high_i16x8_s(r, factor), 14);
  return i16x8.narrow_i32x4_s(low, high);
}

/** Magnitudes of m up to 15; of m from 16 on by m >> 4; from 256 on by m >> 8, of which 15 stands for more. */
const SMALL = memory.data<u8>([0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 8, 8], 16);
const LARGER = memory.data<u8>([0, 9, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 12, 12, 12, 12], 16);
const LARGEST = memory.data<u8>([0, 13, 14, 14, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15], 16);
/** The lowest n bits, by n: low and high bytes apart. */
const MASK_LOW = memory.data<u8>([0, 1, 3, 7, 15, 31, 63, 127, 255, 255, 255, 255, 255, 255, 255, 255], 16);
const MASK_HIGH = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 7, 15, 31, 63, 127], 16);

/** Magnitudes (u8) of sixteen m (u16). A table has 0 for what is not its own. */
// @ts-ignore: decorator
@inline
function magnitudes(low: v128, high: v128): v128 {
  const m = i8x16.narrow_i16x8_u(low, high);
  const top = v128.min<u8>(i8x16.narrow_i16x8_u(v128.shr<u16>(low, 8), v128.shr<u16>(high, 8)), v128.load(BYTES_15));
  const middle = v128.and(v128.shr<u16>(m, 4), v128.load(BYTES_15));
  const small = v128.swizzle(v128.load(SMALL), m);
  const larger = v128.swizzle(v128.load(LARGER), middle);
  const largest = v128.swizzle(v128.load(LARGEST), top);
  return v128.max<u8>(v128.max<u8>(small, larger), largest);
}

/** The tokens of magnitudes (u8), given all ones where q is negative and where r is 0. */
// @ts-ignore: decorator
@inline
export function tokensOf(magnitude: v128, negative: v128, unchanged: v128, zeros: bool): v128 {
  // 15 + magnitude, or 15 - magnitude - 1
  const signed = v128.xor(magnitude, negative);
  let token = v128.add<i8>(signed, v128.load(BYTES_15));
  token = v128.bitselect(v128.load(BYTES_30), token, v128.eq<i8>(magnitude, v128.load(BYTES_15)));
  return zeros ? v128.bitselect(v128.load(BYTES_31), token, unchanged) : token;
}

/** How many raw bits lanes of these tokens and shifts (u8) have: none where r is 0 or far. */
// @ts-ignore: decorator
@inline
export function rawSizes(token: v128, shifts: v128): v128 {
  const sizes = v128.add<i8>(shifts, lookUp(EXTRA, token));
  return v128.and(sizes, v128.lt<u8>(token, v128.load(BYTES_30)));
}

/** The lowest bits of eight lanes, as many as `sizes` says in its first or second half; at most 14. */
// @ts-ignore: decorator
@inline
function masksLow(sizes: v128): v128 {
  return v128.shuffle<i8>(maskLow(sizes), maskHigh(sizes), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline
function masksHigh(sizes: v128): v128 {
  return v128.shuffle<i8>(maskLow(sizes), maskHigh(sizes), 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// @ts-ignore: decorator
@inline
function maskLow(sizes: v128): v128 {
  return v128.swizzle(v128.load(MASK_LOW), sizes);
}

// @ts-ignore: decorator
@inline
function maskHigh(sizes: v128): v128 {
  return v128.swizzle(v128.load(MASK_HIGH), sizes);
}

function tokens16(count: usize, raws: bool): void {
  const none = i16x8.splat(0);
  for (let i: usize = 0; i < count; i += 16) {
    const levels = v128.load(LANE_LEVELS + i);
    const low = v128.load(RESIDUALS + (i << 1)), high = v128.load(RESIDUALS + (i << 1), 16);
    const qLow = quotients16(low, factorsLow(levels)), qHigh = quotients16(high, factorsHigh(levels));
    const signLow = v128.shr<i16>(qLow, 15), signHigh = v128.shr<i16>(qHigh, 15);
    const magnitude = magnitudes(v128.xor(qLow, signLow), v128.xor(qHigh, signHigh));
    const unchanged = i8x16.narrow_i16x8_s(v128.eq<i16>(low, none), v128.eq<i16>(high, none));
    const token = tokensOf(magnitude, i8x16.narrow_i16x8_s(signLow, signHigh), unchanged, zeros);
    const sizes = rawSizes(token, lookUp(SHIFTS, levels));
    v128.store(TOKENS + i, token);
    v128.store(RAW_SIZES + i, sizes);
    if (!raws) continue;
    v128.store(RAWS + (i << 1), v128.and(low, masksLow(sizes)));
    v128.store(RAWS + (i << 1), v128.and(high, masksHigh(sizes)), 16);
  }
}

/** Fills RAW_SIZES from TOKENS and LANE_LEVELS. */
export function rawSizesFind(count: usize): void {
  for (let i: usize = 0; i < count; i += 16) {
    v128.store(RAW_SIZES + i, rawSizes(v128.load(TOKENS + i), lookUp(SHIFTS, v128.load(LANE_LEVELS + i))));
  }
}

/** Fills RESIDUALS from TOKENS, RAW_SIZES and RAWS, of which what lies above a lane's raw bits is ignored; not of far lanes. */
export function residualsFind(count: usize, width: usize): void {
  if (width == 2) residuals16(count);
  else if (width == 4) residuals32(count);
  else residualsWide(count);
}

function residualsWide(count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const token = <usize>load<u8>(TOKENS + i);
    const first = <i64><i16>(<u32>load<u8>(FIRST_LOW + token) | (<u32>load<u8>(FIRST_HIGH + token) << 8));
    const raw = load<i64>(RAWS + (i << 3)) & (((<i64>1) << <i64>load<u8>(RAW_SIZES + i)) - 1);
    store<i64>(RESIDUALS + (i << 3), (first << shiftAt(i)) | raw);
  }
}

/** The first q of the tokens' runs (i16), of the first eight tokens. */
// @ts-ignore: decorator
@inline
export function firstsLow(token: v128): v128 {
  return v128.shuffle<i8>(lookUp(FIRST_LOW, token), lookUp(FIRST_HIGH, token), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** Of the other eight. */
// @ts-ignore: decorator
@inline
export function firstsHigh(token: v128): v128 {
  return v128.shuffle<i8>(lookUp(FIRST_LOW, token), lookUp(FIRST_HIGH, token), 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

function residuals16(count: usize): void {
  for (let i: usize = 0; i < count; i += 16) {
    const levels = v128.load(LANE_LEVELS + i);
    const token = v128.load(TOKENS + i), sizes = v128.load(RAW_SIZES + i);
    const low = v128.mul<i16>(firstsLow(token), unitsLow(levels));
    const high = v128.mul<i16>(firstsHigh(token), unitsHigh(levels));
    const rawLow = v128.and(v128.load(RAWS + (i << 1)), masksLow(sizes));
    const rawHigh = v128.and(v128.load(RAWS + (i << 1), 16), masksHigh(sizes));
    v128.store(RESIDUALS + (i << 1), v128.or(low, rawLow));
    v128.store(RESIDUALS + (i << 1), v128.or(high, rawHigh), 16);
  }
}
