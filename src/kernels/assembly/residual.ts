// Residuals against a parent, folded and put into contexts. For each element, from the raw lanes x (chunk), p
// (parent) and g (grandparent), all in order-preserving integers (see ordered()):
//
//   r = x - p            what is coded
//   d = p - g            what the last step did (0 without a grandparent)
//   fold                 r changes sign where d < 0, or, where d = 0, where the weight is negative: so that "on in the
//                        same direction" is positive everywhere
//   context = level * 8 + drift
//     level              how far p's exponent lies below the parent chunk's largest, 0..23: it fixes the ulp, and so
//                        how many of them a change of a given size is
//     drift              how large d was, 0..7
//
// Groups of 16 elements that did not change may be left out; what is left lies closely packed.

import {
  BASE, BASE2, CONTEXTS, INPUT, LIST, MAP, MAP_CONTEXTS, OUTPUT, RESIDUALS, WORK,
} from "./memory";

/** Models: 192 contexts of residuals, then what each coder adds, then those of the map (see modelsReset). */
export const MAP_MODEL: u32 = 480;
const LEVEL_MAX: u32 = 23;
/** For wide lanes: what turns a bit length into a size on the common scale, i16 a lane. */
export const SHIFTS: usize = WORK;

let isFloat = false;
let mantissaBits: u64 = 0;
let exponentMask: u64 = 0;
let hasDrift = false;
let largestExponent: u32 = 0;
/** For wide lanes: log2 of a change relative to the largest exponent, from which token 2 counts. */
let scale: i32 = 0;

/** What the lanes are. `drift` says whether a grandparent lies at BASE2. */
export function residualSetup(float: bool, mantissa: u32, exponents: u32, drift: bool, scaleOf: i32): void {
  isFloat = float;
  mantissaBits = mantissa;
  exponentMask = exponents;
  hasDrift = drift;
  scale = scaleOf;
}

/** The parent's largest exponent; `count` is a multiple of 16. Call before anything else. */
export function residualExponent(count: usize, width: usize): u32 {
  largestExponent = 0;
  if (exponentMask == 0) return 0;
  if (width == 2) {
    const mask = i16x8.splat(<i16>exponentMask);
    let most = i16x8.splat(0);
    for (let at = BASE; at < BASE + (count << 1); at += 16) {
      most = v128.max<u16>(most, v128.and(v128.shr<u16>(v128.load(at), <i32>mantissaBits), mask));
    }
    for (let lane = 0; lane < 8; lane++) {
      const exponent = <u32>u16(i16x8.extract_lane_u(most, 0));
      if (exponent > largestExponent) largestExponent = exponent;
      most = v128.shuffle<i16>(most, most, 1, 2, 3, 4, 5, 6, 7, 0);
    }
    return largestExponent;
  }
  for (let i: usize = 0; i < count; i++) {
    const exponent = <u32>((laneAt(BASE, i, width) >> mantissaBits) & exponentMask);
    if (exponent > largestExponent) largestExponent = exponent;
  }
  return largestExponent;
}

// @ts-ignore: decorator
@inline
function laneAt(base: usize, i: usize, width: usize): u64 {
  if (width == 4) return load<u32>(base + (i << 2));
  if (width == 8) return load<u64>(base + (i << 3));
  return load<u8>(base + i);
}

/** Order-preserving: floats as sign and magnitude become integers that sort as the numbers do. */
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
function bitLength(v: u64): i32 {
  return <i32>(64 - clz(v));
}

// @ts-ignore: decorator
@inline
function levelOf(p: u64): u32 {
  const level = largestExponent - <u32>((p >> mantissaBits) & exponentMask);
  return level < LEVEL_MAX ? level : LEVEL_MAX;
}

/** Drift of a narrow lane: by magnitude 0 1 2 3 4-5 6-7 8-15 16-. */
// @ts-ignore: decorator
@inline
function narrowDrift(magnitude: u64): u32 {
  if (magnitude < 4) return <u32>magnitude;
  return magnitude < 6 ? 4 : magnitude < 8 ? 5 : magnitude < 16 ? 6 : 7;
}

/** Drift of a wide lane: its size on the same scale as the tokens, by two bits a class. */
// @ts-ignore: decorator
@inline
function wideDrift(magnitude: u64, p: u64): u32 {
  if (magnitude == 0) return 0;
  const size = tokenShift(p) + bitLength(magnitude);
  return size < 2 ? 1 : size > 12 ? 7 : 1 + (<u32>size >> 1);
}

/** What is added to a bit length to put changes of every exponent on one scale, counted from `scale`. */
// @ts-ignore: decorator
@inline
export function tokenShift(p: u64): i32 {
  return <i32>((p >> mantissaBits) & exponentMask) - <i32>largestExponent - scale;
}

