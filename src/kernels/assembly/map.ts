// Which groups of 16 lanes changed against the parent: one byte a group in MAP. Contexts of a group: did it change
// last time (parent against grandparent), did the group before it, did the one before that.

import { BASE, BASE2, INPUT, MAP, MAP_CONTEXTS } from "./memory";
import { decodeOne, encodeSerial } from "./models";
import { hasDrift } from "./residual";

export const MAP_MODEL: u32 = 216;

// @ts-ignore: decorator
@inline
function groupDiffers(a: usize, b: usize, groupBytes: usize): u32 {
  let differs = i64x2.splat(0);
  for (let i: usize = 0; i < groupBytes; i += 16) {
    differs = v128.or(differs, v128.xor(v128.load(a + i), v128.load(b + i)));
  }
  return u32(v128.any_true(differs));
}

/** Marks the groups that changed; returns how many. */
export function mapChanged(count: usize, width: usize): usize {
  const groupBytes = width << 4;
  let changed: usize = 0;
  for (let g: usize = 0; g < count >> 4; g++) {
    const differs = groupDiffers(INPUT + g * groupBytes, BASE + g * groupBytes, groupBytes);
    store<u8>(MAP + g, differs);
    changed += differs;
  }
  return changed;
}

/** Marks every group. */
export function mapAll(count: usize): void {
  memory.fill(MAP, 1, count >> 4);
}

/**
 * Of the marked groups keeps about every `stride`-th: a sample. Multiples of the golden ratio say which, since rows of
 * a tensor may be a multiple of the stride, and evenly spaced groups would all see the same columns.
 */
export function mapThin(count: usize, stride: usize): void {
  let seen: u32 = 0;
  const most: u32 = 0xffffffff / <u32>stride;
  for (let g: usize = 0; g < count >> 4; g++) {
    if (!load<u8>(MAP + g)) continue;
    store<u8>(MAP + g, u8(seen * 0x9e3779b1 <= most));
    seen++;
  }
}

// @ts-ignore: decorator
@inline
function contextOf(group: usize, groupBytes: usize, last: u32, beforeLast: u32): u32 {
  const drifted = hasDrift ? groupDiffers(BASE2 + group * groupBytes, BASE + group * groupBytes, groupBytes) : 0;
  return MAP_MODEL + drifted + (last << 1) + (beforeLast << 2);
}

export function mapEncode(count: usize, width: usize): void {
  let last: u32 = 0, beforeLast: u32 = 0;
  for (let g: usize = 0; g < count >> 4; g++) {
    store<u16>(MAP_CONTEXTS + (g << 1), contextOf(g, width << 4, last, beforeLast));
    beforeLast = last;
    last = load<u8>(MAP + g);
  }
  encodeSerial(MAP, MAP_CONTEXTS, count >> 4);
}

export function mapDecode(count: usize, width: usize): void {
  let last: u32 = 0, beforeLast: u32 = 0;
  for (let g: usize = 0; g < count >> 4; g++) {
    const symbol = decodeOne(g & 3, contextOf(g, width << 4, last, beforeLast));
    beforeLast = last;
    last = u32(symbol != 0);
    store<u8>(MAP + g, last);
  }
}
