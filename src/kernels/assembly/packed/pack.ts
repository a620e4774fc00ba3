// Differences packed by level: each lane has as many bits as its level's width says, which the parent tells, so that a
// decoder knows where every lane begins before it reads any. Least significant bit of a byte first.
//
// Sixteen lanes at a time: pairs are joined by a product with a power of two (vectors have no shift by lane), four lanes
// by a shift, and four lanes are one write or read of 64 bits. Byte planes carry lanes of other widths than two.

import { BASE, BASE2, BITS, INPUT, OUTPUT, STREAM, WORK } from "../memory";
import { even, odd, zipHigh, zipLow } from "../planes";
import { moved } from "../transform";
import { isFloat, levelsAt, maskVector, topVector } from "./levels";
import { patchAdd, patchesBegin } from "./patches";
import { LONGS_1, LONGS_LOWER, WORDS_1 } from "../vectors";
import { WIDTHS } from "./plan";

/** One bit a lane: whether it changed. */
const CHANGED: usize = BASE2;
/** Lanes that go through all stages together, so that what lies between them stays in the nearest cache. */
const BLOCK: usize = 1024;
/** Of a block: widths u8 by lane; pairs u32; by four lanes u32: bits of the first two, and bits of all << 16. */
const LANE_WIDTHS: usize = memory.data(1024, 16);
const PAIRS: usize = memory.data(2048, 16);
const SIZES: usize = memory.data(1024, 16);

/** 2^n, 2^n - 1 and 2^(15 - n) for n from 0 to 15, lower and upper bytes. */
const POWERS_LOW = memory.data<u8>([1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0], 16);
const POWERS_HIGH = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128], 16);
const MASKS_LOW = memory.data<u8>([0, 1, 3, 7, 15, 31, 63, 127, 255, 255, 255, 255, 255, 255, 255, 255], 16);
const MASKS_HIGH = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 7, 15, 31, 63, 127], 16);
const RISES_LOW = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 128, 64, 32, 16, 8, 4, 2, 1], 16);
const RISES_HIGH = memory.data<u8>([128, 64, 32, 16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0], 16);
const BIT_OF_LANE = memory.data<u8>([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128], 16);
const BYTE_OF_LANE = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], 16);

export function packedChanged(): usize {
  return CHANGED;
}

/** Where packed bits are written to. */
export function packedBits(): usize {
  return STREAM;
}

/** Bits that four lanes take, and above them those that the first two take. */
// @ts-ignore: decorator
@inline
function sizesOf(widths: v128, ones: v128, lower: v128): v128 {
  const pairs = i16x8.extadd_pairwise_i8x16_u(widths);
  return v128.or(v128.and(pairs, lower), v128.shl<i32>(i32x4.dot_i16x8_s(pairs, ones), 16));
}

let bitsHeld: u64 = 0, bitsFill: u64 = 0, bitsAt: usize = 0;

/**
 * Packs the zigzag differences at OUTPUT, of which byte planes lie at WORK unless lanes have two bytes; `count` is a
 * multiple of 16. Returns the bits written, or -1 for more patches than are ever written.
 */
export function packedWrite(count: usize, width: usize, low: usize, mapped: bool): i32 {
  patchesBegin();
  bitsAt = STREAM;
  bitsHeld = 0;
  bitsFill = 0;
  for (let from: usize = 0; from < count; from += BLOCK) {
    const to = min(count, from + BLOCK);
    let fine: bool;
    if (width == 2 && low == 0) {
      fine = mapped ? joinLanes<u16>(from, to, count, 2, 0, true) : joinLanes<u16>(from, to, count, 2, 0, false);
    } else fine = joinLanes<u8>(from, to, count, width, low, mapped);
    if (!fine) return -1;
    appendFours((to - from) >> 2);
  }
  store<u64>(bitsAt, bitsHeld);
  return <i32>(((bitsAt - STREAM) << 3) + <usize>bitsFill);
}

