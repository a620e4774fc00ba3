import { logarithm } from "./logarithm.ts";
import type { Formula } from "./recipe.ts";

/**
 * What a formula gives for each row, from the values of its sources; NaN where the window is not yet full. Basic
 * operations alone, in a fixed order: every machine predicts the same. The average of an `ema` goes on from `actual`, the
 * column itself.
 */
export function predict(
  formula: Formula,
  sources: readonly Float64Array[],
  actual?: Float64Array,
): Float64Array {
  const x = sources[0]!;
  const out = new Float64Array(x.length);
  const { kind, rows, ddof, scale } = formula;
  switch (kind) {
    case "return":
      for (let i = 0; i < x.length; i++) out[i] = i < rows ? Number.NaN : x[i]! / x[i - rows]! - 1;
      return out;
    case "logReturn":
      for (let i = 1; i < x.length; i++) out[i] = logarithm(x[i]! / x[i - 1]!);
      return out;
    case "ema":
      return averages(x, actual!, rows);
    case "macd":
      for (let i = 0; i < x.length; i++) out[i] = x[i]! - sources[1]![i]!;
      return out;
    case "rsi":
      return strengths(x, rows);
    case "range":
      if (sources.length === 3)
        for (let i = 0; i < x.length; i++) out[i] = (sources[1]![i]! - sources[2]![i]!) / x[i]!;
      else for (let i = 0; i < x.length; i++) out[i] = sources[1]![i]! / x[i]!;
      return out;
    case "sum":
    case "sma":
      return rolling(x, rows, (at) => (kind === "sum" ? sumOf(x, at, rows) : sumOf(x, at, rows) / rows));
    default: {
      const squares = new Float64Array(rows);
      return rolling(x, rows, (at) => {
        const mean = sumOf(x, at, rows) / rows;
        for (let i = 0; i < rows; i++) squares[i] = (x[at + i]! - mean) * (x[at + i]! - mean);
        const deviation = Math.sqrt(sumOf(squares, 0, rows) / (rows - ddof));
        const last = x[at + rows - 1]!;
        if (kind === "volatility") return deviation * scale;
        if (kind === "zscore") return (last - mean) / deviation;
        return (last - (mean - scale * deviation)) / (2 * scale * deviation);
      });
    }
  }
}

export const emaWeight = (span: number) => 2 / (span + 1);

function averages(x: Float64Array, actual: Float64Array, span: number): Float64Array {
  const alpha = emaWeight(span);
  const beta = 1 - alpha;
  return x.map((value, i) => alpha * value + beta * (i === 0 ? value : actual[i - 1]!));
}

/** Wilder's averages of rises and falls begin at 0. Without any fall the strength is 100, without any move 0. */
function strengths(x: Float64Array, period: number): Float64Array {
  const out = new Float64Array(x.length);
  const alpha = 1 / period;
  const beta = 1 - alpha;
  let rise = 0;
  let fall = 0;
  for (let i = 1; i < x.length; i++) {
    const change = x[i]! - x[i - 1]!;
    rise = alpha * Math.max(change, 0) + beta * rise;
    fall = alpha * Math.max(-change, 0) + beta * fall;
    out[i] = fall === 0 ? (rise === 0 ? 0 : 100) : 100 - 100 / (1 + rise / fall);
  }
  return out;
}

function rolling(x: Float64Array, window: number, at: (from: number) => number): Float64Array {
  const out = new Float64Array(x.length).fill(Number.NaN);
  for (let i = window - 1; i < x.length; i++) out[i] = at(i - window + 1);
  return out;
}

/** Terms that are added in eight lanes; more are halved first. */
const BLOCK = 128;

/**
 * A sum in the order of numerical libraries: eight lanes, then the lanes in pairs; long ones in halves. It errs less
 * than one after the other, and is what most tables were made with.
 */
export function sumOf(x: Float64Array, from: number, count: number): number {
  if (count < 8) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += x[from + i]!;
    return sum;
  }
  if (count > BLOCK) {
    const half = Math.floor(count / 2) - (Math.floor(count / 2) % 8);
    return sumOf(x, from, half) + sumOf(x, from + half, count - half);
  }
  let a = x[from]!;
  let b = x[from + 1]!;
  let c = x[from + 2]!;
  let d = x[from + 3]!;
  let e = x[from + 4]!;
  let f = x[from + 5]!;
  let g = x[from + 6]!;
  let h = x[from + 7]!;
  const whole = count - (count % 8);
  for (let i = from + 8; i < from + whole; i += 8) {
    a += x[i]!;
    b += x[i + 1]!;
    c += x[i + 2]!;
    d += x[i + 3]!;
    e += x[i + 4]!;
    f += x[i + 5]!;
    g += x[i + 6]!;
    h += x[i + 7]!;
  }
  let sum = a + b + (c + d) + (e + f + (g + h));
  for (let i = from + whole; i < from + count; i++) sum += x[i]!;
  return sum;
}

/** What an average was made of: rounded to `digits` after the point. The first row is the average's own. */
export function sourceOfAverage(average: Float64Array, span: number, digits: number): Float64Array {
  const alpha = emaWeight(span);
  const scale = 10 ** digits;
  const rounded = (value: number) => {
    const nearest = Math.round(value * scale) / scale;
    // Adding 0 takes the sign off a zero.
    return Number.isFinite(nearest) ? nearest + 0 : 0;
  };
  return average.map((value, i) =>
    rounded(i === 0 ? value : (value - (1 - alpha) * average[i - 1]!) / alpha),
  );
}

/** The difference that a range was made of. */
export function differenceOfRange(range: Float64Array, of: Float64Array, digits: number): Float64Array {
  const scale = 10 ** digits;
  return range.map((value, i) => {
    const nearest = Math.round(value * of[i]! * scale) / scale;
    // Adding 0 takes the sign off a zero.
    return Number.isFinite(nearest) ? nearest + 0 : 0;
  });
}
