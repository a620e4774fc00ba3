// What is done to lanes before they are split into byte planes.
//
//   turn     floats alone: rotated left by one, so that the exponent fills the top byte and the sign goes below
//   differ   against a parent: the zigzag of the difference of order-preserving integers, 0 -1 1 -2 … as 0 1 2 3 …

import { BASE, INPUT, OUTPUT } from "./memory";

/** INPUT, turned in place; `sizeBytes` may be rounded up to 16. */
export function turn(sizeBytes: usize, width: usize): void {
  for (let at = INPUT; at < INPUT + sizeBytes; at += 16) {
    const x = v128.load(at);
    if (width == 2) v128.store(at, v128.or(v128.shl<i16>(x, 1), v128.shr<u16>(x, 15)));
    else if (width == 4) v128.store(at, v128.or(v128.shl<i32>(x, 1), v128.shr<u32>(x, 31)));
    else v128.store(at, v128.or(v128.shl<i64>(x, 1), v128.shr<u64>(x, 63)));
  }
}

/** OUTPUT, turned back in place. */
export function turnBack(sizeBytes: usize, width: usize): void {
  for (let at = OUTPUT; at < OUTPUT + sizeBytes; at += 16) {
    const x = v128.load(at);
    if (width == 2) v128.store(at, v128.or(v128.shr<u16>(x, 1), v128.shl<i16>(x, 15)));
    else if (width == 4) v128.store(at, v128.or(v128.shr<u32>(x, 1), v128.shl<i32>(x, 31)));
    else v128.store(at, v128.or(v128.shr<u64>(x, 1), v128.shl<i64>(x, 63)));
  }
}

/**
 * Sign and magnitude as two's complement and back: both ways the bits below a set sign bit are inverted. That is the
 * order of floats, and but for the top bit, which no difference sees, that of the formats' page.
 */
// @ts-ignore: decorator
@inline
export function inOrder<T>(x: v128): v128 {
  const bits = <i32>(sizeof<T>() << 3) - 1;
  const signs = v128.shr<T>(x, bits);
  return v128.xor(x, sizeof<T>() == 1 ? v128.shr<u8>(signs, 1) : sizeof<T>() == 2 ? v128.shr<u16>(signs, 1)
    : sizeof<T>() == 4 ? v128.shr<u32>(signs, 1) : v128.shr<u64>(signs, 1));
}

// @ts-ignore: decorator
@inline
function differLanes<T>(sizeBytes: usize, float: bool): void {
  const bits = <i32>(sizeof<T>() << 3) - 1;
  for (let i: usize = 0; i < sizeBytes; i += 16) {
    const x = v128.load(INPUT + i), p = v128.load(BASE + i);
    const r = float ? v128.sub<T>(inOrder<T>(x), inOrder<T>(p)) : v128.sub<T>(x, p);
    v128.store(OUTPUT + i, v128.xor(v128.shl<T>(r, 1), v128.shr<T>(r, bits)));
  }
}

/** The parent's lanes moved by what zigzags say. */
// @ts-ignore: decorator
@inline
export function moved<T>(z: v128, p: v128, float: bool): v128 {
  const bits = <i32>(sizeof<T>() << 3) - 1;
  // All ones where the last bit was set.
  const down = v128.shr<T>(v128.shl<T>(z, bits), bits);
  const half = sizeof<T>() == 1 ? v128.shr<u8>(z, 1) : sizeof<T>() == 2 ? v128.shr<u16>(z, 1)
    : sizeof<T>() == 4 ? v128.shr<u32>(z, 1) : v128.shr<u64>(z, 1);
  const r = v128.xor(half, down);
  return float ? inOrder<T>(v128.add<T>(inOrder<T>(p), r)) : v128.add<T>(p, r);
}

// @ts-ignore: decorator
@inline
function moveLanes<T>(sizeBytes: usize, float: bool): void {
  for (let i: usize = 0; i < sizeBytes; i += 16) {
    v128.store(OUTPUT + i, moved<T>(v128.load(OUTPUT + i), v128.load(BASE + i), float));
  }
}

/** OUTPUT becomes the zigzag of INPUT's differences from BASE. */
export function differ(sizeBytes: usize, width: usize, float: bool): void {
  if (width == 2) float ? differLanes<i16>(sizeBytes, true) : differLanes<i16>(sizeBytes, false);
  else if (width == 4) float ? differLanes<i32>(sizeBytes, true) : differLanes<i32>(sizeBytes, false);
  else if (width == 1) differLanes<i8>(sizeBytes, float);
  else differLanes<i64>(sizeBytes, float);
}

/** OUTPUT, zigzags of differences, becomes the lanes. */
export function addBack(sizeBytes: usize, width: usize, float: bool): void {
  if (width == 2) float ? moveLanes<i16>(sizeBytes, true) : moveLanes<i16>(sizeBytes, false);
  else if (width == 4) float ? moveLanes<i32>(sizeBytes, true) : moveLanes<i32>(sizeBytes, false);
  else if (width == 1) moveLanes<i8>(sizeBytes, float);
  else moveLanes<i64>(sizeBytes, float);
}
