// Zigzags of differences, z, cut at a shift: what lies below it is raw, what lies above is a nibble, two lanes to a byte.
//
//   nibbles   min(z >> shift, 15), lane 2k in the lower half of byte k
//   low       the shift / 8 first byte planes of z, then its next shift % 8 bits, each a plane of one bit a lane
//   escapes   of lanes whose nibble is 15: z >> shift, less 15; one byte each, 255 for more, which follow whole
//
// Everything is done on byte planes, sixteen lanes at a time, whatever the lanes' width.

import { BASE, BASE2, ELEMENTS, INPUT, LANE_LEVELS, OUTPUT, RESIDUALS, WORK } from "./memory";
import { joinPlanes, splitPlanes } from "./planes";
import { BYTES_15 } from "./vectors";

/** Where nibbles, planes of bits, escapes and those that follow whole lie. */
const NIBBLES: usize = BASE2;
const BIT_PLANES: usize = BASE;
const ESCAPES: usize = LANE_LEVELS;
const WHOLE: usize = RESIDUALS;
const ESCAPES_MAX: usize = ELEMENTS;

/** Lanes looked at to choose a shift. */
const SAMPLE_LANES: usize = 2048;
/** What an escape is taken to cost: eight bits, and as many again for the time it takes. */
const ESCAPE_BITS: f64 = 16;
/** How many lanes of the sample have so many bits, u32. */
const LENGTHS = memory.data(65 * 4);

export function pairsNibbles(): usize {
  return NIBBLES;
}

export function pairsBits(): usize {
  return BIT_PLANES;
}

export function pairsEscapes(): usize {
  return ESCAPES;
}

export function pairsWhole(): usize {
  return WHOLE;
}

// @ts-ignore: decorator
@inline
function laneOf(base: usize, i: usize, width: usize): u64 {
  if (width == 2) return load<u16>(base + (i << 1));
  if (width == 4) return load<u32>(base + (i << 2));
  if (width == 8) return load<u64>(base + (i << 3));
  return load<u8>(base + i);
}

