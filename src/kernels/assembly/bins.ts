// Bins of folded residuals: q = r >> shift is a symbol, the `shift` bits below it are raw.
//
//   plain    0: q <= -8    1-14: q = -7 … 6    15: q >= 7
//   zeros    0: q <= -7    1-13: q = -6 … 6    14: q >= 7    15: r = 0 (and no raw bits)
//
// Beyond the bins: e = how far beyond, plus 1, in n bits. A symbol holds min(n - 1, 15), by level; if that is 15, six
// raw bits hold n - 16; then the n - 1 bits below e's leading one, raw.

import { BITS, CONTEXTS, LIST, LIST_CONTEXTS, LIST_SYMBOLS, RESIDUALS, SYMBOLS } from "./memory";
import { decodePass, encodePass } from "./models";
import { symbols32 } from "./residual32";
import { factorsHigh, factorsLow, LEVELS, lookUp, SHIFTS, unitsHigh, unitsLow } from "./residual";

export const BEYOND_MODEL: u32 = LEVELS * 8;

let zeros = false;
/** Symbol of q = 0, and of all beyond the bins on the positive side. */
let middle: i32 = 8;
let highest: u32 = 15;

export function binsSetup(withZeros: bool): void {
  zeros = withZeros;
  middle = withZeros ? 7 : 8;
  highest = withZeros ? 14 : 15;
}

// @ts-ignore: decorator
@inline
export function residualAt(position: usize, width: usize): i64 {
  if (width == 2) return <i64>load<i16>(RESIDUALS + (position << 1));
  if (width == 4) return <i64>load<i32>(RESIDUALS + (position << 2));
  return load<i64>(RESIDUALS + (position << 3));
}

// @ts-ignore: decorator
@inline
function storeResidual(position: usize, width: usize, r: i64): void {
  if (width == 2) store<i16>(RESIDUALS + (position << 1), <i16>r);
  else if (width == 4) store<i32>(RESIDUALS + (position << 2), <i32>r);
  else store<i64>(RESIDUALS + (position << 3), r);
}

// @ts-ignore: decorator
@inline
function contextAt(position: usize): u32 {
  return <u32>load<u16>(CONTEXTS + (position << 1));
}

// @ts-ignore: decorator
@inline
function shiftAt(position: usize): u64 {
  return <u64>load<u8>(SHIFTS + (contextAt(position) >>> 3));
}

/** Fills SYMBOLS from RESIDUALS; `count` is a multiple of 16. */
export function binsSymbols(count: usize, width: usize): void {
  if (width == 2) {
    symbols16(count);
    return;
  }
  if (width == 4) {
    symbols32(count, zeros);
    return;
  }
  const top = <i64>highest;
  for (let i: usize = 0; i < count; i++) {
    const r = load<i64>(RESIDUALS + (i << 3));
    const symbol = max<i64>(0, min<i64>((r >> shiftAt(i)) + middle, top));
    store<u8>(SYMBOLS + i, <u8>(zeros && r == 0 ? 15 : symbol));
  }
}

/** Eight symbols: r / 2^shift rounded down, by a product with 2^(14 - shift) of which 14 bits are dropped. */
// @ts-ignore: decorator
@inline
function symbolsOf16(r: v128, factor: v128): v128 {
  const low = v128.shr<i32>(i32x4.extmul_low_i16x8_s(r, factor), 14);
  const high = v128.shr<i32>(i32x4.extmul_high_i16x8_s(r, factor), 14);
  // Adding to what is as large as it gets would turn it over: it is cut off first.
  const q = v128.max<i16>(v128.min<i16>(i16x8.narrow_i32x4_s(low, high), i16x8.splat(16)), i16x8.splat(-16));
  const shifted = v128.add<i16>(q, i16x8.splat(<i16>middle));
  const symbol = v128.max<i16>(v128.min<i16>(shifted, i16x8.splat(<i16>highest)), i16x8.splat(0));
  return zeros ? v128.bitselect(i16x8.splat(15), symbol, v128.eq<i16>(r, i16x8.splat(0))) : symbol;
}

// @ts-ignore: decorator
@inline
function levels16(i: usize): v128 {
  const contexts = CONTEXTS + (i << 1);
  return i8x16.narrow_i16x8_u(v128.shr<u16>(v128.load(contexts), 3), v128.shr<u16>(v128.load(contexts, 16), 3));
}

function symbols16(count: usize): void {
  for (let i: usize = 0; i < count; i += 16) {
    const levels = levels16(i);
    const low = symbolsOf16(v128.load(RESIDUALS + (i << 1)), factorsLow(levels));
    const high = symbolsOf16(v128.load(RESIDUALS + (i << 1), 16), factorsHigh(levels));
    v128.store(SYMBOLS + i, i8x16.narrow_i16x8_u(low, high));
  }
}

let at: usize = 0;
let held: u64 = 0;
let fill: u64 = 0;

// @ts-ignore: decorator
@inline
function putBits(value: u64, bits: u64): void {
  held |= value << fill;
  store<u64>(at, held);
  fill += bits;
  const whole = fill >> 3;
  at += <usize>whole;
  held = whole == 8 ? 0 : held >> (whole << 3);
  fill &= 7;
}

