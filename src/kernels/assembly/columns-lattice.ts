// Numbers as 64-bit integers and back: integers widened, decimals by their digits, floats by their order.

export const MAGIC: i64 = 0x4338000000000000;
export const MAGIC_FLOAT: f64 = 6755399441055744.0;
/** Integers below 2^51 in size become floats by adding a power of two, two at a time. */
const DECIMAL_MAX: f64 = 2251799813685247.0;

// @ts-ignore: decorator
@inline
function widenLanes<T>(from: usize, to: usize, count: usize): void {
  for (let i: usize = 0; i < count; i++) store<i64>(to + (i << 3), <i64>load<T>(from + i * sizeof<T>()));
}

/** Types by number, as src/series/columns/number-codes.ts has them; f64 and f32 by the order of their bits. */
export function columnWiden(from: usize, to: usize, count: usize, type: u32): void {
  switch (type) {
    case 0:
      for (let i: usize = 0; i < count << 3; i += 16) {
        const x = v128.load(from + i);
        const negative = v128.lt<i64>(x, i64x2.splat(0));
        v128.store(to + i, v128.xor(x, v128.and(negative, i64x2.splat(0x7fffffffffffffff))));
      }
      return;
    case 1:
      for (let i: usize = 0; i < count; i++) {
        const x = load<i32>(from + (i << 2));
        store<i64>(to + (i << 3), <i64>(x ^ ((x >> 31) & 0x7fffffff)));
      }
      return;
    case 2:
    case 3: memory.copy(to, from, count << 3); return;
    case 4: widenLanes<i32>(from, to, count); return;
    case 5: widenLanes<u32>(from, to, count); return;
    case 6: widenLanes<i16>(from, to, count); return;
    case 7: widenLanes<u16>(from, to, count); return;
    case 8: widenLanes<i8>(from, to, count); return;
    default: widenLanes<u8>(from, to, count);
  }
}

/** The inverse; integers lose what does not fit, which no encoder writes. */
export function columnNarrow(from: usize, to: usize, count: usize, type: u32): void {
  switch (type) {
    case 0: columnWiden(from, to, count, 0); return;
    case 1:
      for (let i: usize = 0; i < count; i++) {
        const x = <i32>load<i64>(from + (i << 3));
        store<i32>(to + (i << 2), x ^ ((x >> 31) & 0x7fffffff));
      }
      return;
    case 2:
    case 3: memory.copy(to, from, count << 3); return;
    case 4:
    case 5: for (let i: usize = 0; i < count; i++) store<u32>(to + (i << 2), <u32>load<u64>(from + (i << 3))); return;
    case 6:
    case 7: for (let i: usize = 0; i < count; i++) store<u16>(to + (i << 1), <u16>load<u64>(from + (i << 3))); return;
    default: for (let i: usize = 0; i < count; i++) store<u8>(to + i, <u8>load<u64>(from + (i << 3)));
  }
}

/**
 * Digits d of decimals d / scale, where that gives the same bits; elsewhere the digits before, and the row's number
 * (u32) to `misfits`, up to `most` of them. Returns how many do not fit.
 */
export function columnToDecimal(from: usize, to: usize, count: usize, scale: f64, single: bool, misfits: usize, most: u32): u32 {
  let wrong: u32 = 0, last: i64 = 0;
  for (let i: usize = 0; i < count; i++) {
    let fits = false;
    let d: i64 = 0;
    if (single) {
      const v = load<f32>(from + (i << 2));
      const x = nearest(<f64>v * scale);
      if (abs(x) <= DECIMAL_MAX) {
        d = <i64>x;
        fits = reinterpret<u32>(<f32>(<f64>d / scale)) == reinterpret<u32>(v);
      }
    } else {
      const v = load<f64>(from + (i << 3));
      const x = nearest(v * scale);
      if (abs(x) <= DECIMAL_MAX) {
        d = <i64>x;
        fits = reinterpret<u64>(<f64>d / scale) == reinterpret<u64>(v);
      }
    }
    if (fits) last = d;
    else {
      if (wrong < most) store<u32>(misfits + (<usize>wrong << 2), <u32>i);
      wrong++;
    }
    store<i64>(to + (i << 3), last);
  }
  return wrong;
}

