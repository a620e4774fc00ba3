// Frame-of-reference bit packing by blocks of 1,024 residuals: what lies above the block's least one, in as many bits as
// the widest needs. Up to 32 bits a vector holds four lanes of u32, else two of u64; value i is in lane i mod 4 (or 2),
// and each lane packs its own values one after the other. After D. Lemire and L. Boytsov, arXiv:1209.2137.

import { columnSort } from "./columns-bins";
import { columnFromDecimal, columnNarrow, MAGIC, MAGIC_FLOAT } from "./columns-lattice";
import { columnRestore } from "./columns-predict";

/** What is made of integers, unless nothing is: decimals, or floats by the order of their bits. */
const DECIMALS: u32 = 1, ORDERED: u32 = 2;

// What lies far out would widen a whole block. So up to 128 rows of it, outliers, may have their upper bits elsewhere: after
// the lanes come how many u16, the bytes of each one's upper bits u8, the rows u16, the upper bits, signed. Widths of such
// blocks are written with 128 added. After M. Zukowski et al., "Super-Scalar RAM-CPU Cache Compression", ICDE 2006.

/** Outliers of a block at most, and what marks its width. */
const OUTLIERS: u32 = 128;
/** Of these below the others, or above. */
const SIDE_MAX: usize = 64;
const OUTLIER_HEAD: usize = 3;

// @ts-ignore: decorator
@inline
function widthOf(span: u64): u32 {
  return <u32>(64 - clz(span));
}

/** Bytes that hold a signed integer. */
function bytesOf(x: i64): u32 {
  return (widthOf(<u64>(x ^ (x >> 63))) + 8) >> 3;
}

/**
 * How a block of `count` residuals takes least: to `plan` go the least one of those that are no outliers, i64, and how many
 * bits these need, u32; how many are outliers, u32. `spare` has room for two blocks.
 */
export function columnPlanBlock(r: usize, count: usize, spare: usize, plan: usize): void {
  let low = load<i64>(r), high = low;
  for (let i: usize = 8; i < count << 3; i += 8) {
    const x = load<i64>(r + i);
    low = min(low, x);
    high = max(high, x);
  }
  let base = low, width = widthOf(<u64>high - <u64>low), outliers: usize = 0;
  if (width > 2 && count > 2 * SIDE_MAX) {
    memory.copy(spare, r, count << 3);
    const sorted = columnSort(spare, spare + 8192, count);
    let least = <usize>width << 7;
    for (let under: usize = 0; under <= SIDE_MAX; under = under == 0 ? 1 : under << 1) {
      const from = load<i64>(sorted + (under << 3));
      for (let over: usize = 0; over <= SIDE_MAX; over = over == 0 ? 1 : over << 1) {
        const bits = widthOf(<u64>load<i64>(sorted + ((count - 1 - over) << 3)) - <u64>from);
        if (under + over == 0 || bits >= width) continue;
        const upper = max(bytesOf((low - from) >> <i64>bits), bytesOf((high - from) >> <i64>bits));
        const size = (<usize>bits << 7) + OUTLIER_HEAD + (under + over) * <usize>(2 + upper);
        // Putting them back takes a third of the time again: they must spare a tenth.
        if (size + (outliers == 0 ? size >> 3 : 0) >= least) continue;
        // Differences of 64 bits have no sign to tell them by.
        if ((low - from > 0) != (low > from) || (high - from < 0) != (high < from)) continue;
        least = size;
        base = from;
        width = bits;
        outliers = under + over;
      }
    }
  }
  store<i64>(plan, base);
  store<u32>(plan, width, 8);
  store<u32>(plan, <u32>outliers, 12);
}

/**
 * Packs 1,024 residuals, of which those past `count` count as the least, and the upper bits of outliers; returns how many
 * bytes that takes.
 */