/** Up to 64 bits, in two halves where they would not fit beside what is held. */
// @ts-ignore: decorator
@inline
function putLong(value: u64, bits: u64): void {
  if (bits > 48) {
    putBits(value & 0xffffffff, 32);
    putBits((value >> 32) & (((<u64>1) << (bits - 32)) - 1), bits - 32);
  } else putBits(value & (((<u64>1) << bits) - 1), bits);
}

/** Writes the raw bits, codes what lies beyond the bins; returns the bits written raw. */
export function binsEncodeRest(count: usize, width: usize): usize {
  at = BITS;
  held = 0;
  fill = 0;
  if (width == 2) putLow16(count);
  else if (width == 4) putLowWide(count, 4);
  else putLowWide(count, 8);
  const listed = listBeyond(count);
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const beyond = beyondOf(position, width);
    const length = 64 - clz(beyond);
    store<u8>(LIST_SYMBOLS + j, <u8>min<u64>(length - 1, 15));
    store<u16>(LIST_CONTEXTS + (j << 1), BEYOND_MODEL + (contextAt(position) >>> 3));
    if (length > 15) putBits(length - 16, 6);
    putLong(beyond, length - 1);
  }
  encodePass(LIST_SYMBOLS, LIST_CONTEXTS, listed);
  return ((at - BITS) << 3) + <usize>fill;
}

// @ts-ignore: decorator
@inline
function putLowWide(count: usize, width: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const r = residualAt(i, width);
    const shift: u64 = zeros && r == 0 ? 0 : shiftAt(i);
    if (width == 4) putBits(<u64>r & (((<u64>1) << shift) - 1), shift);
    else putLong(<u64>r, shift);
  }
}

function putLow16(count: usize): void {
  let to = at, bits: u64 = 0, size: u64 = 0;
  for (let i: usize = 0; i < count; i += 16) {
    if (noShifts(i)) continue;
    storeShifts(levels16(i), v128.load(SYMBOLS + i));
    for (let j: usize = 0; j < 16; j += 4) {
      const lanes = load<u64>(RESIDUALS + ((i + j) << 1));
      const shifts = load<u32>(LANE_SHIFTS + j);
      const s0 = <u64>(shifts & 255), s1 = <u64>((shifts >>> 8) & 255), s2 = <u64>((shifts >>> 16) & 255);
      const s3 = <u64>(shifts >>> 24);
      const at2 = s0 + s1, at3 = at2 + s2;
      const lows = lowBits(lanes, s0) | (lowBits(lanes >> 16, s1) << s0) | (lowBits(lanes >> 32, s2) << at2)
        | (lowBits(lanes >> 48, s3) << at3);
      bits |= lows << size;
      size += at3 + s3;
      store<u64>(to, bits);
      const whole = size >> 3;
      to += <usize>whole;
      bits >>= whole << 3;
      size &= 7;
    }
  }
  at = to;
  held = bits;
  fill = size;
}

/** Whether none of sixteen lanes has raw low bits. */
// @ts-ignore: decorator
@inline
function noShifts(i: usize): bool {
  const levels = levels16(i);
  const more = v128.gt<i16>(
    v128.max<i16>(unitsLow(levels), unitsHigh(levels)), i16x8.splat(1),
  );
  return !v128.any_true(more);
}

// @ts-ignore: decorator
@inline
function beyondOf(position: usize, width: usize): u64 {
  const q = residualAt(position, width) >> shiftAt(position);
  return <u64>(q < 0 ? -middle - q : q - 7) + 1;
}

/** Positions (u32, in LIST) of the lanes beyond the bins; returns how many. */
function listBeyond(count: usize): usize {
  let out = LIST;
  const lowest = i8x16.splat(0);
  const top = i8x16.splat(<i8>highest);
  for (let i: usize = 0; i < count; i += 16) {
    const symbols = v128.load(SYMBOLS + i);
    let hits = <u32>v128.bitmask<i8>(v128.or(v128.eq<i8>(symbols, lowest), v128.eq<i8>(symbols, top)));
    while (hits) {
      store<u32>(out, <u32>i + ctz(hits));
      out += 4;
      hits &= hits - 1;
    }
  }
  return (out - LIST) >> 2;
}

// @ts-ignore: decorator
@inline
function bitsAt(bit: usize, bits: u64): u64 {
  return (load<u64>(BITS + (bit >> 3)) >> <u64>(bit & 7)) & (((<u64>1) << bits) - 1);
}

// @ts-ignore: decorator
@inline
function longBitsAt(bit: usize, bits: u64): u64 {
  return bits > 48 ? bitsAt(bit, 32) | (bitsAt(bit + 32, bits - 32) << 32) : bitsAt(bit, bits);
}

