// Raw bits: of every lane its lowest, as many as RAW_SIZES says, least significant bit of a byte first; after all of
// them those of the far lanes: with v = r, or -r - 1 where r is negative, and n = how many bits v has,
//
//   n - 1 in six bits | 1 where r is negative | the n - 1 bits of v below its leading one

import { BITS, RAW_SIZES, RESIDUALS, TOKENS } from "./memory";
import { RAWS, residualAt } from "./tokens";
import { BYTES_30 } from "./vectors";

let at: usize = 0;
let held: u64 = 0;
let fill: u64 = 0;

/** At most 56 bits, beside up to seven that are held; `value` has no other ones. */
// @ts-ignore: decorator
@inline
function put(value: u64, bits: u64): void {
  held |= value << fill;
  store<u64>(at, held);
  fill += bits;
  const whole = fill >> 3;
  at += <usize>whole;
  held >>= whole << 3;
  fill &= 7;
}

/** Up to 64 bits, in two halves where they would not fit beside what is held; `value` has no other bits. */
// @ts-ignore: decorator
@inline
function putLong(value: u64, bits: u64): void {
  if (bits > 56) {
    put(value & 0xffffffff, 32);
    put(value >> 32, bits - 32);
  } else put(value, bits);
}

/** Writes RAWS to BITS, then the far lanes of RESIDUALS; returns the bits written. */
export function rawsWrite(count: usize, width: usize): usize {
  at = BITS;
  held = 0;
  fill = 0;
  if (width == 2) write16(count);
  else if (width == 4) write32(count);
  else for (let i: usize = 0; i < count; i++) putLong(load<u64>(RAWS + (i << 3)), <u64>load<u8>(RAW_SIZES + i));
  for (let i: usize = 0; i < count; i += 16) {
    for (let far = farAmong(i); far != 0; far &= far - 1) {
      const r = residualAt(i + <usize>ctz(far), width);
      const v = r ^ (r >> 63);
      const below = <u64>63 - clz(v);
      put(below | (<u64>(r < 0) << 6), 7);
      putLong(v & (((<u64>1) << below) - 1), below);
    }
  }
  return ((at - BITS) << 3) + <usize>fill;
}

/** A bit for each of sixteen lanes: whether it is far. */
// @ts-ignore: decorator
@inline
function farAmong(i: usize): u32 {
  return <u32>v128.bitmask<i8>(v128.eq<i8>(v128.load(TOKENS + i), v128.load(BYTES_30)));
}

/** Four lanes at a time: 14 bits each at most, 56 together, beside up to seven that are held. */
function write16(count: usize): void {
  let to = at, bits: u64 = 0, size: u64 = 0;
  for (let i: usize = 0; i < count; i += 4) {
    const raws = load<u64>(RAWS + (i << 1));
    const sizes = load<u32>(RAW_SIZES + i);
    if (sizes == 0) continue;
    const s0 = <u64>(sizes & 255), s1 = <u64>((sizes >>> 8) & 255), s2 = <u64>((sizes >>> 16) & 255);
    const low = (raws & 0xffff) | (((raws >> 16) & 0xffff) << s0);
    const high = ((raws >> 32) & 0xffff) | ((raws >> 48) << s2);
    const s01 = s0 + s1;
    bits |= (low | (high << s01)) << size;
    size += s01 + s2 + <u64>(sizes >>> 24);
    store<u64>(to, bits);
    const whole = size >> 3;
    to += <usize>whole;
    bits >>= whole << 3;
    size &= 7;
  }
  at = to;
  held = bits;
  fill = size;
}

function write32(count: usize): void {
  let to = at, bits: u64 = 0, size: u64 = 0;
  for (let i: usize = 0; i < count; i += 2) {
    const raws = load<u64>(RAWS + (i << 2));
    const sizes = <u32>load<u16>(RAW_SIZES + i);
    if (sizes == 0) continue;
    let s0 = <u64>(sizes & 255), rest = raws & 0xffffffff, s1 = <u64>(sizes >>> 8);
    if (s0 + s1 > 56) {
      // The first of them alone.
      bits |= rest << size;
      size += s0;
      store<u64>(to, bits);
      const whole = size >> 3;
      to += <usize>whole;
      bits >>= whole << 3;
      size &= 7;
      rest = 0;
      s0 = 0;
    }
    bits |= (rest | ((raws >> 32) << s0)) << size;
    size += s0 + s1;
    store<u64>(to, bits);
    const whole = size >> 3;
    to += <usize>whole;
    bits >>= whole << 3;
    size &= 7;
  }
  at = to;
  held = bits;
  fill = size;
}

