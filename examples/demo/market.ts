import { Random } from "./random.ts";

/** How many past returns the model sees. */
export const LAGS = 32;

export interface Samples {
  /** Row-major, `count` × LAGS. */
  inputs: Float32Array;
  /** The return that followed each row. */
  targets: Float32Array;
  count: number;
}

/**
 * A made-up market whose returns depend on the last few in a way that a linear model cannot see: momentum that
 * saturates, mean reversion, and an interaction of two lags, under noise.
 */
export function simulateMarket(count: number, seed: number): Samples {
  const random = new Random(seed);
  const returns = new Float32Array(count + LAGS);
  for (let t = 3; t < returns.length; t++) {
    const [one, two, three] = [returns[t - 1]!, returns[t - 2]!, returns[t - 3]!];
    returns[t] =
      0.9 * Math.tanh(1.5 * one) - 0.5 * two + 0.6 * Math.tanh(2 * one * three) + 0.4 * random.normal();
  }
  const inputs = new Float32Array(count * LAGS);
  const targets = new Float32Array(count);
  for (let row = 0; row < count; row++) {
    inputs.set(returns.subarray(row, row + LAGS), row * LAGS);
    targets[row] = returns[row + LAGS]!;
  }
  return { inputs, targets, count };
}
