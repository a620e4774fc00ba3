import { LAGS, type Samples } from "./market.ts";
import { Random } from "./random.ts";

/** Layer sizes: lagged returns in, one predicted return out. */
const SIZES = [LAGS, 192, 96, 1];

/** A parameter with its gradient and Adam's two moments. */
interface Parameter {
  name: string;
  shape: number[];
  value: Float32Array;
  gradient: Float32Array;
  expAvg: Float32Array;
  expAvgSq: Float32Array;
}

/** A multi-layer perceptron with tanh units, trained by Adam (Kingma and Ba, 2015), in plain TypeScript. */
export class Network {
  readonly parameters: Parameter[] = [];
  step = 0;

  constructor(seed: number) {
    const random = new Random(seed);
    for (let layer = 1; layer < SIZES.length; layer++) {
      const [inputs, outputs] = [SIZES[layer - 1]!, SIZES[layer]!];
      const weight = parameter(`layer${layer}.weight`, [outputs, inputs]);
      for (let i = 0; i < weight.value.length; i++) weight.value[i] = random.normal() / Math.sqrt(inputs);
      this.parameters.push(weight, parameter(`layer${layer}.bias`, [outputs]));
    }
  }

  /** One step of gradient descent on a batch of rows; returns the batch's mean squared error. */
  train(samples: Samples, rows: Uint32Array, learningRate: number): number {
    for (const { gradient } of this.parameters) gradient.fill(0);
    let loss = 0;
    for (const row of rows) loss += this.#backward(samples, row, 1 / rows.length);
    this.step += 1;
    this.#adam(learningRate);
    return loss / rows.length;
  }

  /** Mean squared error over all samples. */
  evaluate(samples: Samples): number {
    let loss = 0;
    for (let row = 0; row < samples.count; row++) {
      const error = this.#forward(samples, row).at(-1)![0]! - samples.targets[row]!;
      loss += error * error;
    }
    return loss / samples.count;
  }

  /** What a checkpoint holds: every parameter and the optimizer's moments, without copying. */
  tensors(): Record<string, { dtype: "F32"; shape: number[]; data: Float32Array }> {
    return Object.fromEntries(
      this.parameters.flatMap(({ name, shape, value, expAvg, expAvgSq }) => [
        [name, { dtype: "F32" as const, shape, data: value }],
        [`${name}.exp_avg`, { dtype: "F32" as const, shape, data: expAvg }],
        [`${name}.exp_avg_sq`, { dtype: "F32" as const, shape, data: expAvgSq }],
      ]),
    );
  }

  /** Outputs of every layer, the input first. */
  #forward({ inputs }: Samples, row: number): Float32Array[] {
    const outputs = [inputs.subarray(row * LAGS, (row + 1) * LAGS)];
    for (let layer = 1; layer < SIZES.length; layer++) {
      const before = outputs[layer - 1]!;
      const weight = this.parameters[2 * layer - 2]!.value;
      const bias = this.parameters[2 * layer - 1]!.value;
      const out = new Float32Array(bias.length);
      for (let o = 0; o < out.length; o++) {
        let sum = bias[o]!;
        for (let i = 0; i < before.length; i++) sum += weight[o * before.length + i]! * before[i]!;
        out[o] = layer === SIZES.length - 1 ? sum : Math.tanh(sum);
      }
      outputs.push(out);
    }
    return outputs;
  }

  #backward(samples: Samples, row: number, scale: number): number {
    const outputs = this.#forward(samples, row);
    const error = outputs.at(-1)![0]! - samples.targets[row]!;
    let delta = Float32Array.of(2 * error * scale);
    for (let layer = SIZES.length - 1; layer >= 1; layer--) {
      const before = outputs[layer - 1]!;
      const { value: weight, gradient } = this.parameters[2 * layer - 2]!;
      const biasGradient = this.parameters[2 * layer - 1]!.gradient;
      const deltaBefore = new Float32Array(before.length);
      for (let o = 0; o < delta.length; o++) {
        biasGradient[o]! += delta[o]!;
        for (let i = 0; i < before.length; i++) {
          gradient[o * before.length + i]! += delta[o]! * before[i]!;
          deltaBefore[i]! += delta[o]! * weight[o * before.length + i]!;
        }
      }
      if (layer > 1) for (let i = 0; i < before.length; i++) deltaBefore[i]! *= 1 - before[i]! * before[i]!;
      delta = deltaBefore;
    }
    return error * error;
  }

  #adam(learningRate: number): void {
    const correction = Math.sqrt(1 - 0.999 ** this.step) / (1 - 0.9 ** this.step);
    for (const { value, gradient, expAvg, expAvgSq } of this.parameters) {
      for (let i = 0; i < value.length; i++) {
        expAvg[i] = 0.9 * expAvg[i]! + 0.1 * gradient[i]!;
        expAvgSq[i] = 0.999 * expAvgSq[i]! + 0.001 * gradient[i]! * gradient[i]!;
        value[i]! -= (learningRate * correction * expAvg[i]!) / (Math.sqrt(expAvgSq[i]!) + 1e-8);
      }
    }
  }
}

function parameter(name: string, shape: number[]): Parameter {
  const size = shape.reduce((product, axis) => product * axis, 1);
  const zeros = () => new Float32Array(size);
  return { name, shape, value: zeros(), gradient: zeros(), expAvg: zeros(), expAvgSq: zeros() };
}
