// What is left of integers beside a prediction, and back. All arithmetic wraps, so every prediction is exact.
//
//   0 none   1 delta   2 delta of delta   3 reference   4 reference delta   5 lagged reference

/** Integers of another column in this one's units: y * multiplier, or floor((y - origin) / divisor) if that is not 0. */
export function columnScale(from: usize, to: usize, count: usize, multiplier: i64, divisor: f64, origin: i64): void {
  if (divisor == 0) {
    for (let i: usize = 0; i < count << 3; i += 8) store<i64>(to + i, load<i64>(from + i) * multiplier);
    return;
  }
  for (let i: usize = 0; i < count << 3; i += 8) {
    store<i64>(to + i, <i64>floor(<f64>(load<i64>(from + i) - origin) / divisor));
  }
}

/** before: x[-1]; step: x[-1] - x[-2]; the reference before the first row is its first value. */
export function columnPredict(kind: u32, x: usize, y: usize, to: usize, count: usize, before: i64, step: i64): void {
  const end = count << 3;
  if (kind == 0) memory.copy(to, x, end);
  else if (kind == 1) {
    let last = before;
    for (let i: usize = 0; i < end; i += 8) {
      const value = load<i64>(x + i);
      store<i64>(to + i, value - last);
      last = value;
    }
  } else if (kind == 2) {
    let last = before, change = step;
    for (let i: usize = 0; i < end; i += 8) {
      const value = load<i64>(x + i), next = value - last;
      store<i64>(to + i, next - change);
      last = value;
      change = next;
    }
  } else if (kind == 3) {
    for (let i: usize = 0; i < end; i += 8) store<i64>(to + i, load<i64>(x + i) - load<i64>(y + i));
  } else if (kind == 4) {
    let last = before;
    for (let i: usize = 0; i < end; i += 8) {
      const value = load<i64>(x + i) - load<i64>(y + i);
      store<i64>(to + i, value - last);
      last = value;
    }
  } else {
    for (let i: usize = 0; i < end; i += 8) {
      store<i64>(to + i, load<i64>(x + i) - load<i64>(i == 0 ? y : y + i - 8));
    }
  }
}

/** The inverse: x from residuals and y. `first`: whether the rows are the page's first; else y[-1] lies before y. */
export function columnRestore(kind: u32, r: usize, y: usize, x: usize, count: usize, before: i64, step: i64, first: bool): void {
  const end = count << 3;
  if (kind == 0) {
    if (x != r) memory.copy(x, r, end);
  } else if (kind == 1) sums(r, x, count, before);
  else if (kind == 2) {
    let last = before, change = step;
    for (let i: usize = 0; i < end; i += 8) {
      change += load<i64>(r + i);
      last += change;
      store<i64>(x + i, last);
    }
  } else if (kind == 3) {
    for (let i: usize = 0; i < end; i += 16) v128.store(x + i, v128.add<i64>(v128.load(r + i), v128.load(y + i)));
  } else if (kind == 4) {
    let last = before;
    for (let i: usize = 0; i < end; i += 8) {
      last += load<i64>(r + i);
      store<i64>(x + i, last + load<i64>(y + i));
    }
  } else {
    store<i64>(x, load<i64>(r) + load<i64>(first ? y : y - 8));
    for (let i: usize = 8; i < end; i += 8) store<i64>(x + i, load<i64>(r + i) + load<i64>(y + i - 8));
  }
}

/** Running sums, four at a time: one addition from step to step. */
function sums(r: usize, x: usize, count: usize, before: i64): void {
  let last = before, i: usize = 0;
  const whole = (count & ~3) << 3;
  for (; i < whole; i += 32) {
    const a = load<i64>(r + i), b = load<i64>(r + i, 8), c = load<i64>(r + i, 16), d = load<i64>(r + i, 24);
    const ab = a + b;
    store<i64>(x + i, last + a);
    store<i64>(x + i, last + ab, 8);
    store<i64>(x + i, last + (ab + c), 16);
    last += ab + (c + d);
    store<i64>(x + i, last, 24);
  }
  for (; i < count << 3; i += 8) {
    last += load<i64>(r + i);
    store<i64>(x + i, last);
  }
}

/** The greatest common divisor of all differences from the first residual, 0 if there are none; stops at 1. */
export function columnDivisor(r: usize, count: usize): u64 {
  const first = load<i64>(r);
  let g: u64 = 0;
  for (let i: usize = 0; i < count << 3; i += 8) {
    const difference = load<i64>(r + i) - first;
    let a = <u64>(difference < 0 ? -difference : difference);
    if (a == 0 || a == g) continue;
    if (g != 0 && a % g == 0) continue;
    while (a != 0) {
      const b = g % a;
      g = a;
      a = b;
      if (g == 0) break;
    }
    if (g == 1) return 1;
  }
  return g;
}

/** r becomes (r - offset) / divisor, which leaves no rest. */
export function columnDivide(r: usize, count: usize, offset: i64, divisor: i64): void {
  if (divisor == 1) {
    for (let i: usize = 0; i < count << 3; i += 8) store<i64>(r + i, load<i64>(r + i) - offset);
    return;
  }
  for (let i: usize = 0; i < count << 3; i += 8) store<i64>(r + i, (load<i64>(r + i) - offset) / divisor);
}