/** The shift that is least for INPUT: by how many bits lanes of a sample have, above it and in nibbles. */
export function pairsShift(count: usize, width: usize): u32 {
  memory.fill(LENGTHS, 0, 65 * 4);
  const step = max<usize>(1, count / SAMPLE_LANES);
  for (let i: usize = 0; i < count; i += step) {
    const at = LENGTHS + (<usize>(64 - clz(laneOf(INPUT, i, width))) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  let best: u32 = 0;
  let bestCost = Infinity;
  for (let shift: u32 = 0; shift <= (<u32>width << 3) - 4; shift++) {
    const cost = shiftCost(shift);
    if (cost < bestCost) {
      best = shift;
      bestCost = cost;
    }
  }
  return best;
}

/** Bits of the sample: raw ones, the entropy of nibbles by their lengths, and what an escape takes. */
function shiftCost(shift: u32): f64 {
  let zero: f64 = 0, escapes: f64 = 0, total: f64 = 0, bits: f64 = 0;
  for (let length: u32 = 0; length <= 64; length++) {
    const n = <f64>load<u32>(LENGTHS + (<usize>length << 2));
    if (n == 0) continue;
    total += n;
    if (length <= shift) zero += n;
    else if (length > shift + 4) {
      escapes += n;
      bits += n * (length > shift + 8 ? <f64>length + ESCAPE_BITS : ESCAPE_BITS);
    } else {
      bits += n * <f64>(length - shift - 1);
      bits -= n * <f64>Math.log2(n);
    }
  }
  if (zero > 0) bits -= zero * Math.log2(zero);
  if (escapes > 0) bits -= escapes * Math.log2(escapes);
  return bits + total * Math.log2(total) + total * <f64>shift;
}

let wholeCount: usize = 0;

/** How many escapes are over 254. */
export function pairsWholeCount(): usize {
  return wholeCount;
}

/** Cuts INPUT at `shift`; byte planes are left at WORK. Returns how many escapes there are, or -1 if too many. */
export function pairsSplit(count: usize, width: usize, shift: u32): i32 {
  splitPlanes(INPUT, WORK, count, width);
  const first = <usize>(shift >>> 3), rest = <i32>(shift & 7);
  const plane = WORK + first * count;
  const planes = width - first;
  // The plane past the last one is all zeros.
  memory.fill(WORK + width * count, 0, count + 16);
  const fifteen = v128.load(BYTES_15), none = i8x16.splat(0);
  const lowMask = i8x16.splat(<i8>(255 >> rest)), highMask = i8x16.splat(<i8>(255 << (8 - rest))), moreMask = i8x16.splat(<i8>(255 << rest));
  let escapes: usize = 0;
  wholeCount = 0;
  for (let i: usize = 0; i < count; i += 16) {
    const lower = v128.load(plane + i), upper = v128.load(plane + count + i);
    // Bytes shifted as words, of which what came from a neighbour is cut off.
    const value = v128.or(v128.and(v128.shr<u16>(lower, rest), lowMask), v128.and(v128.shl<i16>(upper, 8 - rest), highMask));
    let more = v128.and(upper, moreMask);
    for (let k: usize = 2; k < planes; k++) more = v128.or(more, v128.load(plane + k * count + i));
    const large = v128.or(v128.gt<u8>(value, fifteen), v128.ne<i8>(more, none));
    const nibble = v128.bitselect(fifteen, value, large);
    // Two bytes a word become one: the lower, and the upper shifted down by four.
    const pair = v128.and(v128.or(nibble, v128.shr<u16>(nibble, 4)), i16x8.splat(255));
    store<u64>(NIBBLES + (i >> 1), i64x2.extract_lane(i8x16.narrow_i16x8_u(pair, pair), 0));
    let escaped = <u32>v128.bitmask<i8>(v128.eq<i8>(nibble, fifteen));
    if (i + 16 > count) escaped &= (1 << <u32>(count - i)) - 1;
    for (; escaped != 0; escaped &= escaped - 1) {
      if (escapes == ESCAPES_MAX) return -1;
      const e = (laneOf(INPUT, i + <usize>ctz(escaped), width) >> <u64>shift) - 15;
      store<u8>(ESCAPES + escapes, <u8>min<u64>(e, 255));
      escapes++;
      if (e < 255) continue;
      store<u64>(WHOLE + wholeCount * width, e);
      wholeCount++;
    }
  }
  if ((count & 1) != 0) store<u8>(NIBBLES + (count >> 1), load<u8>(NIBBLES + (count >> 1)) & 15);
  const planeBytes = (count + 7) >> 3;
  for (let bit: i32 = 0; bit < rest; bit++) {
    for (let i: usize = 0; i < count; i += 16) {
      const mask = <u32>v128.bitmask<i8>(v128.shl<i16>(v128.load(plane + i), 7 - bit));
      store<u16>(BIT_PLANES + <usize>bit * planeBytes + (i >> 3), mask);
    }
  }
  if ((count & 7) != 0) clearTails(count, planeBytes, rest);
  return <i32>escapes;
}

/** Bits past the last lane are zeros, and each plane begins where the one before ends. */
function clearTails(count: usize, planeBytes: usize, planes: i32): void {
  for (let bit: usize = 0; bit < <usize>planes; bit++) {
    const last = BIT_PLANES + bit * planeBytes + planeBytes - 1;
    store<u8>(last, <u8>(<u32>load<u8>(last) & (((<u32>1) << <u32>(count & 7)) - 1)));
  }
}

const BIT_OF_LANE = memory.data<u8>([1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128], 16);
const BYTE_OF_LANE = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1], 16);

