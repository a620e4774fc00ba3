/**
 * What an optimizer's step does to a tensor, in the order of operations in which PyTorch's CPU kernels do it in
 * float32 (torch/optim/{sgd,adam,adamw,adagrad,rmsprop}.py). Only additions, multiplications, divisions and square
 * roots occur, each rounded to float32: IEEE 754 defines every bit of them, so every machine predicts the same.
 *
 * Operands are `a` (what the lane was in the parent version), `b` and `c`; constants are `k[0] …`, float32.
 */
export const PROGRAMS = [
  /** P = a */
  { name: "copy", operands: 1, constants: 0, stage: 0 },
  /** P = k0 a: what is left of a running average before the new gradient joins it. */
  { name: "decay", operands: 1, constants: 1, stage: 0 },
  /** The same, and k1 sqrt(b) is about how much joins it: b is the parent's average of squares. */
  { name: "decay-scaled", operands: 2, constants: 2, stage: 0 },
  /** g = (c - k0 b) k1, P = k2 a + (k3 g) g: an average of squares, from the average of gradients before and after. */
  { name: "square-of-moment", operands: 3, constants: 4, stage: 1 },
  /** P = k0 a + (k1 b) / (sqrt(c) / k2 + k3): Adam's and AdamW's weight, from both averages. */
  { name: "adam-weight", operands: 3, constants: 4, stage: 3 },
  /** P = a + k0 b: a weight, from its momentum. */
  { name: "momentum-weight", operands: 2, constants: 1, stage: 3 },
  /** g = b - k0 c, P = a + k1 (g + k0 b): Nesterov's weight, from the momentum after and before. */
  { name: "nesterov-weight", operands: 3, constants: 2, stage: 3 },
  /**
   * u = k0 (k1 b - c) is the gradient over (sqrt(P) + k4); P = k2 a + k3 (u (sqrt(P) + k4))^2, solved for P: a sum or
   * average of squares, from the weight before and after.
   */
  { name: "square-of-step", operands: 3, constants: 5, stage: 1 },
  /** P = max(a, b): the largest average of squares so far. */
  { name: "maximum", operands: 2, constants: 0, stage: 2 },
  /** P = 0: what has no parent. */
  { name: "zero", operands: 0, constants: 0, stage: 0 },
] as const;

/** Stages 0 to 3: what a stage is predicted from, earlier stages have coded. */
export const STAGES = 4;

export const COPY = 0;
export const DECAY = 1;
export const DECAY_SCALED = 2;
export const SQUARE_OF_MOMENT = 3;
export const ADAM_WEIGHT = 4;
export const MOMENTUM_WEIGHT = 5;
export const NESTEROV_WEIGHT = 6;
export const SQUARE_OF_STEP = 7;
export const MAXIMUM = 8;
export const ZERO = 9;

export interface Operands {
  a: Float32Array;
  b: Float32Array;
  c: Float32Array;
}

const f32 = Math.fround;

/**
 * Fills `out` with the predictions of as many lanes. What is not a number is replaced by the lane of `a`, since
 * machines disagree about the bits of a computed NaN.
 */
export function predict(program: number, k: Float32Array, { a, b, c }: Operands, out: Float32Array): void {
  const [k0 = 0, k1 = 0, k2 = 0, k3 = 0] = k;
  const count = out.length;
  if (program === COPY || program === ZERO) {
    if (program === COPY) copyBits(a, out);
    else out.fill(0);
    return;
  }
  if (program === DECAY || program === DECAY_SCALED) {
    for (let i = 0; i < count; i++) out[i] = f32(k0 * a[i]!);
  } else if (program === SQUARE_OF_MOMENT) {
    for (let i = 0; i < count; i++) {
      const g = f32(f32(c[i]! - f32(k0 * b[i]!)) * k1);
      out[i] = f32(f32(k2 * a[i]!) + f32(f32(k3 * g) * g));
    }
  } else if (program === ADAM_WEIGHT) {
    for (let i = 0; i < count; i++) {
      const divisor = f32(f32(f32(Math.sqrt(c[i]!)) / k2) + k3);
      out[i] = f32(f32(k0 * a[i]!) + f32(f32(k1 * b[i]!) / divisor));
    }
  } else if (program === MOMENTUM_WEIGHT) {
    for (let i = 0; i < count; i++) out[i] = f32(a[i]! + f32(k0 * b[i]!));
  } else if (program === NESTEROV_WEIGHT) {
    for (let i = 0; i < count; i++) {
      const g = f32(b[i]! - f32(k0 * c[i]!));
      out[i] = f32(a[i]! + f32(k1 * f32(g + f32(k0 * b[i]!))));
    }
  } else if (program === SQUARE_OF_STEP) squareOfStep(k, { a, b, c }, out);
  else for (let i = 0; i < count; i++) out[i] = Math.max(a[i]!, b[i]!);
  withoutNaN(a, out);
}

/** In float64, since the difference of two close weights loses digits: it too is the same everywhere. */
function squareOfStep(k: Float32Array, { a, b, c }: Operands, out: Float32Array): void {
  const [k0 = 0, k1 = 0, k2 = 0, k3 = 0, eps = 0] = k;
  for (let i = 0; i < out.length; i++) {
    const u = k0 * (f32(k1 * b[i]!) - c[i]!);
    // With r = sqrt(P): r^2 = k2 a + q (r + eps)^2, q = k3 u^2.
    const q = k3 * u * u;
    const kept = k2 * a[i]!;
    const rest = 1 - q;
    const root = (q * eps + Math.sqrt(q * eps * q * eps + rest * (kept + q * eps * eps))) / rest;
    out[i] = u === 0 ? f32(kept) : f32(root * root);
  }
}

function bitsOf(lanes: Float32Array): Uint32Array {
  return new Uint32Array(lanes.buffer, lanes.byteOffset, lanes.length);
}

/** By their bits: copying floats as numbers may quieten a signalling NaN. */
function copyBits(from: Float32Array, to: Float32Array): void {
  bitsOf(to).set(bitsOf(from).subarray(0, to.length));
}

function withoutNaN(a: Float32Array, out: Float32Array): void {
  const from = bitsOf(a);
  const to = bitsOf(out);
  for (let i = 0; i < to.length; i++) if ((to[i]! & 0x7fffffff) > 0x7f800000) to[i] = from[i]!;
}

/**
 * Fills `out` with values as far from the predictions as the lanes are expected to be, on the side of zero: what the
 * residual coder takes for the last step. Lanes of which nothing is known are as predicted.
 */
export function scale(
  program: number,
  k: Float32Array,
  { b }: Operands,
  predicted: Float32Array,
  out: Float32Array,
): void {
  if (program !== DECAY_SCALED) {
    copyBits(predicted, out);
    return;
  }
  const k1 = k[1]!;
  for (let i = 0; i < out.length; i++) {
    const by = f32(k1 * f32(Math.sqrt(b[i]!)));
    out[i] = predicted[i]! < 0 ? f32(predicted[i]! + by) : f32(predicted[i]! - by);
  }
  withoutNaN(predicted, out);
}