/** d / scale, for digits below 2^51; others give some number. Reads and writes up to 16 bytes past the end. */
export function columnFromDecimal(from: usize, to: usize, count: usize, scale: f64, single: bool): void {
  const magic = i64x2.splat(MAGIC), float = f64x2.splat(MAGIC_FLOAT), by = f64x2.splat(scale);
  if (single) {
    for (let i: usize = 0; i < count; i += 2) {
      const x = v128.add<i64>(v128.load(from + (i << 3)), magic);
      const q = f32x4.demote_f64x2_zero(v128.div<f64>(v128.sub<f64>(x, float), by));
      store<u64>(to + (i << 2), i64x2.extract_lane(q, 0));
    }
    return;
  }
  for (let i: usize = 0; i < count << 3; i += 32) {
    const a = v128.add<i64>(v128.load(from + i), magic), b = v128.add<i64>(v128.load(from + i, 16), magic);
    v128.store(to + i, v128.div<f64>(v128.sub<f64>(a, float), by));
    v128.store(to + i, v128.div<f64>(v128.sub<f64>(b, float), by), 16);
  }
}

/** Bits of a prediction: NaN has many, and which one arithmetic gives is not the same everywhere. */
// @ts-ignore: decorator
@inline
function bitsOf(prediction: f64): i64 {
  return prediction == prediction ? reinterpret<i64>(prediction) : 0x7ff8000000000000;
}

/** What is left of floats beside predictions of them, in units of the last place. */
export function columnUlps(from: usize, predicted: usize, to: usize, count: usize): void {
  for (let i: usize = 0; i < count << 3; i += 8) {
    store<i64>(to + i, ordered(load<i64>(from + i)) - ordered(bitsOf(load<f64>(predicted + i))));
  }
}

/** The inverse: floats from what is left and predictions. */
export function columnFromUlps(from: usize, predicted: usize, to: usize, count: usize): void {
  for (let i: usize = 0; i < count << 3; i += 8) {
    store<i64>(to + i, ordered(ordered(bitsOf(load<f64>(predicted + i))) + load<i64>(from + i)));
  }
}

/**
 * Floats as integers times `base`: these to `to`, and to `left` by how many units of the last place each float is off. What is
 * no such product keeps the integer before, and is far off.
 */
export function columnToMultiples(from: usize, to: usize, left: usize, count: usize, base: f64): void {
  let last: i64 = 0;
  for (let i: usize = 0; i < count << 3; i += 8) {
    const v = load<f64>(from + i);
    const x = nearest(v / base);
    if (abs(x) <= DECIMAL_MAX) last = <i64>x;
    store<i64>(to + i, last);
    store<i64>(left + i, ordered(reinterpret<i64>(v)) - ordered(reinterpret<i64>(<f64>last * base)));
  }
}

/** The inverse. */
export function columnFromMultiples(from: usize, left: usize, to: usize, count: usize, base: f64): void {
  for (let i: usize = 0; i < count << 3; i += 8) {
    const product = bitsOf(<f64>load<i64>(from + i) * base);
    store<i64>(to + i, ordered(ordered(product) + load<i64>(left + i)));
  }
}

/**
 * Floats of an exponential moving average from what is left beside alpha * x + beta * the average before, which is the
 * one just made. `before` is the average before the first row.
 */
export function columnFromAverage(from: usize, x: usize, to: usize, count: usize, alpha: f64, beta: f64, before: f64): void {
  for (let i: usize = 0; i < count << 3; i += 8) {
    const predicted = alpha * load<f64>(x + i) + beta * before;
    const bits = ordered(ordered(bitsOf(predicted)) + load<i64>(from + i));
    store<i64>(to + i, bits);
    before = reinterpret<f64>(bits);
  }
}

// @ts-ignore: decorator
@inline
function ordered(x: i64): i64 {
  return x ^ ((x >> 63) & 0x7fffffffffffffff);
}