/** How large lane i's change is on the scale of the parent's largest exponent; far out of range when it is none. */
export function sizeOnScale(i: usize, width: usize): i32 {
  const bits = <u64>width << 3;
  const spare = 64 - bits;
  const p = laneAt(BASE, i, width);
  const r = <i64>((ordered(laneAt(INPUT, i, width), bits) - ordered(p, bits)) << spare) >> spare;
  if (r == 0) return -1000000;
  return bitLength(<u64>(r < 0 ? -r : r)) + <i32>((p >> mantissaBits) & exponentMask) - <i32>largestExponent;
}

/** How many groups of 16 lanes equal the parent's. */
export function residualSameGroups(count: usize, width: usize): usize {
  const groupBytes = width << 4;
  let same: usize = 0;
  for (let at: usize = 0; at < count * width; at += groupBytes) {
    let differs = i64x2.splat(0);
    for (let b: usize = 0; b < groupBytes; b += 16) {
      differs = v128.or(differs, v128.xor(v128.load(INPUT + at + b), v128.load(BASE + at + b)));
    }
    same += usize(!v128.any_true(differs));
  }
  return same;
}

/** Marks in MAP which groups changed, with the context of each: did it change last time, did its two neighbours. */
export function residualMap(count: usize, width: usize): void {
  const groupBytes = width << 4;
  let last: u32 = 0, beforeLast: u32 = 0;
  const groups = count >> 4;
  for (let g: usize = 0; g < groups; g++) {
    const at = g * groupBytes;
    let differs = i64x2.splat(0), differed = i64x2.splat(0);
    for (let b: usize = 0; b < groupBytes; b += 16) {
      const parent = v128.load(BASE + at + b);
      differs = v128.or(differs, v128.xor(v128.load(INPUT + at + b), parent));
      if (hasDrift) differed = v128.or(differed, v128.xor(v128.load(BASE2 + at + b), parent));
    }
    const changed = u32(v128.any_true(differs));
    store<u8>(MAP + g, changed);
    store<u16>(MAP_CONTEXTS + (g << 1), MAP_MODEL + u32(v128.any_true(differed)) + (last << 1) + (beforeLast << 2));
    beforeLast = last;
    last = changed;
  }
}

/** The part of a group's context that the bases give: 1 if it changed last time. */
export function groupDrifted(group: usize, width: usize): u32 {
  if (!hasDrift) return 0;
  const groupBytes = width << 4;
  const at = group * groupBytes;
  let differed = i64x2.splat(0);
  for (let b: usize = 0; b < groupBytes; b += 16) {
    differed = v128.or(differed, v128.xor(v128.load(BASE2 + at + b), v128.load(BASE + at + b)));
  }
  return u32(v128.any_true(differed));
}

/** Marks every group as changed. */
export function residualMapAll(count: usize): void {
  memory.fill(MAP, 1, count >> 4);
}

/**
 * Fills CONTEXTS and, when encoding, RESIDUALS (i16 for lanes of 1 and 2 bytes, else i64) for the groups marked in
 * MAP; returns how many lanes that is.
 */
export function residualPrepare(count: usize, width: usize, encoding: bool): usize {
  if (width == 2) return prepare16(count, encoding);
  const bits = <u64>width << 3;
  const spare = 64 - bits;
  let out: usize = 0;
  for (let g: usize = 0; g < count; g += 16) {
    if (!load<u8>(MAP + (g >> 4))) continue;
    for (let i = g; i < g + 16; i++, out++) {
      const p = laneAt(BASE, i, width);
      const mp = ordered(p, bits);
      const d = hasDrift ? <i64>((mp - ordered(laneAt(BASE2, i, width), bits)) << spare) >> spare : 0;
      const magnitude = <u64>(d < 0 ? -d : d);
      const drift = width == 1 ? narrowDrift(magnitude) : wideDrift(magnitude, p);
      store<u16>(CONTEXTS + (out << 1), (levelOf(p) << 3) | drift);
      if (width > 1) store<i16>(SHIFTS + (out << 1), <i16>tokenShift(p));
      if (!encoding) continue;
      const r = <i64>((ordered(laneAt(INPUT, i, width), bits) - mp) << spare) >> spare;
      const folded = foldsDown(d, p, bits) ? -r : r;
      if (width == 1) store<i16>(RESIDUALS + (out << 1), <i16>folded);
      else store<i64>(RESIDUALS + (out << 3), folded);
    }
  }
  return out;
}

// @ts-ignore: decorator
@inline
function foldsDown(d: i64, p: u64, bits: u64): bool {
  if (d != 0) return d < 0;
  return isFloat && ((p >> (bits - 1)) & 1) != 0;
}