/** RESIDUALS from SYMBOLS, the raw bits and what lies beyond the bins; returns the bits read, or -1. */
export function binsDecodeRest(count: usize, width: usize): i32 {
  let bit = width == 2 ? low16(count) : width == 4 ? lowWide(count, 4) : lowWide(count, 8);
  const listed = listBeyond(count);
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    store<u16>(LIST_CONTEXTS + (j << 1), BEYOND_MODEL + (contextAt(position) >>> 3));
  }
  if (!decodePass(LIST_SYMBOLS, LIST_CONTEXTS, listed)) return -1;
  const longest = <u64>width << 3;
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    let rest = <u64>load<u8>(LIST_SYMBOLS + j);
    if (rest == 15) {
      rest += bitsAt(bit, 6);
      bit += 6;
    }
    if (rest > longest) return -1;
    const beyond = <i64>(((<u64>1) << rest) | longBitsAt(bit, rest)) - 1;
    bit += <usize>rest;
    const q = load<u8>(SYMBOLS + position) == 0 ? -<i64>middle - beyond : 7 + beyond;
    const shift = shiftAt(position);
    const low = residualAt(position, width) & (((<i64>1) << shift) - 1);
    const r = (q << shift) | low;
    storeResidual(position, width, r);
  }
  return <i32>bit;
}

/** Residuals of lanes within the bins, and the low bits of those beyond; returns the raw bits read. */
// @ts-ignore: decorator
@inline
function lowWide(count: usize, width: usize): usize {
  let bit: usize = 0;
  for (let i: usize = 0; i < count; i++) {
    const symbol = <i64>load<u8>(SYMBOLS + i);
    const unchanged = zeros && symbol == 15;
    const shift: u64 = unchanged ? 0 : shiftAt(i);
    const q: i64 = unchanged ? 0 : symbol - middle;
    const low = width == 4 ? bitsAt(bit, shift) : longBitsAt(bit, shift);
    storeResidual(i, width, (q << shift) | <i64>low);
    bit += <usize>shift;
  }
  return bit;
}

const LANE_SHIFTS = memory.data(16);

// @ts-ignore: decorator
@inline
function lowBits(value: u64, bits: u64): u64 {
  return value & (((<u64>1) << bits) - 1);
}

/** Leaves the shifts of sixteen lanes in LANE_SHIFTS; 0 for lanes whose symbol says that they did not change. */
// @ts-ignore: decorator
@inline
function storeShifts(levels: v128, symbols: v128): void {
  let shifts = lookUp(SHIFTS, levels);
  if (zeros) shifts = v128.and(shifts, v128.ne<i8>(symbols, i8x16.splat(15)));
  v128.store(LANE_SHIFTS, shifts);
}

function low16(count: usize): usize {
  let bit: usize = 0;
  for (let i: usize = 0; i < count; i += 16) {
    const symbols = v128.load(SYMBOLS + i);
    const q = v128.sub<i8>(symbols, i8x16.splat(<i8>middle));
    const to = RESIDUALS + (i << 1);
    let low = i16x8.extend_low_i8x16_s(q);
    let high = i16x8.extend_high_i8x16_s(q);
    if (zeros) {
      const some = v128.ne<i8>(symbols, i8x16.splat(15));
      low = v128.and(low, i16x8.extend_low_i8x16_s(some));
      high = v128.and(high, i16x8.extend_high_i8x16_s(some));
    }
    if (noShifts(i)) {
      v128.store(to, low);
      v128.store(to, high, 16);
      continue;
    }
    const levels = levels16(i);
    v128.store(to, v128.mul<i16>(low, unitsLow(levels)));
    v128.store(to, v128.mul<i16>(high, unitsHigh(levels)), 16);
    storeShifts(levels, symbols);
    for (let j: usize = 0; j < 16; j += 4) {
      // Four lanes have 44 bits at most: one load holds them, wherever in a byte they begin.
      const word = load<u64>(BITS + (bit >> 3)) >> <u64>(bit & 7);
      const shifts = load<u32>(LANE_SHIFTS + j);
      const s0 = <u64>(shifts & 255), s1 = <u64>((shifts >>> 8) & 255), s2 = <u64>((shifts >>> 16) & 255);
      const s3 = <u64>(shifts >>> 24);
      const at1 = s0, at2 = s0 + s1, at3 = at2 + s2;
      const lows = lowBits(word, s0) | (lowBits(word >> at1, s1) << 16) | (lowBits(word >> at2, s2) << 32)
        | (lowBits(word >> at3, s3) << 48);
      store<u64>(to + (j << 1), load<u64>(to + (j << 1)) | lows);
      bit += <usize>(at3 + s3);
    }
  }
  return bit;
}

/** Bits that what lies beyond the bins takes, without writing it: an estimate. */
export function binsBeyondCost(count: usize, width: usize): u64 {
  const listed = listBeyond(count);
  let bits: u64 = 0;
  for (let j: usize = 0; j < listed; j++) {
    const length = 64 - clz(beyondOf(<usize>load<u32>(LIST + (j << 2)), width));
    bits += length + (length > 15 ? 8 : 2);
  }
  return bits;
}

/** Of symbol counts (u32, 16 of them), that of lanes without raw bits. */
export function binsUnchanged(counts: usize): u32 {
  return zeros ? load<u32>(counts, 60) : 0;
}
