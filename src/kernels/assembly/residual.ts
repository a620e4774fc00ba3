// Residuals against a parent, put into contexts. For each lane, from the raw bits x (chunk), p (parent) and
// g (grandparent), all as order-preserving integers (see ordered()):
//
//   r = x - p            what is coded
//   d = p - g            what the last step did (0 without a grandparent)
//   fold                 r changes sign where d < 0, or, where d = 0, where the weight is negative: "on in the same
//                        direction" is positive everywhere
//   level                how far p's exponent lies below the parent chunk's largest, 0-23: it fixes the ulp, and so
//                        how many of them a change of a given size is
//   shift                level - threshold, at least 0: residuals are counted in units of 2^shift, so that a change of
//                        one size is as many units whatever the weight's exponent; or the same for all levels
//   drift                class of |d| >> shift: 0 1 2 3 4-5 6-7 8-15 16-
//   context              min(level, 15) * 8 + drift
//
// Groups of 16 lanes that did not change may be left out (see map.ts); what is left lies closely packed.

import { BASE, BASE2, CONTEXTS, INPUT, LANE_LEVELS, MAP, OUTPUT, RESIDUALS } from "./memory";
import { prepare32, restore32 } from "./residual32";
import { BYTES_15, BYTES_16, BYTES_7, WORDS_23, WORDS_255, WORDS_TOP } from "./vectors";

export const LEVELS: u32 = 24;
/** Levels that contexts tell apart. */
export const CONTEXT_LEVELS: u32 = 16;

/** Shift of every level, u8; and for two-byte lanes 1 << shift, low and high bytes apart. */
export const SHIFTS = memory.data(32);
const UNITS_LOW = memory.data(32);
const UNITS_HIGH = memory.data(32);
/** 1 << (14 - shift), in the same way: products with it stand in for shifts that differ from lane to lane. */
const FACTORS_LOW = memory.data(32);
const FACTORS_HIGH = memory.data(32);

export let isFloat: bool = false;
export let mantissaBits: u64 = 0;
export let exponentMask: u64 = 0;
export let hasDrift: bool = false;
export let largestExponent: u32 = 0;
export let binsThreshold: i32 = 0;
export let binsRelative: bool = false;

/** What the lanes are. `drift` says whether a grandparent lies at BASE2. */
export function residualSetup(float: bool, mantissa: u32, exponents: u32, drift: bool): void {
  isFloat = float;
  mantissaBits = mantissa;
  exponentMask = exponents;
  hasDrift = drift;
  v128.store(EXPONENT_MASKS, i16x8.splat(<i16>exponents));
}

/**
 * Sets the threshold that shifts count from, and whether changes are relative to their weights (as those of running
 * averages are), so that every level has the same shift. No shift leaves less than five bits of a lane.
 */
export function residualBins(threshold: i32, relative: bool, width: usize): void {
  binsThreshold = threshold;
  binsRelative = relative;
  const widest = <i32>(width << 3) - 5;
  // 1 << shift as two bytes; a shift past 15 is never looked up that way.
  for (let level: i32 = 0; level < <i32>LEVELS; level++) {
    const shift = max<i32>(0, min<i32>((relative ? 0 : level) - threshold, widest));
    store<u8>(SHIFTS + level, shift);
    const unit: u32 = shift < 16 ? <u32>1 << shift : 0;
    store<u8>(UNITS_LOW + level, <u8>unit);
    store<u8>(UNITS_HIGH + level, <u8>(unit >>> 8));
    const factor: u32 = shift < 15 ? <u32>1 << (14 - shift) : 0;
    store<u8>(FACTORS_LOW + level, <u8>factor);
    store<u8>(FACTORS_HIGH + level, <u8>(factor >>> 8));
  }
}

/** Finds the parent's largest exponent; `count` is a multiple of 16. Call before anything below. */
export function residualExponent(count: usize, width: usize): void {
  largestExponent = largestOf(count, width);
  v128.store(LARGEST_EXPONENTS, i16x8.splat(<i16>largestExponent));
}