/** Fills PAIRS and SIZES from the lanes' lowest bits, and lists those that have more. T: u16 as they lie, u8 from planes. */
// @ts-ignore: decorator
@inline
function joinLanes<T>(from: usize, to: usize, count: usize, width: usize, low: usize, mapped: bool): bool {
  const widthOf = v128.load(WIDTHS), powersLow = v128.load(POWERS_LOW), powersHigh = v128.load(POWERS_HIGH);
  const ones = v128.load(WORDS_1), one = v128.load(LONGS_1), none = i64x2.splat(0), lower = v128.load(LONGS_LOWER);
  const top = topVector(width), mask = maskVector(width);
  let pairs = PAIRS, sizes = SIZES;
  for (let i = from; i < to; i += 16) {
    let widths = v128.swizzle(widthOf, levelsAt(BASE + i * width, width, top, mask));
    // Lanes' lowest sixteen bits, and all ones where there are more.
    let a: v128, b: v128, moreA = none, moreB = none;
    if (sizeof<T>() == 2) {
      a = v128.load(OUTPUT + (i << 1));
      b = v128.load(OUTPUT + (i << 1), 16);
    } else {
      const first = v128.load(WORK + low * count + i);
      let second = none, more = none;
      if (low + 1 < width) second = v128.load(WORK + (low + 1) * count + i);
      for (let plane = low + 2; plane < width; plane++) more = v128.or(more, v128.load(WORK + plane * count + i));
      more = v128.ne<i8>(more, none);
      a = zipLow(first, second);
      b = zipHigh(first, second);
      moreA = zipLow(more, more);
      moreB = zipHigh(more, more);
    }
    if (mapped) {
      const changedA = v128.ne<i16>(v128.or(a, moreA), none), changedB = v128.ne<i16>(v128.or(b, moreB), none);
      const changed = i8x16.narrow_i16x8_s(changedA, changedB);
      store<u16>(CHANGED + (i >> 3), <u16>v128.bitmask<i8>(changed));
      widths = v128.and(widths, changed);
      a = v128.add<i16>(a, changedA);
      b = v128.add<i16>(b, changedB);
    }
    const powerLow = v128.swizzle(powersLow, widths), powerHigh = v128.swizzle(powersHigh, widths);
    const pa = zipLow(powerLow, powerHigh), pb = zipHigh(powerLow, powerHigh);
    const ma = v128.sub<i16>(pa, ones), mb = v128.sub<i16>(pb, ones);
    const overA = v128.sub_sat<u16>(v128.or(a, moreA), ma), overB = v128.sub_sat<u16>(v128.or(b, moreB), mb);
    if (v128.any_true(v128.or(overA, overB))) {
      v128.store(LANE_WIDTHS, widths);
      const longer = i8x16.narrow_i16x8_s(v128.ne<i16>(overA, none), v128.ne<i16>(overB, none));
      for (let lanes = <u32>v128.bitmask<i8>(longer); lanes != 0; lanes &= lanes - 1) {
        const lane = <usize>ctz(lanes);
        const bits = <u64>load<u8>(LANE_WIDTHS + lane) + <u64>(low << 3);
        if (!patchAdd(i + lane, width, bits, mapped)) return false;
      }
    }
    // A pair: the first, and the second times 2^(width of the first).
    v128.store(pairs, i32x4.dot_i16x8_s(v128.and(a, ma), v128.or(v128.shl<i32>(pa, 16), one)));
    v128.store(pairs, i32x4.dot_i16x8_s(v128.and(b, mb), v128.or(v128.shl<i32>(pb, 16), one)), 16);
    v128.store(sizes, sizesOf(widths, ones, lower));
    pairs += 32;
    sizes += 16;
  }
  return true;
}

/** Appends PAIRS, four lanes at a time: 56 bits at most, beside up to seven that are held. */
function appendFours(fours: usize): void {
  let at = bitsAt, held = bitsHeld, fill = bitsFill;
  for (let i: usize = 0; i < fours << 2; i += 4) {
    const size = load<u32>(SIZES + i);
    // Shifts look at the lowest six bits of a number alone.
    const lanes = <u64>load<u32>(PAIRS + (i << 1)) | (<u64>load<u32>(PAIRS + (i << 1), 4) << <u64>size);
    held |= lanes << fill;
    store<u64>(at, held);
    fill += <u64>(size >>> 16);
    at += <usize>(fill >> 3);
    held >>= fill & 56;
    fill &= 7;
  }
  bitsAt = at;
  bitsHeld = held;
  bitsFill = fill;
}

let positionBits: usize = 0;

/**
 * Fills OUTPUT from the `sizeBytes` of packed bits at `bits`, the map and, unless lanes have two bytes and no low ones, the low planes at
 * WORK; `count` is a multiple of 16. Returns how many bits it read, or -1 if there are fewer.
 */
export function packedRead(count: usize, width: usize, low: usize, mapped: bool, bits: usize, sizeBytes: usize): i32 {
  positionBits = 0;
  const direct = width == 2 && low == 0;
  for (let from: usize = 0; from < count; from += BLOCK) {
    const to = min(count, from + BLOCK);
    const blockBits = width == 2 ? findWidths(from, to, 2, mapped) : findWidths(from, to, width, mapped);
    if (positionBits + blockBits > sizeBytes << 3) return -1;
    takeFours(bits, (to - from) >> 2);
    if (direct) {
      if (mapped) splitLanes<u16>(from, to, count, 2, 0, true);
      else splitLanes<u16>(from, to, count, 2, 0, false);
    } else splitLanes<u8>(from, to, count, width, low, mapped);
  }
  return <i32>positionBits;
}

