import type { Critical } from "../../src/critical/critical.ts";
import type { Transaction } from "../../src/critical/transaction.ts";
import type { Random } from "../../src/disk/random.ts";

/** What the partition must hold after some commit. */
export interface Model {
  maps: Record<string, Record<string, unknown>>;
  /** Numbers below were handed out. */
  issued: Record<string, bigint>;
}

export const MAPS = ["orders", "positions", "counters"] as const;
export const SEQUENCES = ["nonce", "reserved"] as const;

export function emptyModel(): Model {
  return { maps: { orders: {}, positions: {}, counters: {} }, issued: { nonce: 1n, reserved: 1n } };
}

export function copyModel(model: Model): Model {
  return structuredClone(model);
}

/** Everything a partition shows, in the model's form. */
export function shown(critical: Critical): Model["maps"] {
  const maps: Model["maps"] = {};
  for (const name of MAPS) maps[name] = Object.fromEntries(critical.map(name).entries());
  return maps;
}

/** One random transaction, made on the store and on the model alike. */
export function randomTransaction(
  critical: Critical,
  model: Model,
  random: Random,
): (tx: Transaction) => unknown {
  const steps: ((tx: Transaction) => void)[] = [];
  const count = 1 + random.below(5);
  for (let i = 0; i < count; i++) steps.push(randomStep(critical, model, random));
  return (tx) => {
    for (const step of steps) step(tx);
    return undefined;
  };
}

function randomStep(critical: Critical, model: Model, random: Random): (tx: Transaction) => void {
  const name = random.pick(["orders", "positions"] as const);
  const map = critical.map(name);
  const key = `${random.pick(["a", "b", "é", "order-"])}${random.below(30)}`;
  switch (random.below(12)) {
    case 0:
    case 1:
      return (tx) => {
        delete model.maps[name]![key];
        tx.delete(map, key);
      };
    case 2: {
      const counters = critical.map<number>("counters");
      return (tx) => {
        const counted = model.maps["counters"]!;
        counted[key] = ((counted[key] as number | undefined) ?? 0) + 2;
        if (tx.increment(counters, key, 2) !== counted[key]) throw new Error("a counter went wrong");
      };
    }
    case 3:
    case 4: {
      const sequence = random.pick(SEQUENCES);
      const handle = critical.sequence(sequence);
      return (tx) => {
        const number = tx.next(handle);
        if (number < model.issued[sequence]!) throw new Error(`${sequence} issued ${number} again`);
        model.issued[sequence] = number + 1n;
      };
    }
    case 5:
      if (random.chance(0.9)) return () => {};
      return (tx) => {
        model.maps[name] = {};
        tx.clear(map);
      };
    default: {
      const value = {
        quantity: random.below(1000),
        id: BigInt(random.next()),
        pad: "x".repeat(random.below(300)),
      };
      return (tx) => {
        model.maps[name]![key] = value;
        tx.put(map, key, value);
      };
    }
  }
}