function largestOf(count: usize, width: usize): u32 {
  let largest: u32 = 0;
  if (exponentMask == 0) return 0;
  if (width == 2) {
    const mask = v128.load(EXPONENT_MASKS);
    let most = i16x8.splat(0);
    for (let at = BASE; at < BASE + (count << 1); at += 16) {
      most = v128.max<u16>(most, v128.and(v128.shr<u16>(v128.load(at), <i32>mantissaBits), mask));
    }
    for (let lane = 0; lane < 8; lane++) {
      largest = max(largest, <u32>i16x8.extract_lane_u(most, 0));
      most = v128.shuffle<i16>(most, most, 1, 2, 3, 4, 5, 6, 7, 0);
    }
    return largest;
  }
  if (width == 4) {
    // The largest magnitude has the largest exponent.
    let most = i32x4.splat(0);
    for (let at = BASE; at < BASE + (count << 2); at += 16) most = v128.max<u32>(most, v128.shl<i32>(v128.load(at), 1));
    for (let lane = 0; lane < 4; lane++) {
      largest = max(largest, <u32>i32x4.extract_lane(most, 0));
      most = v128.shuffle<i32>(most, most, 1, 2, 3, 0);
    }
    return <u32>(<u64>largest >> (mantissaBits + 1)) & <u32>exponentMask;
  }
  for (let i: usize = 0; i < count; i++) {
    largest = max(largest, <u32>((laneAt(BASE, i, width) >> mantissaBits) & exponentMask));
  }
  return largest;
}

// @ts-ignore: decorator
@inline
function laneAt(base: usize, i: usize, width: usize): u64 {
  if (width == 4) return load<u32>(base + (i << 2));
  if (width == 8) return load<u64>(base + (i << 3));
  if (width == 2) return load<u16>(base + (i << 1));
  return load<u8>(base + i);
}

/** Floats are sign and magnitude; these integers sort as the numbers do. */
// @ts-ignore: decorator
@inline
function ordered(x: u64, bits: u64): u64 {
  if (!isFloat) return x;
  const top = (<u64>1) << (bits - 1);
  return x & top ? ~x : x | top;
}

// @ts-ignore: decorator
@inline
function unordered(m: u64, bits: u64): u64 {
  if (!isFloat) return m;
  const top = (<u64>1) << (bits - 1);
  return m & top ? m ^ top : ~m;
}

// @ts-ignore: decorator
@inline
function driftClass(magnitude: u64): u32 {
  if (magnitude < 4) return <u32>magnitude;
  return magnitude < 6 ? 4 : magnitude < 8 ? 5 : magnitude < 16 ? 6 : 7;
}

// @ts-ignore: decorator
@inline
function foldsDown(d: i64, p: u64, bits: u64): bool {
  if (d != 0) return d < 0;
  return isFloat && ((p >> (bits - 1)) & 1) != 0;
}

// @ts-ignore: decorator
@inline
function driftAt(mp: u64, i: usize, width: usize, bits: u64): i64 {
  if (!hasDrift) return 0;
  return <i64>((mp - ordered(laneAt(BASE2, i, width), bits)) << (64 - bits)) >> (64 - bits);
}

/**
 * Fills LANE_LEVELS, CONTEXTS and, when encoding, RESIDUALS (i16 for two-byte lanes, i32 for four, else i64) for the groups marked in MAP;
 * returns how many lanes that is.
 */
export function residualPrepare(count: usize, width: usize, encoding: bool): usize {
  if (width == 2) return prepare16(count, encoding);
  if (width == 4) return prepare32(count, encoding);
  if (width == 8) return prepareWide(count, 8, encoding);
  return prepareWide(count, 1, encoding);
}

// @ts-ignore: decorator
@inline
function prepareWide(count: usize, width: usize, encoding: bool): usize {
  const bits = <u64>width << 3;
  const spare = 64 - bits;
  let out: usize = 0;
  for (let g: usize = 0; g < count; g += 16) {
    if (!load<u8>(MAP + (g >> 4))) continue;
    for (let i = g; i < g + 16; i++, out++) {
      const p = laneAt(BASE, i, width);
      const mp = ordered(p, bits);
      const d = driftAt(mp, i, width, bits);
      const level = min<u32>(largestExponent - <u32>((p >> mantissaBits) & exponentMask), LEVELS - 1);
      const drift = driftClass(<u64>(d < 0 ? -d : d) >> <u64>load<u8>(SHIFTS + level));
      store<u8>(LANE_LEVELS + out, level);
      store<u8>(CONTEXTS + out, (min(level, CONTEXT_LEVELS - 1) << 3) | drift);
      if (!encoding) continue;
      const r = <i64>((ordered(laneAt(INPUT, i, width), bits) - mp) << spare) >> spare;
      store<i64>(RESIDUALS + (out << 3), foldsDown(d, p, bits) ? -r : r);
    }
  }
  return out;
}