/** Sixteen bytes, all ones where the lane changed. */
// @ts-ignore: decorator
@inline
function changedAt(i: usize): v128 {
  const bit = v128.load(BIT_OF_LANE);
  return v128.eq<i8>(v128.and(v128.swizzle(v128.load16_splat(CHANGED + (i >> 3)), v128.load(BYTE_OF_LANE)), bit), bit);
}

/** Fills LANE_WIDTHS and SIZES of a block; returns its bits. */
// @ts-ignore: decorator
@inline
function findWidths(from: usize, to: usize, width: usize, mapped: bool): usize {
  const widthOf = v128.load(WIDTHS), ones = v128.load(WORDS_1), lower = v128.load(LONGS_LOWER);
  const top = topVector(width), mask = maskVector(width);
  let sums = i32x4.splat(0);
  let out: usize = 0;
  for (let i = from; i < to; i += 16) {
    let widths = v128.swizzle(widthOf, levelsAt(BASE + i * width, width, top, mask));
    if (mapped) widths = v128.and(widths, changedAt(i));
    v128.store(LANE_WIDTHS + out, widths);
    const sizes = sizesOf(widths, ones, lower);
    v128.store(SIZES + out, sizes);
    sums = v128.add<i32>(sums, v128.shr<u32>(sizes, 16));
    out += 16;
  }
  return <usize>(i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3));
}

/** Fills PAIRS from the bits; what lies above a pair's own bits is whatever. */
function takeFours(bits: usize, fours: usize): void {
  let position = positionBits;
  for (let i: usize = 0; i < fours << 2; i += 4) {
    const size = load<u32>(SIZES + i);
    const lanes = load<u64>(bits + (position >> 3)) >> <u64>(position & 7);
    store<u32>(PAIRS + (i << 1), <u32>lanes);
    store<u32>(PAIRS + (i << 1), <u32>(lanes >> <u64>size), 4);
    position += <usize>(size >>> 16);
  }
  positionBits = position;
}

/** The inverse of `joinLanes`; T: u16 to lanes at OUTPUT, u8 to planes. */
// @ts-ignore: decorator
@inline
function splitLanes<T>(from: usize, to: usize, count: usize, width: usize, low: usize, mapped: bool): void {
  const masksLow = v128.load(MASKS_LOW), masksHigh = v128.load(MASKS_HIGH);
  const risesLow = v128.load(RISES_LOW), risesHigh = v128.load(RISES_HIGH);
  const lower = v128.load(LONGS_LOWER);
  let pairs = PAIRS, out = LANE_WIDTHS;
  for (let i = from; i < to; i += 16) {
    const widths = v128.load(out);
    const maskLow = v128.swizzle(masksLow, widths), maskHigh = v128.swizzle(masksHigh, widths);
    const riseLow = v128.swizzle(risesLow, widths), riseHigh = v128.swizzle(risesHigh, widths);
    let a = laneOfPairs(v128.load(pairs), zipLow(riseLow, riseHigh), zipLow(maskLow, maskHigh), lower);
    let b = laneOfPairs(v128.load(pairs, 16), zipHigh(riseLow, riseHigh), zipHigh(maskLow, maskHigh), lower);
    if (mapped) {
      const changed = changedAt(i);
      a = v128.sub<i16>(a, zipLow(changed, changed));
      b = v128.sub<i16>(b, zipHigh(changed, changed));
    }
    if (sizeof<T>() == 2) {
      const at = i << 1;
      v128.store(OUTPUT + at, moved<i16>(a, v128.load(BASE + at), isFloat));
      v128.store(OUTPUT + at, moved<i16>(b, v128.load(BASE + at, 16), isFloat), 16);
    } else {
      v128.store(WORK + low * count + i, even(a, b));
      if (low + 1 < width) v128.store(WORK + (low + 1) * count + i, odd(a, b));
    }
    pairs += 32;
    out += 16;
  }
}

/** Eight lanes: the first of a pair are its lowest bits, the second come down from where a product has raised them to. */
// @ts-ignore: decorator
@inline
function laneOfPairs(pairs: v128, rises: v128, masks: v128, lower: v128): v128 {
  const raised = v128.shl<i32>(v128.mul<i32>(pairs, v128.and(rises, lower)), 1);
  return v128.and(v128.bitselect(pairs, raised, lower), masks);
}
