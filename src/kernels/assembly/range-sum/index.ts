/**
 * Fletcher's two sums over a range, in whole numbers: no modulus, so that a change of any two words is found for certain.
 *
 * Words of 32 bits go to eight lanes in turn. Each lane has the sum of its words and the sum of its sums; both fit in 64
 * bits for ranges of up to 1 MiB. All sixteen, after the length, are mixed into one number at the end. Works in the memory it is given,
 * without writing to it; `sizeBytes` is a multiple of 32.
 */
export function rangeSum(at: usize, sizeBytes: usize): u64 {
  let a = i64x2.splat(0), b = a, c = a, d = a;
  let sumA = a, sumB = a, sumC = a, sumD = a;
  const end = at + sizeBytes;
  for (let p = at; p < end; p += 32) {
    const x = v128.load(p);
    const y = v128.load(p, 16);
    a = i64x2.add(a, i64x2.extend_low_i32x4_u(x));
    sumA = i64x2.add(sumA, a);
    b = i64x2.add(b, i64x2.extend_high_i32x4_u(x));
    sumB = i64x2.add(sumB, b);
    c = i64x2.add(c, i64x2.extend_low_i32x4_u(y));
    sumC = i64x2.add(sumC, c);
    d = i64x2.add(d, i64x2.extend_high_i32x4_u(y));
    sumD = i64x2.add(sumD, d);
  }
  let sum: u64 = mixLanes(mixLanes(mixLanes(mixLanes(<u64>sizeBytes, a), b), c), d);
  sum = mixLanes(mixLanes(mixLanes(mixLanes(sum, sumA), sumB), sumC), sumD);
  return sum;
}

// @ts-ignore: decorator
@inline
function mixLanes(sum: u64, lanes: v128): u64 {
  return mix(mix(sum, i64x2.extract_lane(lanes, 0)), i64x2.extract_lane(lanes, 1));
}

/** Both steps can be undone, so that no difference between two lanes' values is lost. */
// @ts-ignore: decorator
@inline
function mix(sum: u64, value: u64): u64 {
  const mixed = (sum ^ value) * 0x9e3779b97f4a7c15;
  return mixed ^ (mixed >> 32);
}
