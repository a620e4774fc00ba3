// Chooses how the differences of a chunk are packed, from a sample: how many low bytes are raw, whether there is a map
// of the lanes that changed, and for each level how many bits a lane has; what is longer is patched.

import { BASE, OUTPUT } from "../memory";
import { exponentOf, laneAt, levelOf, packedSetTop } from "./levels";

/** Sixteen lanes lie together in the sample. */
const SAMPLE_GROUPS: usize = 112;
export const LEVEL_COUNT: usize = 16;
/** A lane's bits beside its low bytes are packed four lanes at a time, into one word of 64 bits less what a byte holds. */
export const WIDTH_MAX: u32 = 14;

/** What a patch takes, in bits: gap, high byte, and about as much again for the time it takes. */
const PATCH_BITS: f64 = 26;
/** A map must save this share: its plane is coded by itself. */
const MAP_SAVES: f64 = 0.03;
/** What a map takes beside its entropy: frequencies and state. */
const MAP_BITS: f64 = 2000;

/** By level and bit length, u32: of all differences; of those that are not zero, less one. */
const LENGTHS: usize = memory.data(16 * 65 * 4);
const CHANGED_LENGTHS: usize = memory.data(16 * 65 * 4);
const TABLE_BYTES: usize = 16 * 65 * 4;
const EXPONENTS: usize = memory.data(2048 * 4);
/** The plan: bits of each level, u8. */
export const WIDTHS: usize = memory.data(16, 16);
const TRIED: usize = memory.data(16, 16);

let lowBytes: u32 = 0;
let mapped: bool = false;
let unchanged: f64 = 0;

/** The share of the sample's groups of sixteen in which nothing changed. */
export function packedUnchanged(): f64 {
  return unchanged;
}

export function packedWidths(): usize {
  return WIDTHS;
}

export function packedLowBytes(): u32 {
  return lowBytes;
}

export function packedMapped(): bool {
  return mapped;
}

// @ts-ignore: decorator
@inline
function bump(table: usize, index: usize): void {
  store<u32>(table + (index << 2), load<u32>(table + (index << 2)) + 1);
}

/** Where the n-th group of the sample begins: multiples of the golden ratio, since rows may be a multiple of any stride. */
// @ts-ignore: decorator
@inline
function sampleAt(n: usize, groups: usize): usize {
  return <usize>((<u64>(<u32>n * <u32>0x9e3779b1) * <u64>groups) >> 32) << 4;
}

/** Plans for the zigzag differences at OUTPUT against BASE; `count` is a multiple of 16. */
export function packedPlan(count: usize, width: usize): void {
  const groups = count >> 4;
  const taken = min(groups, SAMPLE_GROUPS);
  const every = taken == groups;
  chooseTop(taken, groups, every, width);
  memory.fill(LENGTHS, 0, TABLE_BYTES);
  memory.fill(CHANGED_LENGTHS, 0, TABLE_BYTES);
  let changed: u32 = 0, same: u32 = 0;
  for (let n: usize = 0; n < taken; n++) {
    const from = every ? n << 4 : sampleAt(n, groups);
    const before = changed;
    for (let i = from; i < from + 16; i++) {
      const z = laneAt(OUTPUT, i, width);
      const row = <usize>levelOf(laneAt(BASE, i, width)) * 65;
      bump(LENGTHS, row + <usize>(64 - clz(z)));
      if (z == 0) continue;
      changed++;
      bump(CHANGED_LENGTHS, row + <usize>(64 - clz(z - 1)));
    }
    same += u32(changed == before);
  }
  unchanged = <f64>same / <f64>taken;
  let best = Infinity;
  for (let low: u32 = 0; low < <u32>width; low++) {
    const bits = planBits(LENGTHS, low, width) + <f64>((taken << 4) * <usize>(low << 3));
    if (bits >= best) continue;
    best = bits;
    lowBytes = low;
    memory.copy(WIDTHS, TRIED, LEVEL_COUNT);
  }
  const share = <f64>groups / <f64>taken;
  const bits = planBits(CHANGED_LENGTHS, 0, width) + twoWayBits(changed, <u32>(taken << 4)) + MAP_BITS / share;
  mapped = bits < best * (1 - MAP_SAVES);
  if (!mapped) return;
  lowBytes = 0;
  memory.copy(WIDTHS, TRIED, LEVEL_COUNT);
}

/** The largest exponent but for a few, so that one outlier does not push all others past the last level. */
function chooseTop(taken: usize, groups: usize, every: bool, width: usize): void {
  memory.fill(EXPONENTS, 0, 2048 * 4);
  for (let n: usize = 0; n < taken; n++) {
    const from = every ? n << 4 : sampleAt(n, groups);
    for (let i = from; i < from + 16; i++) bump(EXPONENTS, <usize>exponentOf(laneAt(BASE, i, width)));
  }
  let above = <u32>(taken >> 4);
  let top: u32 = 2047;
  for (; top > 0; top--) {
    const n = load<u32>(EXPONENTS + (<usize>top << 2));
    if (n > above) break;
    above -= n;
  }
  packedSetTop(top);
}

/** Bits of the sample at the best widths, which it leaves in TRIED. */
function planBits(lengths: usize, low: u32, width: usize): f64 {
  const own = <u32>(width << 3) - (low << 3);
  const most = min(WIDTH_MAX, own);
  const wideBits = <f64>(width << 3);
  let total: f64 = 0;
  let last: u32 = 0;
  for (let level: usize = 0; level < LEVEL_COUNT; level++) {
    const row = lengths + level * 65 * 4;
    let count: u32 = 0, longer: u32 = 0, far: u32 = 0;
    for (let length: u32 = 0; length <= 64; length++) {
      const n = load<u32>(row + (<usize>length << 2));
      count += n;
      if (length > low << 3) longer += n;
      if (length > (low << 3) + 8) far += n;
    }
    // A level that the sample has not seen: its unit is half of that of the one before.
    let bestWidth = level == 0 ? 0 : min(most, last + 1);
    let best: f64 = count == 0 ? 0 : Infinity;
    for (let bits: u32 = 0; bits <= most && count > 0; bits++) {
      const cost = <f64>(bits * count) + <f64>longer * PATCH_BITS + <f64>far * wideBits;
      if (cost < best) {
        best = cost;
        bestWidth = bits;
      }
      const next = (low << 3) + bits + 1;
      if (next <= 64) longer -= load<u32>(row + (<usize>next << 2));
      if (next + 8 <= 64) far -= load<u32>(row + (<usize>(next + 8) << 2));
    }
    store<u8>(TRIED + level, <u8>bestWidth);
    last = bestWidth;
    total += best;
  }
  return total;
}

/** Entropy of so many of all, in bits. */
function twoWayBits(some: u32, all: u32): f64 {
  if (some == 0 || some == all) return 0;
  const a = <f64>some, b = <f64>(all - some), n = <f64>all;
  return n * Math.log2(n) - a * Math.log2(a) - b * Math.log2(b);
}