/** Sixteen nibbles, a byte each. */
// @ts-ignore: decorator
@inline
function nibblesAt(i: usize): v128 {
  const pairs = i16x8.extend_low_i8x16_u(v128.load64_zero(NIBBLES + (i >> 1)));
  return v128.and(v128.or(pairs, v128.shl<i16>(pairs, 4)), v128.load(BYTES_15));
}

/** How many of the nibbles are 15, or -1 for more than an encoder escapes. */
export function pairsCountEscapes(count: usize): i32 {
  let escapes: usize = 0;
  for (let i: usize = 0; i < count; i += 16) {
    let escaped = <u32>v128.bitmask<i8>(v128.eq<i8>(nibblesAt(i), v128.load(BYTES_15)));
    if (i + 16 > count) escaped &= (1 << <u32>(count - i)) - 1;
    escapes += <usize>popcnt(escaped);
  }
  return escapes > ESCAPES_MAX ? -1 : <i32>escapes;
}

/** How many of so many escapes follow whole. */
export function pairsCountWhole(escapes: usize): usize {
  let whole: usize = 0;
  for (let i: usize = 0; i < escapes; i++) whole += usize(load<u8>(ESCAPES + i) == 255);
  return whole;
}

/** Fills OUTPUT from the nibbles, the low planes of bytes at WORK and of bits, and the escapes. */
export function pairsJoin(count: usize, width: usize, shift: u32): void {
  const first = <usize>(shift >>> 3), rest = <i32>(shift & 7);
  const plane = WORK + first * count;
  const planeBytes = (count + 7) >> 3;
  const byteOfLane = v128.load(BYTE_OF_LANE), bitOfLane = v128.load(BIT_OF_LANE);
  // The last vector of a plane may reach into the next one, which is filled after it.
  for (let i: usize = 0; i < count; i += 16) {
    // From the highest bit down: twice what is there, and one more where the bit is set. What overflows belongs above.
    let low = nibblesAt(i);
    for (let at = BIT_PLANES + <usize>rest * planeBytes + (i >> 3); at >= BIT_PLANES + planeBytes; ) {
      at -= planeBytes;
      const set = v128.eq<i8>(v128.and(v128.swizzle(v128.load16_splat(at), byteOfLane), bitOfLane), bitOfLane);
      low = v128.sub<i8>(v128.add<i8>(low, low), set);
    }
    v128.store(plane + i, low);
  }
  if (first + 1 < width) {
    memory.fill(plane + count, 0, (width - first - 1) * count);
    if (rest > 4) {
      const over = i8x16.splat(<i8>(255 >> (8 - rest)));
      for (let i: usize = 0; i < count; i += 16) {
        v128.store(plane + count + i, v128.and(v128.shr<u16>(nibblesAt(i), 8 - rest), over));
      }
      if (first + 2 < width) memory.fill(plane + 2 * count, 0, (width - first - 2) * count);
    }
  }
  joinPlanes(WORK, OUTPUT, count, width);
  addEscapes(count, width, shift);
}

function addEscapes(count: usize, width: usize, shift: u32): void {
  let escape = ESCAPES, whole = WHOLE;
  for (let i: usize = 0; i < count; i += 16) {
    let escaped = <u32>v128.bitmask<i8>(v128.eq<i8>(nibblesAt(i), v128.load(BYTES_15)));
    if (i + 16 > count) escaped &= (1 << <u32>(count - i)) - 1;
    for (; escaped != 0; escaped &= escaped - 1) {
      let e = <u64>load<u8>(escape);
      escape++;
      if (e == 255) {
        e = laneOf(whole, 0, width);
        whole += width;
      }
      const lane = i + <usize>ctz(escaped);
      const z = laneOf(OUTPUT, lane, width) + (e << <u64>shift);
      if (width == 2) store<u16>(OUTPUT + (lane << 1), <u16>z);
      else if (width == 4) store<u32>(OUTPUT + (lane << 2), <u32>z);
      else if (width == 8) store<u64>(OUTPUT + (lane << 3), z);
      else store<u8>(OUTPUT + lane, <u8>z);
    }
  }
}