/** The inverse: OUTPUT from the bases and RESIDUALS; groups not marked are the parent's. */
export function residualRestore(count: usize, width: usize): void {
  if (width == 2) {
    restore16(count);
    return;
  }
  const bits = <u64>width << 3;
  const spare = 64 - bits;
  let from: usize = 0;
  for (let g: usize = 0; g < count; g += 16) {
    if (!load<u8>(MAP + (g >> 4))) {
      memory.copy(OUTPUT + g * width, BASE + g * width, width << 4);
      continue;
    }
    for (let i = g; i < g + 16; i++, from++) {
      const p = laneAt(BASE, i, width);
      const mp = ordered(p, bits);
      const d = hasDrift ? <i64>((mp - ordered(laneAt(BASE2, i, width), bits)) << spare) >> spare : 0;
      const folded = width == 1 ? <i64>load<i16>(RESIDUALS + (from << 1)) : load<i64>(RESIDUALS + (from << 3));
      const x = unordered(mp + <u64>(foldsDown(d, p, bits) ? -folded : folded), bits);
      if (width == 1) store<u8>(OUTPUT + i, <u8>x);
      else if (width == 4) store<u32>(OUTPUT + (i << 2), <u32>x);
      else store<u64>(OUTPUT + (i << 3), x);
    }
  }
}

// Lanes of two bytes, eight at a time.

// @ts-ignore: decorator
@inline
function ordered16(x: v128): v128 {
  // negative: ~x; else x with the top bit set
  return isFloat ? v128.xor(x, v128.or(v128.shr<i16>(x, 15), i16x8.splat(-32768))) : x;
}

// @ts-ignore: decorator
@inline
function unordered16(m: v128): v128 {
  return isFloat ? v128.xor(m, v128.or(v128.not(v128.shr<i16>(m, 15)), i16x8.splat(-32768))) : m;
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
function contexts16(p: v128, d: v128): v128 {
  const exponent = v128.and(v128.shr<u16>(p, <i32>mantissaBits), i16x8.splat(<i16>exponentMask));
  const level = v128.min<u16>(
    v128.sub<i16>(i16x8.splat(<i16>largestExponent), exponent), i16x8.splat(<i16>LEVEL_MAX),
  );
  // |d| as unsigned: -32768 stays 32768
  const magnitude = v128.min<u16>(v128.abs<i16>(d), i16x8.splat(16));
  const table = i8x16(0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6);
  const small = v128.and(v128.swizzle(table, magnitude), i16x8.splat(255));
  const drift = v128.bitselect(i16x8.splat(7), small, v128.eq<i16>(magnitude, i16x8.splat(16)));
  return v128.or(v128.shl<i16>(level, 3), drift);
}

function prepare16(count: usize, encoding: bool): usize {
  let contexts = CONTEXTS, residuals = RESIDUALS;
  for (let at: usize = 0; at < count << 1; at += 32) {
    if (!load<u8>(MAP + (at >> 5))) continue;
    for (let half: usize = 0; half < 32; half += 16) {
      const p = v128.load(BASE + at + half);
      const mp = ordered16(p);
      const d = hasDrift ? v128.sub<i16>(mp, ordered16(v128.load(BASE2 + at + half))) : i16x8.splat(0);
      v128.store(contexts + half, contexts16(p, d));
      if (encoding) {
        const r = v128.sub<i16>(ordered16(v128.load(INPUT + at + half)), mp);
        const fold = foldMask16(d, p);
        v128.store(residuals + half, v128.sub<i16>(v128.xor(r, fold), fold));
      }
    }
    contexts += 32;
    residuals += 32;
  }
  return (contexts - CONTEXTS) >> 1;
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
      const d = hasDrift ? v128.sub<i16>(mp, ordered16(v128.load(BASE2 + at + half))) : i16x8.splat(0);
      const fold = foldMask16(d, p);
      const r = v128.load(residuals + half);
      const x = v128.add<i16>(mp, v128.sub<i16>(v128.xor(r, fold), fold));
      v128.store(OUTPUT + at + half, unordered16(x));
    }
    residuals += 32;
  }
}

/** Positions (u32, in LIST) of the symbols that are at least `least`; returns how many. */
export function listAtLeast(symbols: usize, count: usize, least: u32): usize {
  let out = LIST;
  const floor = i8x16.splat(<i8>(least - 1));
  for (let i: usize = 0; i < count; i += 16) {
    let hits = <u32>v128.bitmask<i8>(v128.gt<i8>(v128.load(symbols + i), floor));
    if (i + 16 > count) hits &= (1 << <u32>(count - i)) - 1;
    while (hits) {
      store<u32>(out, <u32>i + ctz(hits));
      out += 4;
      hits &= hits - 1;
    }
  }
  return (out - LIST) >> 2;
}
