import type { Tensor } from "../../formats/tensor.ts";
import type { Random } from "../../src/disk/random.ts";

const f32 = Math.fround;

export interface Hyperparameters {
  lr: number;
  betas?: [number, number];
  eps?: number;
  weightDecay?: number;
  momentum?: number;
  nesterov?: boolean;
  alpha?: number;
  amsgrad?: boolean;
}

export type Rule = "sgd" | "adam" | "adamw" | "adagrad" | "rmsprop";

/** One tensor's optimizer state, by PyTorch's names. */
type State = Record<string, Float32Array>;

/**
 * A training run in float32: weights drawn to targets by noisy gradients, moved by an optimizer's rule in PyTorch's
 * order of operations (torch/optim, single tensor, float32 on a CPU without fused multiply-add).
 */
export class Trainer {
  readonly weights: Map<string, Float32Array>;
  readonly states = new Map<string, State>();
  step = 0;
  readonly #rule: Rule;
  readonly #set: Hyperparameters;
  readonly #random: Random;
  readonly #targets = new Map<string, Float32Array>();

  constructor(rule: Rule, hyperparameters: Hyperparameters, random: Random, sizes: Record<string, number>) {
    this.#rule = rule;
    this.#set = hyperparameters;
    this.#random = random;
    const drawn = (size: number) => Float32Array.from({ length: size }, () => gaussian(random) * 0.1);
    this.weights = new Map(Object.entries(sizes).map(([name, size]) => [name, drawn(size)]));
    for (const [name, size] of Object.entries(sizes)) this.#targets.set(name, drawn(size));
  }

  /** One step on every weight. */
  train(): void {
    this.step++;
    for (const [name, w] of this.weights) {
      const targets = this.#targets.get(name)!;
      const gradient = w.map((value, i) => value - targets[i]! + gaussian(this.#random) * 0.05);
      const state = this.states.get(name) ?? {};
      this.states.set(name, state);
      RULES[this.#rule](w, gradient, state, this.#set, this.step);
    }
  }

  /** Weights, and state as `NAME.exp_avg` and the like. */
  tensors(rename: (name: string) => string = (name) => name): [string, Tensor][] {
    const named: [string, Tensor][] = [];
    const add = (name: string, data: Float32Array) =>
      named.push([name, { dtype: "F32", shape: [data.length], data: data.slice() }]);
    for (const [name, w] of this.weights) {
      add(rename(name), w);
      for (const [slot, data] of Object.entries(this.states.get(name) ?? {}))
        add(`${rename(name)}.${slot}`, data);
    }
    return named;
  }
}

type Step = (w: Float32Array, g: Float32Array, state: State, set: Hyperparameters, step: number) => void;

const RULES: Record<Rule, Step> = {
  adam: (w, g, state, set, step) => adam(w, g, state, { ...set, decoupled: false }, step),
  adamw: (w, g, state, set, step) => adam(w, g, state, { ...set, decoupled: true }, step),
  sgd: (w, g, state, { lr, momentum = 0.9, nesterov = false, weightDecay = 0 }) => {
    const first = state["momentum_buffer"] === undefined;
    state["momentum_buffer"] ??= new Float32Array(w.length);
    const buffer = state["momentum_buffer"];
    for (let i = 0; i < w.length; i++) {
      const d = f32(g[i]! + f32(f32(weightDecay) * w[i]!));
      buffer[i] = first ? d : f32(f32(buffer[i]! * f32(momentum)) + d);
      const by = nesterov ? f32(d + f32(f32(momentum) * buffer[i]!)) : buffer[i]!;
      w[i] = f32(w[i]! + f32(f32(-lr) * by));
    }
  },
  adagrad: (w, g, state, { lr, eps = 1e-10 }) => {
    state["sum"] ??= new Float32Array(w.length);
    const sum = state["sum"];
    for (let i = 0; i < w.length; i++) {
      sum[i] = f32(sum[i]! + f32(g[i]! * g[i]!));
      const divisor = f32(f32(Math.sqrt(sum[i]!)) + f32(eps));
      w[i] = f32(w[i]! + f32(f32(f32(-lr) * g[i]!) / divisor));
    }
  },
  rmsprop: (w, g, state, { lr, alpha = 0.99, eps = 1e-8, momentum = 0 }) => {
    state["square_avg"] ??= new Float32Array(w.length);
    if (momentum > 0) state["momentum_buffer"] ??= new Float32Array(w.length);
    const { square_avg: square, momentum_buffer: buffer } = state;
    for (let i = 0; i < w.length; i++) {
      square![i] = f32(f32(square![i]! * f32(alpha)) + f32(f32(f32(1 - alpha) * g[i]!) * g[i]!));
      const divisor = f32(f32(Math.sqrt(square![i]!)) + f32(eps));
      if (buffer === undefined) w[i] = f32(w[i]! + f32(f32(f32(-lr) * g[i]!) / divisor));
      else {
        buffer[i] = f32(f32(buffer[i]! * f32(momentum)) + f32(g[i]! / divisor));
        w[i] = f32(w[i]! + f32(f32(-lr) * buffer[i]!));
      }
    }
  },
};

function adam(
  w: Float32Array,
  g: Float32Array,
  state: State,
  set: Hyperparameters & { decoupled: boolean },
  step: number,
): void {
  const {
    lr,
    betas: [beta1, beta2] = [0.9, 0.999],
    eps = 1e-8,
    weightDecay = 0.01,
    amsgrad,
    decoupled,
  } = set;
  state["exp_avg"] ??= new Float32Array(w.length);
  state["exp_avg_sq"] ??= new Float32Array(w.length);
  if (amsgrad) state["max_exp_avg_sq"] ??= new Float32Array(w.length);
  const { exp_avg: m, exp_avg_sq: v, max_exp_avg_sq: largest } = state;
  const stepSize = f32(-lr / (1 - beta1 ** step));
  const correction = f32(Math.sqrt(1 - beta2 ** step));
  for (let i = 0; i < w.length; i++) {
    if (decoupled) w[i] = f32(w[i]! * f32(1 - lr * weightDecay));
    const d = decoupled ? g[i]! : f32(g[i]! + f32(f32(weightDecay) * w[i]!));
    m![i] = f32(f32(m![i]! * f32(beta1)) + f32(d * f32(1 - beta1)));
    v![i] = f32(f32(v![i]! * f32(beta2)) + f32(f32(f32(1 - beta2) * d) * d));
    if (largest !== undefined) largest[i] = Math.max(largest[i]!, v![i]!);
    const divisor = f32(f32(f32(Math.sqrt((largest ?? v)![i]!)) / correction) + f32(eps));
    w[i] = f32(w[i]! + f32(f32(stepSize * m![i]!) / divisor));
  }
}

function gaussian(random: Random): number {
  const uniform = () => (random.below(1 << 30) + 1) / ((1 << 30) + 1);
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