export function columnPack(r: usize, count: usize, least: i64, width: u32, outliers: u32, to: usize): usize {
  memory.fill(to, 0, <usize>width << 7);
  const lanes: usize = width <= 32 ? 4 : 2;
  const word: usize = width <= 32 ? 4 : 8;
  const wordBits: usize = word << 3;
  const mask: u64 = width == 64 ? -1 : ((<u64>1) << <u64>width) - 1;
  for (let i: usize = 0; i < count; i++) {
    const value = <u64>(load<i64>(r + (i << 3)) - least) & mask;
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
  const end = to + (<usize>width << 7);
  return outliers == 0 ? end - to : packOutliers(r, count, least, width, end) - to;
}

function packOutliers(r: usize, count: usize, least: i64, width: u32, to: usize): usize {
  let found: usize = 0;
  let bytes: u32 = 1;
  for (let i: usize = 0; i < count; i++) {
    const upper = (load<i64>(r + (i << 3)) - least) >> <i64>width;
    if (upper == 0) continue;
    store<u16>(to + OUTLIER_HEAD + (found << 1), i);
    found++;
    bytes = max(bytes, bytesOf(upper));
  }
  store<u16>(to, <u16>found);
  store<u8>(to, bytes, 2);
  const rows = to + OUTLIER_HEAD;
  let at = rows + (found << 1);
  for (let i: usize = 0; i < found; i++) {
    const row = <usize>load<u16>(rows + (i << 1));
    store<i64>(at, (load<i64>(r + (row << 3)) - least) >> <i64>width);
    at += bytes;
  }
  return at;
}

/** Adds the upper bits of outliers to the block at `to`; returns the end of what is stored of them, 0 if it cannot be. */
function addOutliers(at: usize, end: usize, width: u32, multiplier: i64, to: usize): usize {
  if (at + OUTLIER_HEAD > end) return 0;
  const count = <usize>load<u16>(at), bytes = <usize>load<u8>(at, 2);
  const rows = at + OUTLIER_HEAD;
  let from = rows + (count << 1);
  const past = from + count * bytes;
  if (count > <usize>OUTLIERS || bytes == 0 || bytes > 8 || past > end) return 0;
  const spare = <i64>(64 - (bytes << 3));
  for (let row = rows; from < past; row += 2) {
    const upper = (load<i64>(from) << spare) >> spare;
    const target = to + ((<usize>load<u16>(row) & 1023) << 3);
    store<i64>(target, load<i64>(target) + (upper << <i64>width) * multiplier);
    from += bytes;
  }
  return past;
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

/** Sums a block of changes up where it lies, and makes decimals of it. Inlined where the last is a constant. */
// @ts-ignore: decorator
@inline
function sumBlock(at: usize, before: i64, scale: f64, decimals: bool): void {
  const scales = f64x2.splat(scale), zero = i64x2.splat(0);
  let carry = i64x2.splat(before + (decimals ? MAGIC : 0));
  for (let i: usize = 0; i < 8192; i += 32) {
    const c = v128.load(at + i), d = v128.load(at + i, 16);
    const a = v128.add<i64>(c, v128.shuffle<i64>(zero, c, 0, 2));
    const b = v128.add<i64>(v128.add<i64>(d, v128.shuffle<i64>(zero, d, 0, 2)), v128.shuffle<i64>(a, a, 1, 1));
    put(at + i, v128.add<i64>(a, carry), decimals, scales);
    const last = v128.add<i64>(b, carry);
    put(at + i + 16, last, decimals, scales);
    carry = v128.shuffle<i64>(last, last, 1, 1);
  }
}

/** A block with outliers, step by step; returns the end of what is stored of it, 0 if there is none. */
function unpackOutlying(
  from: usize, end: usize, width: u32, least: i64, before: i64, multiplier: i64, scale: f64, to: usize, delta: bool,
  decimals: bool,
): usize {
  if (width > 63) return 0;
  unpackBlock(from, width, least, 0, multiplier, 0, to, false, false);
  const past = addOutliers(from + (<usize>width << 7), end, width, multiplier, to);
  if (delta && decimals) sumBlock(to, before, scale, true);
  else if (delta) sumBlock(to, before, scale, false);
  else if (decimals) columnFromDecimal(to, to, 1024, scale, false);
  return past;
}

/**
 * Blocks as stored: a table of 17 bytes a block, least i64, x[-1] i64 and width u8; then the packed blocks. `made` says
 * what goes to `to`: 0 integers, 1 decimals of `scale`, 2 floats. Returns how many bytes were unpacked, or -1 where the
 * blocks are none that an encoder writes. Reads up to 16 bytes past a block.
 */
export function columnUnpackBlocks(
  table: usize, packed: usize, packedBytes: usize, blocks: usize, delta: bool, multiplier: i64, made: u32, scale: f64, to: usize,
): i32 {
  let at = packed;
  const end = packed + packedBytes;
  for (let block: usize = 0; block < blocks; block++) {
    const entry = table + block * 17;
    const width = <u32>load<u8>(entry, 16);
    const least = load<i64>(entry), before = load<i64>(entry, 8);
    const lanes = <usize>(width & 127) << 7;
    if ((width & 127) > 64 || lanes > end - at) return -1;
    if (width >= OUTLIERS) {
      at = unpackOutlying(at, end, width & 127, least, before, multiplier, scale, to, delta, made == DECIMALS);
      if (at == 0) return -1;
    } else {
      unpackBlock(at, width, least, before, multiplier, scale, to, delta, made == DECIMALS);
      at += lanes;
    }
    if (made == ORDERED) columnNarrow(to, to, 1024, 0);
    to += 8192;
  }
  return <i32>(at - packed);
}
