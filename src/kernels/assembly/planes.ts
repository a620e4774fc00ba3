// Byte planes: element i's byte b goes to plane b at i, so that bytes of one meaning lie together.
//
//   elements  [a0 a1 a2 a3][b0 b1 b2 b3][c0 …      width 4
//   planes    [a0 b0 c0 …][a1 b1 c1 …][a2 …][a3 …]

// @ts-ignore: decorator
@inline
export function even(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}
// @ts-ignore: decorator
@inline
export function odd(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
// @ts-ignore: decorator
@inline
export function zipLow(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
// @ts-ignore: decorator
@inline
export function zipHigh(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/** target[i] = a[i] ^ b[i] for `sizeBytes` bytes; target may be a or b. */
export function xorInto(target: usize, a: usize, b: usize, sizeBytes: usize): void {
  let i: usize = 0;
  for (; i + 16 <= sizeBytes; i += 16) {
    v128.store(target + i, v128.xor(v128.load(a + i), v128.load(b + i)));
  }
  for (; i < sizeBytes; i++) store<u8>(target + i, load<u8>(a + i) ^ load<u8>(b + i));
}

/** Splits `count` elements of `width` bytes (1, 2, 4 or 8) at `source` into `width` planes of `count` bytes. */
export function splitPlanes(source: usize, target: usize, count: usize, width: usize): void {
  let i: usize = 0;
  if (width == 1) {
    memory.copy(target, source, count);
    return;
  }
  if (width == 2) {
    for (; i + 16 <= count; i += 16) {
      const at = source + (i << 1);
      const a = v128.load(at);
      const b = v128.load(at + 16);
      v128.store(target + i, even(a, b));
      v128.store(target + count + i, odd(a, b));
    }
  } else if (width == 4) {
    for (; i + 16 <= count; i += 16) {
      const at = source + (i << 2);
      split4(v128.load(at), v128.load(at + 16), v128.load(at + 32), v128.load(at + 48), target + i, count);
    }
  } else {
    for (; i + 16 <= count; i += 16) split8(source + (i << 3), target + i, count);
  }
  for (; i < count; i++) {
    for (let plane: usize = 0; plane < width; plane++) {
      store<u8>(target + plane * count + i, load<u8>(source + i * width + plane));
    }
  }
}

// @ts-ignore: decorator
@inline
function split4(a: v128, b: v128, c: v128, d: v128, target: usize, stride: usize): void {
  const e0 = even(a, b), e1 = even(c, d), o0 = odd(a, b), o1 = odd(c, d);
  v128.store(target, even(e0, e1));
  v128.store(target + stride, even(o0, o1));
  v128.store(target + 2 * stride, odd(e0, e1));
  v128.store(target + 3 * stride, odd(o0, o1));
}

// @ts-ignore: decorator
@inline
function split8(at: usize, target: usize, stride: usize): void {
  const a = v128.load(at), b = v128.load(at + 16), c = v128.load(at + 32), d = v128.load(at + 48);
  const e = v128.load(at + 64), f = v128.load(at + 80), g = v128.load(at + 96), h = v128.load(at + 112);
  // Even bytes are bytes 0 2 4 6 of the elements: a width-4 split of them gives those planes.
  split4(even(a, b), even(c, d), even(e, f), even(g, h), target, stride << 1);
  split4(odd(a, b), odd(c, d), odd(e, f), odd(g, h), target + stride, stride << 1);
}

/** The inverse of `splitPlanes`. */
export function joinPlanes(source: usize, target: usize, count: usize, width: usize): void {
  let i: usize = 0;
  if (width == 1) {
    memory.copy(target, source, count);
    return;
  }
  if (width == 2) {
    for (; i + 16 <= count; i += 16) {
      const a = v128.load(source + i);
      const b = v128.load(source + count + i);
      const at = target + (i << 1);
      v128.store(at, zipLow(a, b));
      v128.store(at + 16, zipHigh(a, b));
    }
  } else if (width == 4) {
    for (; i + 16 <= count; i += 16) {
      const p0 = v128.load(source + i), p1 = v128.load(source + count + i);
      const p2 = v128.load(source + 2 * count + i), p3 = v128.load(source + 3 * count + i);
      const at = target + (i << 2);
      const e0 = zipLow(p0, p2), e1 = zipHigh(p0, p2), o0 = zipLow(p1, p3), o1 = zipHigh(p1, p3);
      v128.store(at, zipLow(e0, o0));
      v128.store(at + 16, zipHigh(e0, o0));
      v128.store(at + 32, zipLow(e1, o1));
      v128.store(at + 48, zipHigh(e1, o1));
    }
  } else {
    for (; i + 16 <= count; i += 16) join8(source + i, count, target + (i << 3));
  }
  for (; i < count; i++) {
    for (let plane: usize = 0; plane < width; plane++) {
      store<u8>(target + i * width + plane, load<u8>(source + plane * count + i));
    }
  }
}

// @ts-ignore: decorator
@inline
function join8(from: usize, stride: usize, at: usize): void {
  const p0 = v128.load(from), p1 = v128.load(from + stride), p2 = v128.load(from + 2 * stride);
  const p3 = v128.load(from + 3 * stride), p4 = v128.load(from + 4 * stride), p5 = v128.load(from + 5 * stride);
  const p6 = v128.load(from + 6 * stride), p7 = v128.load(from + 7 * stride);
  // Bytes 0 2 4 6 of the elements, then 1 3 5 7, then both in turn.
  const a = zipLow(p0, p4), b = zipHigh(p0, p4), c = zipLow(p2, p6), d = zipHigh(p2, p6);
  const e = zipLow(p1, p5), f = zipHigh(p1, p5), g = zipLow(p3, p7), h = zipHigh(p3, p7);
  join2(zipLow(a, c), zipLow(e, g), at);
  join2(zipHigh(a, c), zipHigh(e, g), at + 32);
  join2(zipLow(b, d), zipLow(f, h), at + 64);
  join2(zipHigh(b, d), zipHigh(f, h), at + 96);
}

// @ts-ignore: decorator
@inline
function join2(even: v128, odd: v128, at: usize): void {
  v128.store(at, zipLow(even, odd));
  v128.store(at + 16, zipHigh(even, odd));
}
