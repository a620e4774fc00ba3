import { StoreError } from "../../src/errors.ts";

/**
 * An optimizer's hyperparameters, as PyTorch names them. They make a save smaller when weights and optimizer state of
 * consecutive steps are saved together: the step is done again as a prediction. Whatever is wrong or missing costs
 * bytes, never exactness.
 */
export interface OptimizerSettings {
  /** `sgd`, `adam`, `adamw`, `adagrad` or `rmsprop`, in any spelling; default: told by the state's names. */
  kind?: string;
  lr?: number;
  /** Adam's decay rates of the averages of gradients and of their squares. */
  betas?: readonly [number, number];
  eps?: number;
  weightDecay?: number;
  /** SGD's and RMSprop's. */
  momentum?: number;
  nesterov?: boolean;
  /** RMSprop's decay rate. */
  alpha?: number;
  /** Adagrad's. */
  lrDecay?: number;
  /** Steps done when the state was saved; default: the version's step. */
  step?: number;
}

const NUMBERS = ["lr", "eps", "weightDecay", "momentum", "alpha", "lrDecay", "step"] as const;

/** @throws StoreError ERR_INVALID_ARGUMENT for a value that is no finite number. */
export function checkOptimizer(settings: OptimizerSettings): void {
  const named: [string, unknown][] = NUMBERS.map((name) => [name, settings[name]]);
  settings.betas?.forEach((beta, i) => {
    named.push([`betas[${i}]`, beta]);
  });
  for (const [name, value] of named) {
    if (value !== undefined && (typeof value !== "number" || !Number.isFinite(value))) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `optimizer.${name}: ${String(value)} is no finite number`,
        {
          context: { field: `optimizer.${name}`, value: String(value) },
          hint: "Leave out what is not known.",
        },
      );
    }
  }
}

/** Settings that a file's metadata states, under the usual names; undefined where it states none. */
export function settingsIn(metadata: ReadonlyMap<string, string>): OptimizerSettings | undefined {
  const text = (...names: string[]) =>
    names.map((name) => metadata.get(name)).find((value) => value !== undefined);
  const number = (...names: string[]) => {
    const value = text(...names);
    const parsed = value === undefined || value.trim() === "" ? Number.NaN : Number(value);
    return Number.isFinite(parsed) ? parsed : undefined;
  };
  const betas = (text("betas") ?? "").match(/[\d.eE+-]+/g)?.map(Number) ?? [];
  const [beta1 = number("beta1", "b1"), beta2 = number("beta2", "b2")] = betas;
  const found: OptimizerSettings = {};
  const take = <Name extends keyof OptimizerSettings>(name: Name, value: OptimizerSettings[Name]) => {
    if (value !== undefined) found[name] = value;
  };
  take("kind", text("optimizer", "optimizer_type", "optim"));
  take("lr", number("lr", "learning_rate"));
  if (Number.isFinite(beta1) && Number.isFinite(beta2)) found.betas = [beta1!, beta2!];
  take("eps", number("eps", "epsilon"));
  take("weightDecay", number("weight_decay", "wd"));
  take("momentum", number("momentum"));
  take("alpha", number("alpha"));
  take("lrDecay", number("lr_decay"));
  take("step", number("step", "global_step"));
  if (/^(true|1)$/i.test(text("nesterov") ?? "")) found.nesterov = true;
  return Object.keys(found).length === 0 ? undefined : found;
}
