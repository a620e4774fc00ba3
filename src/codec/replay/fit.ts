import { ADAM_WEIGHT, MOMENTUM_WEIGHT, type Operands, predict, SQUARE_OF_MOMENT } from "./programs.ts";
import type { Rule } from "./recipe.ts";

/** What a rule is judged by: some lanes of the chunk, with what they were predicted from. */
export interface Sample extends Operands {
  x: Float32Array;
}

/** A rule that predicts this share of the sample exactly needs no better constants. */
const EXACT_SHARE = 0.6;

/**
 * The rule with constants that predict the sample better, if there are any: a learning rate that follows a schedule,
 * a decay that nobody stated, a step count that was reset. What was computed from the right ones is predicted exactly
 * even so, since the chunk tells the constants in more digits than a float32 has.
 */
export function fitted(rule: Rule, sample: Sample): Rule {
  const exact = exactCount(rule, sample);
  if (exact >= sample.x.length * EXACT_SHARE) return rule;
  const constants = fitConstants(rule, sample);
  if (constants === undefined || !constants.every(Number.isFinite)) return rule;
  const better = { program: rule.program, constants: Float32Array.from(constants) };
  return distance(better, sample) < distance(rule, sample) ? better : rule;
}

function fitConstants({ program, constants }: Rule, sample: Sample): number[] | undefined {
  if (program === ADAM_WEIGHT) return fitAdamWeight(constants, sample);
  if (program === MOMENTUM_WEIGHT)
    return [ratio(sample.x.length, (i) => [sample.b[i]!, sample.x[i]! - sample.a[i]!])];
  if (program === SQUARE_OF_MOMENT) return fitSquares(constants, sample);
  return undefined;
}

/** x - a = d a + k1 t: least squares for the weight decay d and the step size k1 together. */
function fitAdamWeight(k: Float32Array, { a, b, c, x }: Sample): number[] | undefined {
  const [, , k2 = 0, k3 = 0] = k;
  let aa = 0;
  let at = 0;
  let tt = 0;
  let ay = 0;
  let ty = 0;
  for (let i = 0; i < x.length; i++) {
    const t = b[i]! / (Math.sqrt(c[i]!) / k2 + k3);
    const y = x[i]! - a[i]!;
    if (!Number.isFinite(t) || !Number.isFinite(y)) continue;
    aa += a[i]! * a[i]!;
    at += a[i]! * t;
    tt += t * t;
    ay += a[i]! * y;
    ty += t * y;
  }
  const determinant = aa * tt - at * at;
  if (!(determinant > 0)) return undefined;
  const decay = (ay * tt - ty * at) / determinant;
  const step = (ty * aa - ay * at) / determinant;
  return [1 + decay, step, k2, k3];
}

/** x = k2 (a - g^2) + g^2 for averages whose two factors add up to 1. */
function fitSquares(k: Float32Array, { a, b, c, x }: Sample): number[] {
  const [k0 = 0, k1 = 0] = k;
  const k2 = ratio(x.length, (i) => {
    const g = (c[i]! - k0 * b[i]!) * k1;
    return [a[i]! - g * g, x[i]! - g * g];
  });
  return [k0, k1, k2, 1 - k2];
}

/** The factor that takes the first of the pairs closest to the second. */
function ratio(count: number, pair: (i: number) => [number, number]): number {
  let xx = 0;
  let xy = 0;
  for (let i = 0; i < count; i++) {
    const [x, y] = pair(i);
    if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
    xx += x * x;
    xy += x * y;
  }
  return xy / xx;
}

function exactCount(rule: Rule, sample: Sample): number {
  const out = predictions(rule, sample);
  let exact = 0;
  for (let i = 0; i < out.length; i++) if (out[i] === sample.x[i]) exact++;
  return exact;
}

/** Bits by which the predictions miss the sample, about: the logarithm of each distance in units of the last place. */
export function distance(rule: Rule, sample: Sample): number {
  return missedBits(predictions(rule, sample), sample.x);
}

/** The same for the lanes as they were in the parent version. */
export function parentDistance(sample: Sample): number {
  return missedBits(sample.a, sample.x);
}

function predictions({ program, constants }: Rule, sample: Sample): Float32Array {
  const out = new Float32Array(sample.x.length);
  predict(program, constants, sample, out);
  return out;
}

function missedBits(predicted: Float32Array, x: Float32Array): number {
  const from = new Int32Array(predicted.buffer, predicted.byteOffset, predicted.length);
  const to = new Int32Array(x.buffer, x.byteOffset, x.length);
  let bits = 0;
  for (let i = 0; i < to.length; i++) bits += Math.log2(1 + Math.abs(ordered(to[i]!) - ordered(from[i]!)));
  return bits;
}

const ordered = (bits: number) => (bits < 0 ? -(bits & 0x7fffffff) : bits);
