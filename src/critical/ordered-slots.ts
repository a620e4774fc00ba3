import { type ColdRows, LEAF_ROWS } from "./cold-rows.ts";
import type { Slot } from "./slot.ts";

/** Slots of one leaf: an insertion moves at most this many pointers. */
const LEAF_SLOTS_MAX = 256;
/** New slots that may wait to be put in order. */
const FRESH_MAX = 512;

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

/** A leaf as it is at one moment: its slots, or the cold rows it still is. */
export type SteadyLeaf = readonly Slot[] | RowRun;

export interface RowRun {
  cold: ColdRows;
  fromRow: number;
  toRow: number;
}

/** What the order asks of the table whose slots it keeps. */
export interface SlotSource {
  readonly cold: ColdRows | undefined;
  readonly slots: ReadonlyMap<string, Slot>;
  /** Makes a cold row a slot. */
  warm(key: string, row: number): Slot;
}

/**
 * A table's slots in key order (UTF-16 code units): a list of short sorted leaves. Point reads use the table's
 * hash map; this serves ranges, and snapshots, which walk it while it changes: whoever takes `leaves()` keeps
 * what was there at that moment, because leaves are copied on their first change after that.
 */
export class OrderedSlots {
  readonly #table: SlotSource;
  #leaves: Leaf[] = [];
  /** The generation in which the list of leaves was last copied. */
  #listGeneration = 0;
  #generation = 0;
  /** New slots, in no order yet. */
  #fresh: Slot[] = [];

  constructor(table: SlotSource) {
    this.#table = table;
  }

  /** Every leaf as of now, for reading only. */
  leaves(): readonly (readonly Slot[])[] {
    this.#settle();
    this.#generation++;
    return this.#leaves.map((leaf) => this.slotsOf(leaf));
  }

  /**
   * The same, without making slots of cold rows: a leaf of which none was ever asked for is told by its rows.
   */
  leavesOrRows(): readonly SteadyLeaf[] {
    this.#settle();
    this.#generation++;
    const { cold } = this.#table;
    return this.#leaves.map((leaf) => {
      if (!isUntouched(leaf, cold)) return this.slotsOf(leaf);
      return { cold: cold!, fromRow: leaf.fromRow, toRow: leaf.toRow };
    });
  }

  /** The table's cold rows become leaves, to be filled when they are asked for. */
  appendCold(): void {
    const cold = this.#table.cold!;
    for (let fromRow = 0; fromRow < cold.count; fromRow += LEAF_ROWS) {
      const toRow = Math.min(cold.count, fromRow + LEAF_ROWS);
      const firstKey = cold.key(fromRow);
      this.#leaves.push({ slots: undefined, fromRow, toRow, generation: this.#generation, firstKey });
    }
  }

  /** Fills one more cold leaf that was touched, from `index` on; returns where to go on, or −1 when none is left. */
  warmNext(index: number): number {
    for (let at = index; at < this.#leaves.length; at++) {
      const leaf = this.#leaves[at]!;
      if (leaf.slots !== undefined || isUntouched(leaf, this.#table.cold)) continue;
      this.slotsOf(this.#leaves[at]!);
      return at + 1;
    }
    return -1;
  }

  clear(): void {
    this.#leaves = [];
    this.#fresh = [];
  }

  /**
   * Takes a new slot. It is put in its place in the next turn of the event loop, or when someone asks for the order:
   * finding the place touches a dozen keys all over memory, which after waiting for the disk are in no cache.
   */
  insert(slot: Slot): void {
    const waiting = this.#fresh.push(slot);
    if (waiting === 1) setImmediate(() => this.#settle());
    else if (waiting >= FRESH_MAX) this.#settle();
  }

  #settle(): void {
    if (this.#fresh.length === 0) return;
    const fresh = this.#fresh;
    this.#fresh = [];
    for (let i = 0; i < fresh.length; i++) this.#place(fresh[i]!);
  }

  #place(slot: Slot): void {
    if (this.#leaves.length === 0) {
      this.#leaves = [this.#leaf([slot])];
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
    this.#settle();
    const index = this.#leafFor(key);
    const slots = this.#writable(index);
    const at = lowerBound(slots, key);
    // A leaf filled after the key's row was taken never held it.
    if (slots[at]?.key === key) slots.splice(at, 1);
    if (slots.length === 0) this.#leaves.splice(index, 1);
  }

  /** Walks the slots with `from` ≤ key < `to`, in order or in reverse; keys as of now. */
  cursor(from: string | undefined, to: string | undefined, reverse: boolean): SlotCursor {
    this.#settle();
    const leaves = this.#leaves;
    const first = from === undefined || leaves.length === 0 ? 0 : this.#leafFor(from);
    const last = to === undefined || leaves.length === 0 ? leaves.length - 1 : this.#leafFor(to);
    // The list and the leaves are copied before they change, so the walk is steady.
    this.#generation++;
    return new SlotCursor(this, { leaves, first, last, from, to, reverse });
  }

  #leaf(slots: Slot[]): Leaf {
    return { slots, fromRow: 0, toRow: 0, generation: this.#generation, firstKey: slots[0]!.key };
  }

  /** @internal A leaf's slots, filled if they are still cold. */
  slotsOf(leaf: Leaf): Slot[] {
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
    if (this.#listGeneration !== this.#generation) {
      this.#leaves = this.#leaves.slice();
      this.#listGeneration = this.#generation;
    }
    const leaf = this.#leaves[index]!;
    const slots = this.slotsOf(leaf);
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

function isUntouched(leaf: Leaf, cold: ColdRows | undefined): boolean {
  return leaf.slots === undefined && cold!.isWhole(leaf.fromRow);
}

interface Walk {
  leaves: readonly Leaf[];
  /** First and last leaf that may hold wanted keys. */
  first: number;
  last: number;
  from: string | undefined;
  to: string | undefined;
  reverse: boolean;
}

/** A walk over slots; `next` gives one after the other, then `undefined`. */
export class SlotCursor {
  readonly #order: OrderedSlots;
  readonly #walk: Walk;
  #leaf: number;
  #slots: Slot[] = [];
  #at = 0;
  #left = 0;

  constructor(order: OrderedSlots, walk: Walk) {
    this.#order = order;
    this.#walk = walk;
    this.#leaf = walk.reverse ? walk.last + 1 : walk.first - 1;
  }

  next(): Slot | undefined {
    const { leaves, first, last, from, to, reverse } = this.#walk;
    while (this.#left === 0) {
      this.#leaf += reverse ? -1 : 1;
      if (this.#leaf < first || this.#leaf > last) return undefined;
      const slots = this.#order.slotsOf(leaves[this.#leaf]!);
      const low = this.#leaf === first && from !== undefined ? lowerBound(slots, from) : 0;
      const high = this.#leaf === last && to !== undefined ? lowerBound(slots, to) : slots.length;
      this.#slots = slots;
      this.#left = Math.max(0, high - low);
      this.#at = reverse ? high - 1 : low;
    }
    this.#left--;
    return this.#slots[reverse ? this.#at-- : this.#at++];
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
