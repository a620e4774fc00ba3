import type { StateChange } from "./change-format.ts";
import type { PersistentMap } from "./persistent-map.ts";

export interface StateDifference<V> {
  key: string;
  before: V | undefined;
  after: V | undefined;
}

/** A map as it was at one moment; it never changes, and costs nothing to take. */
export interface StateSnapshot<V> {
  readonly seq: number;
  readonly size: number;
  get(key: string): V | undefined;
  has(key: string): boolean;
  /** By key. */
  entries(): [string, V][];
  keys(): string[];
  /** What differs in a later snapshot, by key. */
  diff(later: StateSnapshot<V>): StateDifference<V>[];
}

export function snapshotOf<V>(
  state: PersistentMap<StateChange>,
  seq: number,
  read: (change: StateChange) => V,
): StateSnapshot<V> {
  return new Snapshot(state, seq, read);
}

class Snapshot<V> implements StateSnapshot<V> {
  readonly seq: number;
  readonly state: PersistentMap<StateChange>;
  readonly #read: (change: StateChange) => V;

  constructor(state: PersistentMap<StateChange>, seq: number, read: (change: StateChange) => V) {
    this.state = state;
    this.seq = seq;
    this.#read = read;
  }

  get size(): number {
    return this.state.size;
  }

  get(key: string): V | undefined {
    const change = this.state.get(key);
    return change === undefined ? undefined : this.#read(change);
  }

  has(key: string): boolean {
    return this.state.get(key) !== undefined;
  }

  keys(): string[] {
    return [...this.state.entries()].map(([key]) => key).sort();
  }

  entries(): [string, V][] {
    return this.keys().map((key) => [key, this.get(key) as V]);
  }

  diff(later: StateSnapshot<V>): StateDifference<V>[] {
    const changes = [...this.state.changesTo((later as Snapshot<V>).state)];
    const value = (change: StateChange | undefined) =>
      change === undefined ? undefined : this.#read(change);
    return changes
      .map(({ key, before, after }) => ({ key, before: value(before), after: value(after) }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  }
}
