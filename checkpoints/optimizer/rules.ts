import {
  ADAM_WEIGHT,
  COPY,
  DECAY,
  DECAY_SCALED,
  MAXIMUM,
  MOMENTUM_WEIGHT,
  NESTEROV_WEIGHT,
  SQUARE_OF_MOMENT,
  SQUARE_OF_STEP,
} from "../../src/codec/replay/programs.ts";
import type { Rule } from "../../src/codec/replay/recipe.ts";
import type { Family, Slot } from "./families.ts";
import type { OptimizerSettings } from "./settings.ts";

/** A tensor of a family, as it was in the parent version or as it is now. */
export interface Role {
  slot: Slot | "weight";
  when: "before" | "now";
}

/** How a tensor of a family follows from the others; the first operand is what it was itself. */
export interface TensorRule {
  slot: Slot | "weight";
  rule: Rule;
  operands: Role[];
}

const before = (slot: Role["slot"]): Role => ({ slot, when: "before" });
const now = (slot: Role["slot"]): Role => ({ slot, when: "now" });

const rule = (program: number, ...constants: number[]): Rule => ({
  program,
  constants: Float32Array.from(constants),
});

/** The rules of the optimizer whose state the family has; none where varve knows no such optimizer. */
export function rulesFor({ weight, slots }: Family, settings: OptimizerSettings): TensorRule[] {
  const has = (slot: Slot) => slots.has(slot);
  if (has("first") && has("second")) return adam(settings, weight !== undefined, has("maximum"));
  if (has("square") && !has("first")) return rmsprop(settings, weight !== undefined, has("momentum"));
  if (has("momentum")) return sgd(settings, weight !== undefined);
  if (has("sum") && weight !== undefined) return adagrad(settings);
  return [];
}

function adam(settings: OptimizerSettings, hasWeight: boolean, amsgrad: boolean): TensorRule[] {
  const { lr = 1e-3, betas: [beta1, beta2] = [0.9, 0.999], eps = 1e-8, step = 1 } = settings;
  // What PyTorch's implementations take where nothing is said.
  const decoupled = /w$/i.test(settings.kind ?? "adamw");
  const { weightDecay = decoupled ? 0.01 : 0 } = settings;
  const stepSize = lr / (1 - beta1 ** step);
  const correction = Math.sqrt(1 - beta2 ** step);
  const averages: TensorRule[] = [
    {
      slot: "first",
      rule: rule(DECAY_SCALED, beta1, 1 - beta1),
      operands: [before("first"), before("second")],
    },
    {
      slot: "second",
      rule: rule(SQUARE_OF_MOMENT, beta1, 1 / (1 - beta1), beta2, 1 - beta2),
      operands: [before("second"), before("first"), now("first")],
    },
  ];
  if (amsgrad) {
    averages.push({ slot: "maximum", rule: rule(MAXIMUM), operands: [before("maximum"), now("second")] });
  }
  if (!hasWeight) return averages;
  const kept = decoupled ? 1 - lr * weightDecay : 1;
  return [
    ...averages,
    {
      slot: "weight",
      rule: rule(ADAM_WEIGHT, kept, -stepSize, correction, eps),
      operands: [before("weight"), now("first"), now(amsgrad ? "maximum" : "second")],
    },
  ];
}

function sgd(
  { lr = 1e-3, momentum = 0.9, nesterov = false }: OptimizerSettings,
  hasWeight: boolean,
): TensorRule[] {
  const buffer = { slot: "momentum", rule: rule(DECAY, momentum), operands: [before("momentum")] } as const;
  if (!hasWeight) return [];
  const weight: TensorRule = nesterov
    ? {
        slot: "weight",
        rule: rule(NESTEROV_WEIGHT, momentum, -lr),
        operands: [before("weight"), now("momentum"), before("momentum")],
      }
    : {
        slot: "weight",
        rule: rule(MOMENTUM_WEIGHT, -lr),
        operands: [before("weight"), now("momentum")],
      };
  return [{ ...buffer, operands: [...buffer.operands] }, weight];
}

/** The weight, or with momentum its buffer, is what tells the gradient. */
function rmsprop(settings: OptimizerSettings, hasWeight: boolean, hasMomentum: boolean): TensorRule[] {
  const { lr = 1e-2, alpha = 0.99, eps = 1e-8, momentum = 0.9 } = settings;
  const square = (k0: number, k1: number, of: Slot | "weight"): TensorRule => ({
    slot: "square",
    rule: rule(SQUARE_OF_STEP, k0, k1, alpha, 1 - alpha, eps),
    operands: [before("square"), before(of), now(of)],
  });
  if (!hasMomentum) return hasWeight ? [weightFirst, square(1 / lr, 1, "weight")] : [];
  const buffer: TensorRule = {
    slot: "momentum",
    rule: rule(DECAY, momentum),
    operands: [before("momentum")],
  };
  const weight: TensorRule = {
    slot: "weight",
    rule: rule(MOMENTUM_WEIGHT, -lr),
    operands: [before("weight"), now("momentum")],
  };
  return [buffer, square(1, momentum, "momentum"), ...(hasWeight ? [weight] : [])];
}

function adagrad({ lr = 1e-2, lrDecay = 0, eps = 1e-10, step = 1 }: OptimizerSettings): TensorRule[] {
  const rate = lr / (1 + (step - 1) * lrDecay);
  const sum: TensorRule = {
    slot: "sum",
    rule: rule(SQUARE_OF_STEP, 1 / rate, 1, 1, 1, eps),
    operands: [before("sum"), before("weight"), now("weight")],
  };
  return [weightFirst, sum];
}

const weightFirst: TensorRule = { slot: "weight", rule: rule(COPY), operands: [before("weight")] };