// @ts-ignore: decorator
@inline
function bitsAt(bit: usize, bits: u64): u64 {
  return (load<u64>(BITS + (bit >> 3)) >> <u64>(bit & 7)) & (((<u64>1) << bits) - 1);
}

// @ts-ignore: decorator
@inline
function longBitsAt(bit: usize, bits: u64): u64 {
  return bits > 56 ? bitsAt(bit, 32) | (bitsAt(bit + 32, bits - 32) << 32) : bitsAt(bit, bits);
}

let nextBit: usize = 0;

/** Fills RAWS from BITS; what lies above a lane's own bits is whatever. */
export function rawsRead(count: usize, width: usize): void {
  if (width == 2) nextBit = read16(count);
  else if (width == 4) nextBit = read32(count);
  else {
    nextBit = 0;
    for (let i: usize = 0; i < count; i++) {
      const size = <u64>load<u8>(RAW_SIZES + i);
      store<u64>(RAWS + (i << 3), longBitsAt(nextBit, size));
      nextBit += <usize>size;
    }
  }
}

function read16(count: usize): usize {
  let bit: usize = 0;
  for (let i: usize = 0; i < count; i += 4) {
    const sizes = load<u32>(RAW_SIZES + i);
    if (sizes == 0) continue;
    // Four lanes have 56 bits at most: one load holds them, wherever in a byte they begin.
    const word = load<u64>(BITS + (bit >> 3)) >> <u64>(bit & 7);
    const to = RAWS + (i << 1);
    const at1 = <u64>(sizes & 255), at2 = at1 + <u64>((sizes >>> 8) & 255), at3 = at2 + <u64>((sizes >>> 16) & 255);
    store<u16>(to, <u16>word);
    store<u16>(to, <u16>(word >> at1), 2);
    store<u16>(to, <u16>(word >> at2), 4);
    store<u16>(to, <u16>(word >> at3), 6);
    bit += <usize>at3 + <usize>(sizes >>> 24);
  }
  return bit;
}

function read32(count: usize): usize {
  let bit: usize = 0;
  for (let i: usize = 0; i < count; i++) {
    store<u32>(RAWS + (i << 2), <u32>(load<u64>(BITS + (bit >> 3)) >> <u64>(bit & 7)));
    bit += <usize>load<u8>(RAW_SIZES + i);
  }
  return bit;
}

/** Fills the far lanes of RESIDUALS; returns the raw bits read in all, or -1. */
export function farRead(count: usize, width: usize): i32 {
  const most = (<u64>width << 3) - 1;
  for (let i: usize = 0; i < count; i += 16) {
    for (let far = farAmong(i); far != 0; far &= far - 1) {
      const position = i + <usize>ctz(far);
      const head = bitsAt(nextBit, 7);
      const below = head & 63;
      nextBit += 7;
      if (below >= most) return -1;
      const v = <i64>(((<u64>1) << below) | longBitsAt(nextBit, below));
      nextBit += <usize>below;
      const r = head >> 6 ? ~v : v;
      if (width == 2) store<i16>(RESIDUALS + (position << 1), <i16>r);
      else if (width == 4) store<i32>(RESIDUALS + (position << 2), <i32>r);
      else store<i64>(RESIDUALS + (position << 3), r);
    }
  }
  return <i32>nextBit;
}

/** Raw bits that the lanes take, without writing them. */
export function rawsCost(count: usize, width: usize): u64 {
  let sums = i32x4.splat(0);
  let far: u64 = 0;
  for (let i: usize = 0; i < count; i += 16) {
    sums = v128.add<i32>(sums, i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(v128.load(RAW_SIZES + i))));
    for (let hits = farAmong(i); hits != 0; hits &= hits - 1) {
      const r = residualAt(i + <usize>ctz(hits), width);
      far += <u64>70 - clz(r ^ (r >> 63));
    }
  }
  return far + <u64>i32x4.extract_lane(sums, 0) + <u64>i32x4.extract_lane(sums, 1)
    + <u64>i32x4.extract_lane(sums, 2) + <u64>i32x4.extract_lane(sums, 3);
}