/** The inverse: OUTPUT from the bases and RESIDUALS; groups not marked are the parent's. */
export function residualRestore(count: usize, width: usize): void {
  if (width == 2) restore16(count);
  else if (width == 4) restore32(count);
  else if (width == 8) restoreWide(count, 8);
  else restoreWide(count, 1);
}

// @ts-ignore: decorator
@inline
function restoreWide(count: usize, width: usize): void {
  const bits = <u64>width << 3;
  let from: usize = 0;
  for (let g: usize = 0; g < count; g += 16) {
    if (!load<u8>(MAP + (g >> 4))) {
      memory.copy(OUTPUT + g * width, BASE + g * width, width << 4);
      continue;
    }
    for (let i = g; i < g + 16; i++, from++) {
      const p = laneAt(BASE, i, width);
      const mp = ordered(p, bits);
      const folded = load<i64>(RESIDUALS + (from << 3));
      const down = foldsDown(driftAt(mp, i, width, bits), p, bits);
      const x = unordered(mp + <u64>(down ? -folded : folded), bits);
      if (width == 1) store<u8>(OUTPUT + i, <u8>x);
      else store<u64>(OUTPUT + (i << 3), x);
    }
  }
}

// Lanes of two bytes, sixteen at a time. What all lanes have in common lies in memory, as vectors.

const EXPONENT_MASKS = memory.data(16, 16);
const LARGEST_EXPONENTS = memory.data(16, 16);

// @ts-ignore: decorator
@inline
function ordered16(x: v128): v128 {
  // negative: ~x; else x with the top bit set
  return isFloat ? v128.xor(x, v128.or(v128.shr<i16>(x, 15), v128.load(WORDS_TOP))) : x;
}

// @ts-ignore: decorator
@inline
function unordered16(m: v128): v128 {
  return isFloat ? v128.xor(m, v128.or(v128.not(v128.shr<i16>(m, 15)), v128.load(WORDS_TOP))) : m;
}

// @ts-ignore: decorator
@inline
function foldMask16(d: v128, p: v128): v128 {
  const down = v128.shr<i16>(d, 15);
  if (!isFloat) return down;
  return v128.or(down, v128.and(v128.eq<i16>(d, i16x8.splat(0)), v128.shr<i16>(p, 15)));
}

// @ts-ignore: decorator
@inline
function drift16(mp: v128, at: usize): v128 {
  return hasDrift ? v128.sub<i16>(mp, ordered16(v128.load(at))) : i16x8.splat(0);
}

// @ts-ignore: decorator
@inline
function level16(p: v128): v128 {
  const exponent = v128.and(v128.shr<u16>(p, <i32>mantissaBits), v128.load(EXPONENT_MASKS));
  return v128.min<u16>(v128.sub<i16>(v128.load(LARGEST_EXPONENTS), exponent), v128.load(WORDS_23));
}

/** Sixteen bytes of a table of 24 to 32, by index. */
// @ts-ignore: decorator
@inline
export function lookUp(table: usize, index: v128): v128 {
  const beyond = v128.sub<i8>(index, v128.load(BYTES_16));
  return v128.or(v128.swizzle(v128.load(table), index), v128.swizzle(v128.load(table, 16), beyond));
}

