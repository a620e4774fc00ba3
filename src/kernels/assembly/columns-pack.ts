// Frame-of-reference bit packing by blocks of 1,024 residuals: what lies above the block's least one, in as many bits as
// the widest needs. Up to 32 bits a vector holds four lanes of u32, else two of u64; value i is in lane i mod 4 (or 2),
// and each lane packs its own values one after the other. After D. Lemire and L. Boytsov, arXiv:1209.2137.

import { columnFromDecimal } from "./columns-lattice";
import { columnRestore } from "./columns-predict";

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

/** The inverse: 1,024 residuals times `multiplier`, and `least` added. Reads up to 16 bytes past the block. */
export function columnUnpack(from: usize, width: u32, least: i64, multiplier: i64, to: usize): void {
  const low = i64x2.splat(least), by = i64x2.splat(multiplier);
  if (width == 0) {
    for (let i: usize = 0; i < 8192; i += 16) v128.store(to + i, low);
    return;
  }
  let at = from, shift: i32 = 0;
  if (width <= 32) {
    const mask = i32x4.splat(width == 32 ? -1 : (1 << width) - 1);
    const scaled = multiplier != 1;
    for (let i: usize = 0; i < 8192; i += 32) {
      // Shifting left by 32 - shift in two steps: a shift by 32 would be one by 0.
      const next = v128.shl<i32>(v128.shl<i32>(v128.load(at, 16), 31 - shift), 1);
      const x = v128.and(v128.or(v128.shr<u32>(v128.load(at), shift), next), mask);
      let a = i64x2.extend_low_i32x4_u(x), b = i64x2.extend_high_i32x4_u(x);
      if (scaled) {
        a = v128.mul<i64>(a, by);
        b = v128.mul<i64>(b, by);
      }
      v128.store(to + i, v128.add<i64>(a, low));
      v128.store(to + i, v128.add<i64>(b, low), 16);
      shift += <i32>width;
      at += <usize>(shift >> 5) << 4;
      shift &= 31;
    }
    return;
  }
  const mask = i64x2.splat(width == 64 ? -1 : ((<i64>1) << <i64>width) - 1);
  for (let i: usize = 0; i < 8192; i += 16) {
    const next = v128.shl<i64>(v128.shl<i64>(v128.load(at, 16), 63 - shift), 1);
    const x = v128.and(v128.or(v128.shr<u64>(v128.load(at), shift), next), mask);
    v128.store(to + i, v128.add<i64>(v128.mul<i64>(x, by), low));
    shift += <i32>width;
    at += <usize>(shift >> 6) << 4;
    shift &= 63;
  }
}

/**
 * Blocks [first, first + blocks) as stored: a table of 17 bytes a block, least i64, x[-1] i64 and width u8; then the
 * packed blocks. Integers go to `to`, or decimals of `scale` if that is not 0. Returns how many bytes were unpacked up
 * to, from `packed`, or -1 where the table is none that an encoder writes.
 */
export function columnUnpackBlocks(
  table: usize, packed: usize, packedBytes: usize, first: usize, blocks: usize, delta: bool, multiplier: i64, scale: f64, to: usize,
): i32 {
  let at: usize = 0;
  for (let block: usize = 0; block < first; block++) at += <usize>load<u8>(table + block * 17, 16) << 7;
  for (let block = first; block < first + blocks; block++) {
    const entry = table + block * 17;
    const width = <u32>load<u8>(entry, 16);
    if (width > 64 || at + (<usize>width << 7) > packedBytes) return -1;
    columnUnpack(packed + at, width, load<i64>(entry), multiplier, to);
    if (delta) columnRestore(1, to, 0, to, 1024, load<i64>(entry, 8), 0, false);
    if (scale != 0) columnFromDecimal(to, to, 1024, scale, false);
    at += <usize>width << 7;
    to += 8192;
  }
  return <i32>at;
}
