// residual.ts for lanes of four bytes, four at a time; RESIDUALS are i32.

import { BASE, BASE2, CONTEXTS, INPUT, MAP, OUTPUT, RESIDUALS, SYMBOLS } from "./memory";
import { binsRelative, binsThreshold, exponentMask, hasDrift, isFloat, largestExponent, LEVELS, mantissaBits } from "./residual";

const SHIFT_MAX: i32 = 27;

// @ts-ignore: decorator
@inline
function ordered32(x: v128): v128 {
  return isFloat ? v128.xor(x, v128.or(v128.shr<i32>(x, 31), i32x4.splat(-0x80000000))) : x;
}

// @ts-ignore: decorator
@inline
function unordered32(m: v128): v128 {
  return isFloat ? v128.xor(m, v128.or(v128.not(v128.shr<i32>(m, 31)), i32x4.splat(-0x80000000))) : m;
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

/** 1 << shift of four levels: made as floats, which are exact. */
// @ts-ignore: decorator
@inline
function units32(levels: v128): v128 {
  const counted = binsRelative ? i32x4.splat(0) : levels;
  let shift = v128.sub<i32>(counted, i32x4.splat(binsThreshold));
  shift = v128.max<i32>(i32x4.splat(0), v128.min<i32>(shift, i32x4.splat(SHIFT_MAX)));
  return i32x4.trunc_sat_f32x4_s(v128.shl<i32>(v128.add<i32>(shift, i32x4.splat(127)), 23));
}

// @ts-ignore: decorator
@inline
function context32(p: v128, d: v128): v128 {
  const exponent = v128.and(v128.shr<u32>(p, <i32>mantissaBits), i32x4.splat(<i32>exponentMask));
  const levels = v128.min<i32>(v128.sub<i32>(i32x4.splat(largestExponent), exponent), i32x4.splat(<i32>LEVELS - 1));
  const context = v128.shl<i32>(levels, 3);
  if (!hasDrift) return context;
  const m = v128.abs<i32>(d);
  const unit = units32(levels);
  const two = v128.add<i32>(unit, unit);
  const four = v128.add<i32>(two, two);
  let reached = v128.ge<u32>(m, unit);
  reached = v128.add<i32>(reached, v128.ge<u32>(m, two));
  reached = v128.add<i32>(reached, v128.ge<u32>(m, v128.add<i32>(two, unit)));
  reached = v128.add<i32>(reached, v128.ge<u32>(m, four));
  reached = v128.add<i32>(reached, v128.ge<u32>(m, v128.add<i32>(four, two)));
  reached = v128.add<i32>(reached, v128.ge<u32>(m, v128.shl<i32>(unit, 3)));
  reached = v128.add<i32>(reached, v128.ge<u32>(m, v128.shl<i32>(unit, 4)));
  return v128.sub<i32>(context, reached);
}

export function prepare32(count: usize, encoding: bool): usize {
  let out: usize = 0;
  for (let at: usize = 0; at < count << 2; at += 64) {
    if (!load<u8>(MAP + (at >> 6))) continue;
    for (let half: usize = 0; half < 64; half += 32) {
      const a = at + half, b = a + 16;
      const pa = v128.load(BASE + a), pb = v128.load(BASE + b);
      const ma = ordered32(pa), mb = ordered32(pb);
      const da = drift32(ma, BASE2 + a), db = drift32(mb, BASE2 + b);
      v128.store(CONTEXTS + (out << 1), i16x8.narrow_i32x4_u(context32(pa, da), context32(pb, db)));
      if (encoding) {
        const fa = foldMask32(da, pa), fb = foldMask32(db, pb);
        const ra = v128.sub<i32>(ordered32(v128.load(INPUT + a)), ma);
        const rb = v128.sub<i32>(ordered32(v128.load(INPUT + b)), mb);
        v128.store(RESIDUALS + (out << 2), v128.sub<i32>(v128.xor(ra, fa), fa));
        v128.store(RESIDUALS + (out << 2), v128.sub<i32>(v128.xor(rb, fb), fb), 16);
      }
      out += 8;
    }
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

/** How many of the bins' lower edges each lane reaches; they are at most seven units of 2^27 from 0. */
// @ts-ignore: decorator
@inline
function reached32(r: v128, levels: v128, zeros: bool): v128 {
  const unit = units32(levels);
  let edge = v128.sub<i32>(unit, v128.shl<i32>(unit, 3));
  let reached = i32x4.splat(0);
  if (!zeros) reached = v128.ge<i32>(r, edge);
  for (let k = -6; k <= 7; k++) {
    edge = v128.add<i32>(edge, unit);
    reached = v128.add<i32>(reached, v128.ge<i32>(r, edge));
  }
  reached = v128.neg<i32>(reached);
  return zeros ? v128.bitselect(i32x4.splat(15), reached, v128.eq<i32>(r, i32x4.splat(0))) : reached;
}

export function symbols32(count: usize, zeros: bool): void {
  for (let i: usize = 0; i < count; i += 8) {
    const levels = v128.shr<u16>(v128.load(CONTEXTS + (i << 1)), 3);
    const low = reached32(v128.load(RESIDUALS + (i << 2)), i32x4.extend_low_i16x8_u(levels), zeros);
    const high = reached32(v128.load(RESIDUALS + (i << 2), 16), i32x4.extend_high_i16x8_u(levels), zeros);
    const words = i16x8.narrow_i32x4_u(low, high);
    store<u64>(SYMBOLS + i, i64x2.extract_lane(i8x16.narrow_i16x8_u(words, words), 0));
  }
}