/** 1 << shift of sixteen levels (u8): the first eight, u16. */
// @ts-ignore: decorator
@inline
export function unitsLow(levels: v128): v128 {
  return v128.shuffle<i8>(lookUp(UNITS_LOW, levels), lookUp(UNITS_HIGH, levels), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** 1 << (14 - shift) of sixteen levels (u8): the first eight, u16. */
// @ts-ignore: decorator
@inline
export function factorsLow(levels: v128): v128 {
  return v128.shuffle<i8>(lookUp(FACTORS_LOW, levels), lookUp(FACTORS_HIGH, levels), 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

/** The other eight. */
// @ts-ignore: decorator
@inline
export function factorsHigh(levels: v128): v128 {
  return v128.shuffle<i8>(lookUp(FACTORS_LOW, levels), lookUp(FACTORS_HIGH, levels), 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** The other eight. */
// @ts-ignore: decorator
@inline
export function unitsHigh(levels: v128): v128 {
  return v128.shuffle<i8>(lookUp(UNITS_LOW, levels), lookUp(UNITS_HIGH, levels), 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** Drift classes of up to 15 units. */
const DRIFT_CLASSES = memory.data<u8>([0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6], 16);

/** Contexts (u8) of sixteen levels and the numbers of units (u8, 255 for more) that the last step moved their lanes by. */
// @ts-ignore: decorator
@inline
export function contextsOf(levels: v128, moved: v128): v128 {
  const drift = v128.or(
    v128.swizzle(v128.load(DRIFT_CLASSES), moved),
    v128.and(v128.gt<u8>(moved, v128.load(BYTES_15)), v128.load(BYTES_7)),
  );
  return v128.or(contextsWithoutDrift(levels), drift);
}

// @ts-ignore: decorator
@inline
export function contextsWithoutDrift(levels: v128): v128 {
  const capped = v128.min<u8>(levels, v128.load(BYTES_15));
  // At most 15: no bit leaves its byte.
  return v128.shl<i16>(capped, 3);
}

/** |d| / 2^shift rounded down of eight lanes, u16, 255 for more. */
// @ts-ignore: decorator
@inline
function unitsMoved16(d: v128, factor: v128): v128 {
  const m = v128.abs<i16>(d);
  const low = v128.shr<u32>(i32x4.extmul_low_i16x8_u(m, factor), 14);
  const high = v128.shr<u32>(i32x4.extmul_high_i16x8_u(m, factor), 14);
  return v128.min<u16>(i16x8.narrow_i32x4_u(low, high), v128.load(WORDS_255));
}

function prepare16(count: usize, encoding: bool): usize {
  let out: usize = 0, residuals = RESIDUALS;
  for (let at: usize = 0; at < count << 1; at += 32) {
    if (!load<u8>(MAP + (at >> 5))) continue;
    const pa = v128.load(BASE + at), pb = v128.load(BASE + at, 16);
    const ma = ordered16(pa), mb = ordered16(pb);
    const levels = i8x16.narrow_i16x8_u(level16(pa), level16(pb));
    v128.store(LANE_LEVELS + out, levels);
    let fa = isFloat ? v128.shr<i16>(pa, 15) : i16x8.splat(0), fb = isFloat ? v128.shr<i16>(pb, 15) : i16x8.splat(0);
    if (hasDrift) {
      const da = drift16(ma, BASE2 + at), db = drift16(mb, BASE2 + at + 16);
      const moved = i8x16.narrow_i16x8_u(unitsMoved16(da, factorsLow(levels)), unitsMoved16(db, factorsHigh(levels)));
      v128.store(CONTEXTS + out, contextsOf(levels, moved));
      fa = foldMask16(da, pa);
      fb = foldMask16(db, pb);
    } else v128.store(CONTEXTS + out, contextsWithoutDrift(levels));
    out += 16;
    if (!encoding) continue;
    const ra = v128.sub<i16>(ordered16(v128.load(INPUT + at)), ma);
    const rb = v128.sub<i16>(ordered16(v128.load(INPUT + at, 16)), mb);
    v128.store(residuals, v128.sub<i16>(v128.xor(ra, fa), fa));
    v128.store(residuals, v128.sub<i16>(v128.xor(rb, fb), fb), 16);
    residuals += 32;
  }
  return out;
}

function restore16(count: usize): void {
  let residuals = RESIDUALS;
  for (let at: usize = 0; at < count << 1; at += 32) {
    if (!load<u8>(MAP + (at >> 5))) {
      v128.store(OUTPUT + at, v128.load(BASE + at));
      v128.store(OUTPUT + at, v128.load(BASE + at, 16), 16);
      continue;
    }
    for (let half: usize = 0; half < 32; half += 16) {
      const p = v128.load(BASE + at + half);
      const mp = ordered16(p);
      const fold = foldMask16(drift16(mp, BASE2 + at + half), p);
      const r = v128.load(residuals + half);
      v128.store(OUTPUT + at + half, unordered16(v128.add<i16>(mp, v128.sub<i16>(v128.xor(r, fold), fold))));
    }
    residuals += 32;
  }
}
