// residual.ts for lanes of four bytes, four at a time; RESIDUALS are i32.

import { BASE, BASE2, CONTEXTS, INPUT, LANE_LEVELS, MAP, OUTPUT, RESIDUALS } from "./memory";
import {
  contextsOf, contextsWithoutDrift, exponentMask, hasDrift, isFloat, largestExponent, lookUp, mantissaBits, SHIFTS,
} from "./residual";
import { widened } from "./tokens32";
import { FLOATS_255, FLOATS_2_23, LONGS_1, LONGS_127, LONGS_23, LONGS_23_BITS, LONGS_TOP } from "./vectors";

// @ts-ignore: decorator
@inline
function ordered32(x: v128): v128 {
  return isFloat ? v128.xor(x, v128.or(v128.shr<i32>(x, 31), v128.load(LONGS_TOP))) : x;
}

// @ts-ignore: decorator
@inline
function unordered32(m: v128): v128 {
  return isFloat ? v128.xor(m, v128.or(v128.not(v128.shr<i32>(m, 31)), v128.load(LONGS_TOP))) : m;
}

// @ts-ignore: decorator
@inline
function foldMask32(d: v128, p: v128): v128 {
  const down = v128.shr<i32>(d, 31);
  if (!isFloat) return down;
  return v128.or(down, v128.and(v128.eq<i32>(d, i32x4.splat(0)), v128.shr<i32>(p, 31)));
}

// @ts-ignore: decorator
@inline
function drift32(mp: v128, at: usize): v128 {
  return hasDrift ? v128.sub<i32>(mp, ordered32(v128.load(at))) : i32x4.splat(0);
}

// @ts-ignore: decorator
@inline
function level32(p: v128): v128 {
  const exponent = v128.and(v128.shr<u32>(p, <i32>mantissaBits), i32x4.splat(<i32>exponentMask));
  return v128.min<i32>(v128.sub<i32>(i32x4.splat(largestExponent), exponent), v128.load(LONGS_23));
}

/**
 * |d| / 2^shift rounded down of four lanes, 255 for more: a product of floats with a power of two, after the bits that
 * would be dropped are gone, so that nothing is rounded up.
 */
// @ts-ignore: decorator
@inline
function unitsMoved32(d: v128, shifts: v128): v128 {
  const power = i32x4.trunc_sat_f32x4_s(v128.shl<i32>(v128.add<i32>(shifts, v128.load(LONGS_127)), 23));
  const whole = v128.andnot(v128.abs<i32>(d), v128.sub<i32>(power, v128.load(LONGS_1)));
  // What a float cannot hold exactly is far above 255 units, or an exact power of two.
  const scale = v128.shl<i32>(v128.sub<i32>(v128.load(LONGS_127), shifts), 23);
  const units = v128.mul<f32>(f32x4.convert_i32x4_u(whole), scale);
  return v128.and(v128.add<f32>(v128.pmin<f32>(units, v128.load(FLOATS_255)), v128.load(FLOATS_2_23)), v128.load(LONGS_23_BITS));
}

// @ts-ignore: decorator
@inline
function bytes32(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

export function prepare32(count: usize, encoding: bool): usize {
  let out: usize = 0;
  for (let at: usize = 0; at < count << 2; at += 64) {
    if (!load<u8>(MAP + (at >> 6))) continue;
    const pa = v128.load(BASE + at), pb = v128.load(BASE + at, 16), pc = v128.load(BASE + at, 32), pd = v128.load(BASE + at, 48);
    const levels = bytes32(level32(pa), level32(pb), level32(pc), level32(pd));
    v128.store(LANE_LEVELS + out, levels);
    if (hasDrift) {
      const shifts = lookUp(SHIFTS, levels);
      const moved = bytes32(
        unitsMoved32(drift32(ordered32(pa), BASE2 + at), widened(shifts, 0)),
        unitsMoved32(drift32(ordered32(pb), BASE2 + at + 16), widened(shifts, 1)),
        unitsMoved32(drift32(ordered32(pc), BASE2 + at + 32), widened(shifts, 2)),
        unitsMoved32(drift32(ordered32(pd), BASE2 + at + 48), widened(shifts, 3)),
      );
      v128.store(CONTEXTS + out, contextsOf(levels, moved));
    } else v128.store(CONTEXTS + out, contextsWithoutDrift(levels));
    if (encoding) {
      for (let i: usize = 0; i < 64; i += 16) {
        const p = v128.load(BASE + at + i), mp = ordered32(p);
        const fold = foldMask32(drift32(mp, BASE2 + at + i), p);
        const r = v128.sub<i32>(ordered32(v128.load(INPUT + at + i)), mp);
        v128.store(RESIDUALS + (out << 2) + i, v128.sub<i32>(v128.xor(r, fold), fold));
      }
    }
    out += 16;
  }
  return out;
}

export function restore32(count: usize): void {
  let residuals = RESIDUALS;
  for (let group: usize = 0; group < count << 2; group += 64) {
    if (!load<u8>(MAP + (group >> 6))) {
      memory.copy(OUTPUT + group, BASE + group, 64);
      continue;
    }
    for (let at = group; at < group + 64; at += 16) {
      const p = v128.load(BASE + at);
      const mp = ordered32(p);
      const fold = foldMask32(drift32(mp, BASE2 + at), p);
      const r = v128.load(residuals);
      residuals += 16;
      v128.store(OUTPUT + at, unordered32(v128.add<i32>(mp, v128.sub<i32>(v128.xor(r, fold), fold))));
    }
  }
}
