// Which groups of 16 lanes changed against the parent: one byte a group in MAP. Contexts of a group: did it change
// last time (parent against grandparent), did the group before it, did the one before that.

import { BASE, BASE2, INPUT, MAP, MAP_CONTEXTS } from "./memory";
import { bitDecode, bitEncode } from "./rans";
import { hasDrift } from "./residual";
import { MAP_FREQUENCIES } from "./tables";

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
  return drifted + (last << 1) + (beforeLast << 2);
}

/** By context, u32: groups that did not change, and groups that did. */
const MAP_COUNTS = memory.data(8 * 8);

/** Fills MAP_CONTEXTS and MAP_FREQUENCIES. */
export function mapCount(count: usize, width: usize): void {
  memory.fill(MAP_COUNTS, 0, 64);
  let last: u32 = 0, beforeLast: u32 = 0;
  for (let g: usize = 0; g < count >> 4; g++) {
    const context = contextOf(g, width << 4, last, beforeLast);
    store<u8>(MAP_CONTEXTS + g, <u8>context);
    beforeLast = last;
    last = load<u8>(MAP + g);
    const at = MAP_COUNTS + (<usize>((context << 1) | last) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  for (let context: usize = 0; context < 8; context++) {
    const same = load<u32>(MAP_COUNTS + (context << 3)), changed = load<u32>(MAP_COUNTS + (context << 3), 4);
    const share = same + changed == 0 ? 2048 : (changed * 4096 + ((same + changed) >> 1)) / (same + changed);
    store<u32>(MAP_FREQUENCIES + (context << 2), max<u32>(1, min<u32>(share, 4095)));
  }
}

/** Writes the map, last group to first. */
export function mapEncode(count: usize): void {
  for (let g = count >> 4; g > 0; ) {
    g--;
    bitEncode(g & 7, load<u8>(MAP_CONTEXTS + g), load<u8>(MAP + g));
  }
}

export function mapDecode(count: usize, width: usize): void {
  let last: u32 = 0, beforeLast: u32 = 0;
  for (let g: usize = 0; g < count >> 4; g++) {
    const changed = bitDecode(g & 7, contextOf(g, width << 4, last, beforeLast));
    beforeLast = last;
    last = changed;
    store<u8>(MAP + g, last);
  }
}
