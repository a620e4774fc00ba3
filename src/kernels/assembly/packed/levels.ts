// A lane's level: by how many powers of two its parent is smaller than a given exponent, 0 to 15. The parent's exponent
// fixes what one unit in the last place is worth, and so how many of them a step moves the lane.

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

/** Levels of the sixteen lanes from `at` on, a byte each. */
// @ts-ignore: decorator
@inline
export function levelsAt(at: usize, width: usize): v128 {
  if (width == 1) {
    const e = v128.and(v128.shr<u8>(v128.load(at), <i32>mantissaBits), i8x16.splat(<i8>exponentMask));
    return v128.min<u8>(v128.sub_sat<u8>(i8x16.splat(<i8>topExponent), e), i8x16.splat(15));
  }
  if (width == 2) return clamped(below16(at), below16(at + 16));
  if (width == 4) {
    return clamped(
      i16x8.narrow_i32x4_s(below32(v128.load(at)), below32(v128.load(at, 16))),
      i16x8.narrow_i32x4_s(below32(v128.load(at, 32)), below32(v128.load(at, 48))),
    );
  }
  return clamped(
    i16x8.narrow_i32x4_s(below64(at), below64(at + 32)),
    i16x8.narrow_i32x4_s(below64(at + 64), below64(at + 96)),
  );
}

// @ts-ignore: decorator
@inline
function clamped(a: v128, b: v128): v128 {
  return v128.min<u8>(i8x16.narrow_i16x8_u(a, b), i8x16.splat(15));
}

// @ts-ignore: decorator
@inline
function below16(at: usize): v128 {
  const e = v128.and(v128.shr<u16>(v128.load(at), <i32>mantissaBits), i16x8.splat(<i16>exponentMask));
  return v128.sub<i16>(i16x8.splat(<i16>topExponent), e);
}

// @ts-ignore: decorator
@inline
function below32(lanes: v128): v128 {
  const e = v128.and(v128.shr<u32>(lanes, <i32>mantissaBits), i32x4.splat(<i32>exponentMask));
  return v128.sub<i32>(i32x4.splat(<i32>topExponent), e);
}

/** Of four lanes of eight bytes, from their upper halves; those of lanes without exponents are masked away. */
// @ts-ignore: decorator
@inline
function below64(at: usize): v128 {
  const upper = v128.shuffle<i32>(v128.load(at), v128.load(at, 16), 1, 3, 5, 7);
  const e = v128.and(v128.shr<u32>(upper, <i32>(mantissaBits & 31)), i32x4.splat(<i32>exponentMask));
  return v128.sub<i32>(i32x4.splat(<i32>topExponent), e);
}
