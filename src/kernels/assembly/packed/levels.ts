// A lane's level: by how many powers of two its parent is smaller than a given exponent, 0 to 15. The parent's exponent
// fixes what one unit in the last place is worth, and so how many of them a step moves the lane.

import { odd } from "../planes";
import { BYTES_15 } from "../vectors";

/** What the lanes are: set once a chunk. */
export let isFloat: bool = false;
let mantissaBits: u32 = 0;
let exponentMask: u32 = 0;
/** The exponent of level 0; larger ones count as it. */
let topExponent: u32 = 0;

/** Where an exponent lies in a lane, mask 0 for lanes that have none: those are all of level 0. */
export function packedSetup(float: bool, mantissa: u32, exponents: u32): void {
  isFloat = float;
  mantissaBits = mantissa;
  exponentMask = exponents;
}

export function packedTop(): u32 {
  return topExponent;
}

export function packedSetTop(exponent: u32): void {
  topExponent = exponent;
}

// @ts-ignore: decorator
@inline
export function laneAt(base: usize, i: usize, width: usize): u64 {
  if (width == 2) return load<u16>(base + (i << 1));
  if (width == 4) return load<u32>(base + (i << 2));
  if (width == 8) return load<u64>(base + (i << 3));
  return load<u8>(base + i);
}

// @ts-ignore: decorator
@inline
export function exponentOf(lane: u64): u32 {
  return <u32>(lane >> <u64>mantissaBits) & exponentMask;
}

// @ts-ignore: decorator
@inline
export function levelOf(lane: u64): u32 {
  return <u32>min<i32>(15, max<i32>(0, <i32>topExponent - <i32>exponentOf(lane)));
}

/**
 * Levels of the sixteen lanes from `at` on, a byte each. `top` and `mask` are `topVector` and `maskVector`: made once,
 * since a vector made of a number costs as much as the rest of this.
 */
// @ts-ignore: decorator
@inline
export function levelsAt(at: usize, width: usize, top: v128, mask: v128): v128 {
  if (width == 1) return clamped(v128.sub_sat<u8>(top, v128.and(v128.shr<u8>(v128.load(at), <i32>mantissaBits), mask)));
  if (width == 2) {
    const a = v128.load(at), b = v128.load(at, 16);
    if (mantissaBits == 7) {
      // Without the sign the exponent of a bf16 is its upper byte.
      return clamped(v128.sub_sat<u8>(top, odd(v128.shl<i16>(a, 1), v128.shl<i16>(b, 1))));
    }
    return clamped(i8x16.narrow_i16x8_u(below16(a, top, mask), below16(b, top, mask)));
  }
  if (width == 4) {
    return clamped(i8x16.narrow_i16x8_u(
      i16x8.narrow_i32x4_s(below32(v128.load(at), top, mask), below32(v128.load(at, 16), top, mask)),
      i16x8.narrow_i32x4_s(below32(v128.load(at, 32), top, mask), below32(v128.load(at, 48), top, mask)),
    ));
  }
  return clamped(i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_s(below64(at, top, mask), below64(at + 32, top, mask)),
    i16x8.narrow_i32x4_s(below64(at + 64, top, mask), below64(at + 96, top, mask)),
  ));
}

/** The exponent of level 0 in every place of an exponent that `levelsAt` compares it with. */
export function topVector(width: usize): v128 {
  return vectorOf(width, topExponent);
}

export function maskVector(width: usize): v128 {
  return vectorOf(width, exponentMask);
}

// @ts-ignore: decorator
@inline
function vectorOf(width: usize, value: u32): v128 {
  if (width == 1 || (width == 2 && mantissaBits == 7)) return i8x16.splat(<i8>value);
  return width == 2 ? i16x8.splat(<i16>value) : i32x4.splat(<i32>value);
}

// @ts-ignore: decorator
@inline
function clamped(levels: v128): v128 {
  return v128.min<u8>(levels, v128.load(BYTES_15));
}

// @ts-ignore: decorator
@inline
function below16(lanes: v128, top: v128, mask: v128): v128 {
  return v128.sub<i16>(top, v128.and(v128.shr<u16>(lanes, <i32>mantissaBits), mask));
}

// @ts-ignore: decorator
@inline
function below32(lanes: v128, top: v128, mask: v128): v128 {
  // A shift by a number that is not known beforehand costs four instructions.
  const shifted = mantissaBits == 23 ? v128.shr<u32>(lanes, 23) : v128.shr<u32>(lanes, <i32>mantissaBits);
  return v128.sub<i32>(top, v128.and(shifted, mask));
}

/** Of four lanes of eight bytes, from their upper halves; those of lanes without exponents are masked away. */
// @ts-ignore: decorator
@inline
function below64(at: usize, top: v128, mask: v128): v128 {
  const upper = v128.shuffle<i32>(v128.load(at), v128.load(at, 16), 1, 3, 5, 7);
  return v128.sub<i32>(top, v128.and(v128.shr<u32>(upper, <i32>(mantissaBits & 31)), mask));
}
