import type { Slot } from "./table.ts";

/** Slots of one leaf: an insertion moves at most this many pointers. */
const LEAF_SLOTS_MAX = 256;

interface Leaf {
  slots: Slot[];
  /** A leaf of an earlier generation may be in the hands of a reader and is copied before it changes. */
  generation: number;
}

/**
 * A table's slots in key order (UTF-16 code units): a list of short sorted leaves. Point reads use the table's
 * hash map; this serves ranges, and snapshots, which walk it while it changes: whoever takes `leaves()` keeps
 * what was there at that moment, because leaves are copied on their first change after that.
 */
export class OrderedSlots {
  #leaves: Leaf[] = [];
  #generation = 0;

  /** Every leaf as of now, for reading only. */
  leaves(): readonly (readonly Slot[])[] {
    this.#generation++;
    return this.#leaves.map((leaf) => leaf.slots);
  }

  /** Takes a run of slots that follow, in order, everything already here. */
  appendRun(slots: Slot[]): void {
    if (slots.length > 0) this.#leaves.push({ slots, generation: this.#generation });
  }

  clear(): void {
    this.#leaves = [];
  }

  insert(slot: Slot): void {
    if (this.#leaves.length === 0) {
      this.#leaves.push({ slots: [slot], generation: this.#generation });
      return;
    }
    const index = this.#leafFor(slot.key);
    const slots = this.#writable(index);
    slots.splice(lowerBound(slots, slot.key), 0, slot);
    if (slots.length <= LEAF_SLOTS_MAX) return;
    // Keys often arrive in rising order: a split at the end keeps the leaves before it full.
    const appended = index === this.#leaves.length - 1 && slots.at(-1) === slot;
    const upper = slots.splice(appended ? LEAF_SLOTS_MAX : LEAF_SLOTS_MAX >>> 1);
    this.#leaves.splice(index + 1, 0, { slots: upper, generation: this.#generation });
  }

  remove(key: string): void {
    const index = this.#leafFor(key);
    const slots = this.#writable(index);
    slots.splice(lowerBound(slots, key), 1);
    if (slots.length === 0) this.#leaves.splice(index, 1);
  }

  /** Slots with `from` ≤ key < `to`, in order or in reverse; sees the keys that were there when it was called. */
  *range(from: string | undefined, to: string | undefined, reverse: boolean): Generator<Slot> {
    const leaves = this.#leaves;
    if (leaves.length === 0) return;
    const first = from === undefined ? 0 : this.#leafFor(from);
    const last = to === undefined ? leaves.length - 1 : this.#leafFor(to);
    // Held leaves are copied before they change, so the walk is steady.
    const held = leaves.slice(first, last + 1).map((leaf) => leaf.slots);
    this.#generation++;
    for (let i = 0; i < held.length; i++) {
      const at = reverse ? held.length - 1 - i : i;
      const slots = held[at]!;
      const low = at === 0 && from !== undefined ? lowerBound(slots, from) : 0;
      const high = at === held.length - 1 && to !== undefined ? lowerBound(slots, to) : slots.length;
      if (reverse) for (let j = high - 1; j >= low; j--) yield slots[j]!;
      else for (let j = low; j < high; j++) yield slots[j]!;
    }
  }

  #writable(index: number): Slot[] {
    const leaf = this.#leaves[index]!;
    if (leaf.generation === this.#generation) return leaf.slots;
    const slots = leaf.slots.slice();
    this.#leaves[index] = { slots, generation: this.#generation };
    return slots;
  }

  /** The last leaf whose first key is not above `key`, or the first leaf. */
  #leafFor(key: string): number {
    let low = 0;
    let high = this.#leaves.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#leaves[middle]!.slots[0]!.key <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function lowerBound(slots: readonly Slot[], key: string): number {
  let low = 0;
  let high = slots.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (slots[middle]!.key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
