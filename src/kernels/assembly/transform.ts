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

// @ts-ignore: decorator
@inline
export function ordered<T>(x: v128, float: bool): v128 {
  if (!float) return x;
  const bits = <i32>(sizeof<T>() << 3) - 1;
  const top = v128.splat<T>(<T>1 << <T>bits);
  return v128.xor(x, v128.or(v128.shr<T>(x, bits), top));
}

// @ts-ignore: decorator
@inline
export function unordered<T>(m: v128, float: bool): v128 {
  if (!float) return m;
  const bits = <i32>(sizeof<T>() << 3) - 1;
  const top = v128.splat<T>(<T>1 << <T>bits);
  return v128.xor(m, v128.or(v128.not(v128.shr<T>(m, bits)), top));
}

// @ts-ignore: decorator
@inline
function differLanes<T>(sizeBytes: usize, float: bool): void {
  const bits = <i32>(sizeof<T>() << 3) - 1;
  for (let i: usize = 0; i < sizeBytes; i += 16) {
    const r = v128.sub<T>(ordered<T>(v128.load(INPUT + i), float), ordered<T>(v128.load(BASE + i), float));
    v128.store(OUTPUT + i, v128.xor(v128.shl<T>(r, 1), v128.shr<T>(r, bits)));
  }
}

// @ts-ignore: decorator
@inline
function addLanes<T>(sizeBytes: usize, float: bool): void {
  const one = v128.splat<T>(1);
  const bits = <i32>(sizeof<T>() << 3) - 1;
  for (let i: usize = 0; i < sizeBytes; i += 16) {
    const z = v128.load(OUTPUT + i);
    const low = v128.and(z, one);
    // Logical shift right by one, then all ones where the last bit was set.
    const half = v128.andnot(v128.shr<T>(z, 1), v128.splat<T>(<T>1 << <T>bits));
    const r = v128.xor(half, v128.neg<T>(low));
    v128.store(OUTPUT + i, unordered<T>(v128.add<T>(ordered<T>(v128.load(BASE + i), float), r), float));
  }
}

/** OUTPUT becomes the zigzag of INPUT's differences from BASE. */
export function differ(sizeBytes: usize, width: usize, float: bool): void {
  if (width == 1) differLanes<i8>(sizeBytes, float);
  else if (width == 2) differLanes<i16>(sizeBytes, float);
  else if (width == 4) differLanes<i32>(sizeBytes, float);
  else differLanes<i64>(sizeBytes, float);
}

/** OUTPUT, zigzags of differences, becomes the lanes. */
export function addBack(sizeBytes: usize, width: usize, float: bool): void {
  if (width == 1) addLanes<i8>(sizeBytes, float);
  else if (width == 2) addLanes<i16>(sizeBytes, float);
  else if (width == 4) addLanes<i32>(sizeBytes, float);
  else addLanes<i64>(sizeBytes, float);
}
