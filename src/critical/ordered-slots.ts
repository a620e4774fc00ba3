import type { Slot, Table } from "./table.ts";

/** Slots of one leaf: an insertion moves at most this many pointers. */
const LEAF_SLOTS_MAX = 256;

interface Leaf {
  /** `undefined` while the leaf is a run of the table's cold rows. */
  slots: Slot[] | undefined;
  /** The cold rows it began as. */
  readonly fromRow: number;
  readonly toRow: number;
  /** A leaf of an earlier generation may be in the hands of a reader and is copied before it changes. */
  generation: number;
  firstKey: string;
}

/**
 * A table's slots in key order (UTF-16 code units): a list of short sorted leaves. Point reads use the table's
 * hash map; this serves ranges, and snapshots, which walk it while it changes: whoever takes `leaves()` keeps
 * what was there at that moment, because leaves are copied on their first change after that.
 */
export class OrderedSlots {
  readonly #table: Table;
  #leaves: Leaf[] = [];
  #generation = 0;

  constructor(table: Table) {
    this.#table = table;
  }

  /** Every leaf as of now, for reading only. */
  leaves(): readonly (readonly Slot[])[] {
    this.#generation++;
    return this.#leaves.map((leaf) => this.#slotsOf(leaf));
  }

  /** The table's cold rows become leaves, to be filled when they are asked for. */
  appendCold(): void {
    const cold = this.#table.cold!;
    for (let fromRow = 0; fromRow < cold.count; fromRow += LEAF_SLOTS_MAX / 2) {
      const toRow = Math.min(cold.count, fromRow + LEAF_SLOTS_MAX / 2);
      const firstKey = cold.key(fromRow);
      this.#leaves.push({ slots: undefined, fromRow, toRow, generation: this.#generation, firstKey });
    }
  }

  /** Fills one more cold leaf from `index` on; returns where to go on, or −1 when none is left. */
  warmNext(index: number): number {
    for (let at = index; at < this.#leaves.length; at++) {
      if (this.#leaves[at]!.slots !== undefined) continue;
      this.#slotsOf(this.#leaves[at]!);
      return at + 1;
    }
    return -1;
  }

  clear(): void {
    this.#leaves = [];
  }

  insert(slot: Slot): void {
    if (this.#leaves.length === 0) {
      this.#leaves.push(this.#leaf([slot]));
      return;
    }
    const index = this.#leafFor(slot.key);
    const slots = this.#writable(index);
    const at = lowerBound(slots, slot.key);
    // A cold leaf that was filled just now finds a key that was removed and came back in the table already.
    if (slots[at] === slot) return;
    slots.splice(at, 0, slot);
    if (at === 0) this.#leaves[index]!.firstKey = slot.key;
    if (slots.length <= LEAF_SLOTS_MAX) return;
    // Keys often arrive in rising order: a split at the end keeps the leaves before it full.
    const appended = index === this.#leaves.length - 1 && at === slots.length - 1;
    this.#leaves.splice(
      index + 1,
      0,
      this.#leaf(slots.splice(appended ? LEAF_SLOTS_MAX : LEAF_SLOTS_MAX >>> 1)),
    );
  }

  remove(key: string): void {
    const index = this.#leafFor(key);
    const slots = this.#writable(index);
    const at = lowerBound(slots, key);
    // A leaf filled after the key's row was taken never held it.
    if (slots[at]?.key === key) slots.splice(at, 1);
    if (slots.length === 0) this.#leaves.splice(index, 1);
  }

  /** Walks the slots with `from` ≤ key < `to`, in order or in reverse; keys as of now. */
  cursor(from: string | undefined, to: string | undefined, reverse: boolean): SlotCursor {
    const leaves = this.#leaves;
    const first = from === undefined || leaves.length === 0 ? 0 : this.#leafFor(from);
    const last = to === undefined || leaves.length === 0 ? leaves.length - 1 : this.#leafFor(to);
    // Held leaves are copied before they change, so the walk is steady.
    this.#generation++;
    const held = first === last ? [leaves[first]!] : leaves.slice(first, last + 1);
    return new SlotCursor(held, (leaf) => this.#slotsOf(leaf), from, to, reverse);
  }

  #leaf(slots: Slot[]): Leaf {
    return { slots, fromRow: 0, toRow: 0, generation: this.#generation, firstKey: slots[0]!.key };
  }

  #slotsOf(leaf: Leaf): Slot[] {
    if (leaf.slots !== undefined) return leaf.slots;
    const table = this.#table;
    const cold = table.cold!;
    const slots: Slot[] = [];
    for (let row = leaf.fromRow; row < leaf.toRow; row++) {
      const key = cold.key(row);
      // A row that was taken is a slot by now, or was removed.
      const slot = cold.isTaken(row) ? table.slots.get(key) : table.warm(key, row);
      if (slot !== undefined) slots.push(slot);
    }
    leaf.slots = slots;
    return slots;
  }

  #writable(index: number): Slot[] {
    const leaf = this.#leaves[index]!;
    const slots = this.#slotsOf(leaf);
    if (leaf.generation === this.#generation) return slots;
    // A new leaf object: whoever walks holds the old one.
    const copied = slots.slice();
    this.#leaves[index] = { ...leaf, slots: copied, generation: this.#generation };
    return copied;
  }

  /** The last leaf whose first key is not above `key`, or the first leaf. */
  #leafFor(key: string): number {
    let low = 0;
    let high = this.#leaves.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#leaves[middle]!.firstKey <= key) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** A walk over slots; `next` gives one after the other, then `undefined`. */
export class SlotCursor {
  readonly #leaves: Leaf[];
  readonly #slotsOf: (leaf: Leaf) => Slot[];
  readonly #from: string | undefined;
  readonly #to: string | undefined;
  readonly #reverse: boolean;
  #leaf: number;
  #slots: Slot[] = [];
  #at = 0;
  #left = 0;

  constructor(
    leaves: Leaf[],
    slotsOf: (leaf: Leaf) => Slot[],
    from: string | undefined,
    to: string | undefined,
    reverse: boolean,
  ) {
    this.#leaves = leaves[0] === undefined ? [] : leaves;
    this.#slotsOf = slotsOf;
    this.#from = from;
    this.#to = to;
    this.#reverse = reverse;
    this.#leaf = reverse ? this.#leaves.length : -1;
  }

  next(): Slot | undefined {
    while (this.#left === 0) {
      this.#leaf += this.#reverse ? -1 : 1;
      if (this.#leaf < 0 || this.#leaf >= this.#leaves.length) return undefined;
      const slots = this.#slotsOf(this.#leaves[this.#leaf]!);
      const low = this.#leaf === 0 && this.#from !== undefined ? lowerBound(slots, this.#from) : 0;
      const ends = this.#leaf === this.#leaves.length - 1 && this.#to !== undefined;
      const high = ends ? lowerBound(slots, this.#to!) : slots.length;
      this.#slots = slots;
      this.#left = Math.max(0, high - low);
      this.#at = this.#reverse ? high - 1 : low;
    }
    this.#left--;
    return this.#slots[this.#reverse ? this.#at-- : this.#at++];
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
