// Frame-of-reference bit packing by blocks of 1,024 residuals: what lies above the block's least one, in as many bits as
// the widest needs. Up to 32 bits a vector holds four lanes of u32, else two of u64; value i is in lane i mod 4 (or 2),
// and each lane packs its own values one after the other. After D. Lemire and L. Boytsov, arXiv:1209.2137.

import { columnFromDecimal, columnNarrow, MAGIC, MAGIC_FLOAT } from "./columns-lattice";
import { columnRestore } from "./columns-predict";

/** What is made of integers, unless nothing is: decimals, or floats by the order of their bits. */
const DECIMALS: u32 = 1, ORDERED: u32 = 2;

/** The least of `count` residuals to `least`; returns the bits that the widest above it needs. */
export function columnWidth(r: usize, count: usize, least: usize): u32 {
  let low = load<i64>(r), high = low;
  for (let i: usize = 8; i < count << 3; i += 8) {
    const x = load<i64>(r + i);
    low = min(low, x);
    high = max(high, x);
  }
  store<i64>(least, low);
  return <u32>(64 - clz(<u64>high - <u64>low));
}

/** Packs 1,024 residuals, of which those past `count` count as the least, into width * 128 bytes. */
export function columnPack(r: usize, count: usize, least: i64, width: u32, to: usize): void {
  memory.fill(to, 0, <usize>width << 7);
  const lanes: usize = width <= 32 ? 4 : 2;
  const word: usize = width <= 32 ? 4 : 8;
  const wordBits: usize = word << 3;
  for (let i: usize = 0; i < count; i++) {
    const value = <u64>(load<i64>(r + (i << 3)) - least);
    const lane = i & (lanes - 1);
    const bit = i / lanes * <usize>width;
    const shift = <u64>(bit & (wordBits - 1));
    const at = to + (bit / wordBits) * 16 + lane * word;
    if (word == 4) {
      const both = value << shift;
      store<u32>(at, load<u32>(at) | <u32>both);
      if (shift + <u64>width > 32) store<u32>(at, <u32>(both >> 32), 16);
    } else {
      store<u64>(at, load<u64>(at) | (value << shift));
      if (shift + <u64>width > 64) store<u64>(at, value >> (64 - shift), 16);
    }
  }
}

// @ts-ignore: decorator
@inline
function put(at: usize, x: v128, decimals: bool, scale: v128): void {
  if (decimals) v128.store(at, v128.div<f64>(v128.sub<f64>(x, f64x2.splat(MAGIC_FLOAT)), scale));
  else v128.store(at, x);
}

/**
 * A block of up to 32 bits, in one pass: unpacked, multiplied, summed up where it holds changes (then of at most 30 bits:
 * four add up to less than 2^32) and made decimals. Inlined where the last three are constants.
 */
// @ts-ignore: decorator
@inline
function narrowBlock(
  from: usize, width: u32, least: i64, before: i64, multiplier: u32, scale: f64, to: usize,
  delta: bool, decimals: bool, multiplied: bool,
): void {
  const mask = i32x4.splat(width == 32 ? -1 : (1 << width) - 1);
  const by = i32x4.splat(multiplier), scales = f64x2.splat(scale);
  // A power of two that is added to integers makes floats of them: it comes with what is added anyway.
  const magic: i64 = decimals ? MAGIC : 0;
  const low = delta ? i64x2(least, least * 2) : i64x2.splat(least + magic);
  const high = delta ? i64x2(least * 3, least * 4) : low;
  let carry = i64x2.splat(before + magic);
  let at = from, shift: i32 = 0;
  for (let i: usize = 0; i < 8192; i += 32) {
    // Shifting left by 32 - shift in two steps: a shift by 32 would be one by 0.
    const next = v128.shl<i32>(v128.shl<i32>(v128.load(at, 16), 31 - shift), 1);
    let x = v128.and(v128.or(v128.shr<u32>(v128.load(at), shift), next), mask);
    const zero = i32x4.splat(0);
    if (delta) {
      x = v128.add<i32>(x, v128.shuffle<i32>(zero, x, 0, 4, 5, 6));
      x = v128.add<i32>(x, v128.shuffle<i32>(zero, x, 0, 1, 4, 5));
    }
    let a = multiplied ? i64x2.extmul_low_i32x4_u(x, by) : i64x2.extend_low_i32x4_u(x);
    let b = multiplied ? i64x2.extmul_high_i32x4_u(x, by) : i64x2.extend_high_i32x4_u(x);
    a = v128.add<i64>(a, low);
    b = v128.add<i64>(b, high);
    if (delta) {
      a = v128.add<i64>(a, carry);
      b = v128.add<i64>(b, carry);
      carry = v128.shuffle<i64>(b, b, 1, 1);
    }
    put(to + i, a, decimals, scales);
    put(to + i + 16, b, decimals, scales);
    shift += <i32>width;
    at += <usize>(shift >> 5) << 4;
    shift &= 31;
  }
}

