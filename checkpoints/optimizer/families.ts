import type { FileLayout, TensorSpan } from "../../formats/layout.ts";
import type { StoredLayout } from "../manifest-format.ts";

/** What an optimizer keeps for each weight, by what it means. */
export type Slot = "first" | "second" | "maximum" | "momentum" | "square" | "sum";

/** A weight and its state: tensors of float32 of one size. The weight may lie elsewhere. */
export interface Family {
  weight: TensorSpan | undefined;
  slots: Map<Slot, TensorSpan>;
}

/** PyTorch's names, then optax's and others' that are as plain. */
const SLOT_NAMES: Record<string, Slot> = {
  exp_avg: "first",
  exp_avg_sq: "second",
  max_exp_avg_sq: "maximum",
  momentum_buffer: "momentum",
  square_avg: "square",
  sum: "sum",
  mu: "first",
  nu: "second",
  trace: "momentum",
  sum_of_squares: "sum",
};

/** Parts of names that only say which collection a tensor is in. */
const COLLECTIONS = new Set([
  "model",
  "module",
  "params",
  "state",
  "state_dict",
  "optimizer",
  "optim",
  "opt_state",
]);

/**
 * Pairs weights with their state by name: `W` with `W.exp_avg` or `W/mu`, `opt_state/0/mu/W`, `state.W.exp_avg`; and
 * `state.3.exp_avg` with the fourth weight of the file, if it has the same shape.
 */
export function familiesOf(spans: readonly TensorSpan[]): Family[] {
  const states: { key: string; slot: Slot; span: TensorSpan }[] = [];
  const weights: TensorSpan[] = [];
  for (const span of spans) {
    if (span.dtype !== "F32" || span.sizeBytes === 0) continue;
    const state = stateIn(span.name);
    if (state === undefined) weights.push(span);
    else states.push({ ...state, span });
  }
  if (states.length === 0) return [];
  const byKey = new Map(weights.map((span) => [keyOf(span.name.split(/[./]/)), span]));
  const families = new Map<string, Family>();
  for (const { key, slot, span } of states) {
    const weight = byKey.get(key) ?? (/^\d+$/.test(key) ? weights[Number(key)] : undefined);
    const fitting = weight?.shape.join() === span.shape.join() ? weight : undefined;
    let family = families.get(key);
    if (family === undefined) {
      family = { weight: fitting, slots: new Map() };
      families.set(key, family);
    }
    const size = family.weight?.sizeBytes ?? family.slots.values().next().value?.sizeBytes ?? span.sizeBytes;
    if (size === span.sizeBytes && !family.slots.has(slot)) family.slots.set(slot, span);
  }
  return [...families.values()].filter(({ slots }) => slots.size > 0);
}

function stateIn(name: string): { key: string; slot: Slot } | undefined {
  const parts = name.split(/[./]/);
  const at = parts.findLastIndex((part) => Object.hasOwn(SLOT_NAMES, part));
  if (at < 0 || parts.length === 1) return undefined;
  const of = at === parts.length - 1 ? parts.slice(0, at) : parts.slice(at + 1);
  return { key: keyOf(of), slot: SLOT_NAMES[parts[at]!]! };
}

function keyOf(parts: string[]): string {
  const from = parts.findIndex((part) => !COLLECTIONS.has(part));
  return parts.slice(Math.max(0, from)).join(".");
}

/** The layout to store a file by: one that holds optimizer state keeps that close to its weights. */
export function storedLayout(layout: FileLayout): StoredLayout {
  return familiesOf(layout.spans).length === 0 ? layout : { ...layout, familiesTogether: true };
}
