import { PICKLE_DEPTH_MAX, TENSOR_PATH_CHARACTERS_MAX } from "../../src/limits.ts";
import { uniqueName } from "../unique-name.ts";
import {
  PickleDict,
  PickleObject,
  PickleSequence,
  type PickleValue,
  StorageHandle,
  TensorView,
} from "./pickle-values.ts";

export interface NamedView {
  /** The path to the tensor: `optimizer.state.0.exp_avg`. Unique. */
  name: string;
  view: TensorView;
}

interface Visit {
  value: PickleValue;
  path: string;
  depth: number;
}

/**
 * Every tensor in what a pickle describes, by its path, in the pickle's order. A container that is reached twice is
 * looked into once; a path that is taken gets a number.
 */
export function namedViews(root: PickleValue): NamedView[] {
  const found: NamedView[] = [];
  const names = new Map<string, number>();
  const seen = new Set<PickleValue>();
  const waiting: Visit[] = [{ value: root, path: "", depth: 0 }];
  for (let visit = waiting.pop(); visit !== undefined; visit = waiting.pop()) {
    const { value, path, depth } = visit;
    if (value instanceof TensorView || value instanceof StorageHandle) {
      const view = value instanceof TensorView ? value : wholeStorage(value);
      found.push({ name: uniqueName(path === "" ? "tensor" : path, names), view });
      continue;
    }
    if (seen.has(value) || depth >= PICKLE_DEPTH_MAX) continue;
    seen.add(value);
    const parts = partsOf(value);
    // Pushed in reverse, since the last one pushed is looked at first.
    for (let i = parts.length - 1; i >= 0; i--) {
      const [key, part] = parts[i]!;
      if (typeof part !== "object" || part === null) continue;
      waiting.push({ value: part, path: joinPath(path, key), depth: depth + 1 });
    }
  }
  return found;
}

function partsOf(value: PickleValue): [key: string, part: PickleValue][] {
  if (value instanceof PickleSequence) return value.items.map((item, i) => [String(i), item]);
  if (value instanceof PickleDict) {
    const entries = value.entries.map(([key, item], i): [string, PickleValue] => [keyText(key, i), item]);
    return [...entries, ...attributesOf(value.attributes)];
  }
  if (value instanceof PickleObject) return [["", value.parts], ...attributesOf(value.attributes)];
  return [];
}

function attributesOf(attributes: PickleValue): [string, PickleValue][] {
  return attributes === null ? [] : [["", attributes]];
}

function keyText(key: PickleValue, index: number): string {
  switch (typeof key) {
    case "string":
      return key;
    case "number":
    case "bigint":
    case "boolean":
      return String(key);
    default:
      return `[${index}]`;
  }
}

function joinPath(path: string, key: string): string {
  if (key === "") return path;
  return (path === "" ? key : `${path}.${key}`).slice(0, TENSOR_PATH_CHARACTERS_MAX);
}

function wholeStorage(storage: StorageHandle): TensorView {
  return new TensorView({ storage, offset: 0, shape: [storage.elements], stride: [1] });
}