/** The same of more than 32 bits, which are not multiplied. */
// @ts-ignore: decorator
@inline
function wideBlock(
  from: usize, width: u32, least: i64, before: i64, scale: f64, to: usize, delta: bool, decimals: bool,
): void {
  const mask = i64x2.splat(width == 64 ? -1 : ((<i64>1) << <i64>width) - 1);
  const scales = f64x2.splat(scale), zero = i64x2.splat(0);
  const magic: i64 = decimals ? MAGIC : 0;
  const low = delta ? i64x2(least, least * 2) : i64x2.splat(least + magic);
  let carry = i64x2.splat(before + magic);
  let at = from, shift: i32 = 0;
  for (let i: usize = 0; i < 8192; i += 16) {
    const next = v128.shl<i64>(v128.shl<i64>(v128.load(at, 16), 63 - shift), 1);
    let x = v128.and(v128.or(v128.shr<u64>(v128.load(at), shift), next), mask);
    if (delta) x = v128.add<i64>(x, v128.shuffle<i64>(zero, x, 0, 2));
    x = v128.add<i64>(x, low);
    if (delta) {
      x = v128.add<i64>(x, carry);
      carry = v128.shuffle<i64>(x, x, 1, 1);
    }
    put(to + i, x, decimals, scales);
    shift += <i32>width;
    at += <usize>(shift >> 6) << 4;
    shift &= 63;
  }
}

/** A block step by step, for what the loops above leave out: wide values that are multiplied, and changes of 31 bits. */
function anyBlock(
  from: usize, width: u32, least: i64, before: i64, multiplier: i64, scale: f64, to: usize, delta: bool, decimals: bool,
): void {
  if (width <= 32) narrowBlock(from, width, 0, 0, 1, 0, to, false, false, false);
  else wideBlock(from, width, 0, 0, 0, to, false, false);
  for (let i: usize = 0; i < 8192; i += 8) store<i64>(to + i, least + load<i64>(to + i) * multiplier);
  if (delta) columnRestore(1, to, 0, to, 1024, before, 0, false);
  if (decimals) columnFromDecimal(to, to, 1024, scale, false);
}

function narrowPlain(from: usize, width: u32, least: i64, by: u32, to: usize): void {
  if (by == 1) narrowBlock(from, width, least, 0, by, 0, to, false, false, false);
  else narrowBlock(from, width, least, 0, by, 0, to, false, false, true);
}
function narrowDelta(from: usize, width: u32, least: i64, before: i64, by: u32, to: usize): void {
  if (by == 1) narrowBlock(from, width, least, before, by, 0, to, true, false, false);
  else narrowBlock(from, width, least, before, by, 0, to, true, false, true);
}
function narrowDecimals(from: usize, width: u32, least: i64, by: u32, scale: f64, to: usize): void {
  if (by == 1) narrowBlock(from, width, least, 0, by, scale, to, false, true, false);
  else narrowBlock(from, width, least, 0, by, scale, to, false, true, true);
}
function narrowDeltaDecimals(from: usize, width: u32, least: i64, before: i64, by: u32, scale: f64, to: usize): void {
  if (by == 1) narrowBlock(from, width, least, before, by, scale, to, true, true, false);
  else narrowBlock(from, width, least, before, by, scale, to, true, true, true);
}
function wide(from: usize, width: u32, least: i64, before: i64, scale: f64, to: usize, delta: bool, decimals: bool): void {
  if (delta) {
    if (decimals) wideBlock(from, width, least, before, scale, to, true, true);
    else wideBlock(from, width, least, before, scale, to, true, false);
  } else if (decimals) wideBlock(from, width, least, before, scale, to, false, true);
  else wideBlock(from, width, least, before, scale, to, false, false);
}

function unpackBlock(
  from: usize, width: u32, least: i64, before: i64, multiplier: i64, scale: f64, to: usize, delta: bool, decimals: bool,
): void {
  const isSmall = <u64>multiplier < 0x100000000;
  if (width <= 30 && isSmall) {
    const by = <u32>multiplier;
    if (delta) {
      if (decimals) narrowDeltaDecimals(from, width, least, before, by, scale, to);
      else narrowDelta(from, width, least, before, by, to);
    } else if (decimals) narrowDecimals(from, width, least, by, scale, to);
    else narrowPlain(from, width, least, by, to);
  } else if (width > 32 && multiplier == 1) wide(from, width, least, before, scale, to, delta, decimals);
  else anyBlock(from, width, least, before, multiplier, scale, to, delta, decimals);
}

/**
 * Blocks as stored: a table of 17 bytes a block, least i64, x[-1] i64 and width u8; then the packed blocks. `made` says
 * what goes to `to`: 0 integers, 1 decimals of `scale`, 2 floats. Returns how many bytes were unpacked, or -1 where the
 * table is none that an encoder writes. Reads up to 16 bytes past a block.
 */
export function columnUnpackBlocks(
  table: usize, packed: usize, packedBytes: usize, blocks: usize, delta: bool, multiplier: i64, made: u32, scale: f64, to: usize,
): i32 {
  let at: usize = 0;
  for (let block: usize = 0; block < blocks; block++) {
    const entry = table + block * 17;
    const width = <u32>load<u8>(entry, 16);
    if (width > 64 || at + (<usize>width << 7) > packedBytes) return -1;
    unpackBlock(
      packed + at, width, load<i64>(entry), load<i64>(entry, 8), multiplier, scale, to, delta, made == DECIMALS,
    );
    if (made == ORDERED) columnNarrow(to, to, 1024, 0);
    at += <usize>width << 7;
    to += 8192;
  }
  return <i32>at;
}
