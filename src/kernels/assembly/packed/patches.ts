// Lanes whose difference has more bits than their level's width: where they are, and what is above those bits.
//
//   gaps    lanes since the last patch, u8; 255: 255 lanes, and no patch there
//   highs   the difference above its packed bits, u8; 0: more than that holds, and the lane itself follows
//   lanes   as wide as they are

import { BASE, ELEMENTS, INPUT, LANE_LEVELS, OUTPUT, RESIDUALS, TOKENS } from "../memory";
import { isFloat, laneAt, levelOf } from "./levels";
import { WIDTHS } from "./plan";

/** Gaps reach into the contexts' place. */
const GAPS: usize = LANE_LEVELS;
const HIGHS: usize = TOKENS;
const LANES: usize = RESIDUALS;
const PATCHES_MAX: usize = ELEMENTS;

let gaps: usize = 0, highs: usize = 0, lanes: usize = 0, nextLane: usize = 0;

export function packedGaps(): usize {
  return GAPS;
}

export function packedHighs(): usize {
  return HIGHS;
}

export function packedLanes(): usize {
  return LANES;
}

/** How many bytes there are of each. */
export function packedGapBytes(): usize {
  return gaps - GAPS;
}

export function packedHighBytes(): usize {
  return highs - HIGHS;
}

export function packedLaneBytes(): usize {
  return lanes - LANES;
}

export function patchesBegin(): void {
  gaps = GAPS;
  highs = HIGHS;
  lanes = LANES;
  nextLane = 0;
}

/** Lists a lane, of whose difference `bits` are packed or raw; false if there are too many. */
export function patchAdd(lane: usize, width: usize, bits: u64, mapped: bool): bool {
  if (highs == HIGHS + PATCHES_MAX) return false;
  let gap = lane - nextLane;
  for (; gap >= 255; gap -= 255) {
    store<u8>(gaps, 255);
    gaps++;
  }
  store<u8>(gaps, gap);
  gaps++;
  nextLane = lane + 1;
  const high = (laneAt(OUTPUT, lane, width) - <u64>mapped) >> bits;
  const short = high < 256;
  store<u8>(highs, short ? high : 0);
  highs++;
  if (!short) {
    store<u64>(lanes, laneAt(INPUT, lane, width));
    lanes += width;
  }
  return true;
}

/** How many of so many gaps at `at` end at a patch. */
export function packedCountPatches(at: usize, sizeBytes: usize): usize {
  let patches: usize = 0;
  for (let i: usize = 0; i < sizeBytes; i++) patches += usize(load<u8>(at + i) != 255);
  return patches;
}

/** How many of so many highs at `at` have their lane follow. */
export function packedCountLanes(at: usize, count: usize): usize {
  let whole: usize = 0;
  for (let i: usize = 0; i < count; i++) whole += usize(load<u8>(at + i) == 0);
  return whole;
}

// @ts-ignore: decorator
@inline
function turned(x: u64, sign: u64): u64 {
  return isFloat ? (x & sign ? ~x : x | sign) : x;
}

// @ts-ignore: decorator
@inline
function turnedBack(m: u64, sign: u64): u64 {
  return isFloat ? (m & sign ? m ^ sign : ~m) : m;
}

/** Patches OUTPUT, `gapBytes` gaps at `at` with highs and lanes after them; false if one is past the last lane. */
export function packedPatch(count: usize, width: usize, low: usize, at: usize, gapBytes: usize, patches: usize): bool {
  const bits = <u64>(width << 3);
  const sign = <u64>1 << (bits - 1), mask = ~<u64>0 >> (64 - bits);
  let high = at + gapBytes, whole = high + patches;
  let lane: usize = 0;
  for (let i: usize = 0; i < gapBytes; i++) {
    const gap = <usize>load<u8>(at + i);
    lane += gap;
    if (gap == 255) continue;
    if (lane >= count) return false;
    const above = <u64>load<u8>(high);
    high++;
    let x: u64;
    if (above == 0) {
      x = laneAt(whole, 0, width);
      whole += width;
    } else {
      // What was packed has given the lane a difference already, of which only the top is missing.
      const parent = laneAt(BASE, lane, width), ordered = turned(parent, sign);
      const r = (turned(laneAt(OUTPUT, lane, width), sign) - ordered) & mask;
      const z = (((r << 1) ^ (r & sign ? mask : 0)) & mask) + (above << (<u64>load<u8>(WIDTHS + <usize>levelOf(parent)) + <u64>(low << 3)));
      x = turnedBack(ordered + ((z & mask) >> 1 ^ (0 - (z & 1))), sign);
    }
    if (width == 2) store<u16>(OUTPUT + (lane << 1), <u16>x);
    else if (width == 4) store<u32>(OUTPUT + (lane << 2), <u32>x);
    else if (width == 8) store<u64>(OUTPUT + (lane << 3), x);
    else store<u8>(OUTPUT + lane, <u8>x);
    lane++;
  }
  return true;
}
