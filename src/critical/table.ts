import { freeze, messagePack, type ValueCodec } from "./codec.ts";
import type { ColdRows } from "./cold-rows.ts";
import { type Entry, UNDECODED } from "./entry.ts";
import { OrderedSlots } from "./ordered-slots.ts";
import type { MapSchema } from "./schema.ts";
import { Slot, type WaitingWrite } from "./slot.ts";

/** Keeps what a slot held before it changes: a snapshot in progress. */
export interface Preserver {
  /** No other has had it. */
  readonly mark: number;
  preserve(slot: Slot): void;
  /** A row of the table's cold ones becomes a slot; it held this. */
  preserveRow(table: Table, row: number, entry: Entry): void;
}

/** What a table asks of the state it belongs to. */
export interface TableOwner {
  /** A snapshot being taken, which must see entries before they change. */
  readonly preserver: Preserver | undefined;
  /** Where values lie; told of those that are current no longer. */
  readonly values: { free(entry: Entry): void };
}

let scratch = Buffer.allocUnsafeSlow(64 << 10);

/** The durable entries of one map, and over them what running or queued transactions have written. */
export class Table {
  readonly name: string;
  readonly owner: TableOwner;
  /** Number of the map in records; 0 until a record has defined it. */
  id = 0;
  codec: ValueCodec = messagePack;
  /** What the program opened the map with, if it did. */
  schema: MapSchema | undefined;
  /** Highest schema version found in the data. */
  storedVersion = 0;
  /** An entry with an expiry was ever put. */
  expires = false;
  /** Slots by key; those still cold come in when they are asked for. */
  readonly slots = new Map<string, Slot>();
  readonly order = new OrderedSlots(this);
  /** What a snapshot brought and nobody has asked for yet. */
  cold: ColdRows | undefined;
  /** The newest write that is not durable yet to each key without a slot; the others' slots have theirs. */
  readonly overlay = new Map<string, WaitingWrite>();

  constructor(name: string, owner: TableOwner) {
    this.name = name;
    this.owner = owner;
  }

  /** The place of a key, or `undefined` when it has none. */
  slot(key: string): Slot | undefined {
    const slot = this.slots.get(key);
    if (slot !== undefined || this.cold === undefined) return slot;
    const row = this.cold.find(key);
    return row < 0 ? undefined : this.warm(key, row);
  }

  /** Makes a cold row a slot. */
  warm(key: string, row: number): Slot {
    const entry = this.cold!.take(row);
    this.owner.preserver?.preserveRow(this, row, entry);
    return this.#add(new Slot(key, entry, 0));
  }

  /** Takes a new slot, and what waited for there to be one. */
  #add(slot: Slot): Slot {
    this.slots.set(slot.key, slot);
    if (this.overlay.size !== 0) {
      slot.pending = this.overlay.get(slot.key);
      if (slot.pending !== undefined) this.overlay.delete(slot.key);
    }
    return slot;
  }

  #replaced(entry: Entry): void {
    entry.current = false;
    if (entry.page !== undefined) this.owner.values.free(entry);
  }

  /** A slot that goes leaves the writes that wait to its key. */
  #drop(slot: Slot): void {
    slot.removed = true;
    this.#replaced(slot.entry);
    if (slot.pending === undefined) return;
    this.overlay.set(slot.key, slot.pending);
    slot.pending = undefined;
  }

  /** Keys there are, expired ones included. */
  get size(): number {
    return this.slots.size + (this.cold?.remaining ?? 0);
  }

  /** The durable entry of `key`, expired or not. */
  entry(key: string): Entry | undefined {
    return this.slot(key)?.entry;
  }

  /** What a transaction sees: its own and queued writes first. */
  visible(key: string): Entry | undefined {
    const slot = this.slot(key);
    if (slot !== undefined) return slot.pending === undefined ? slot.entry : slot.pending.after;
    return this.overlay.size === 0 ? undefined : this.overlay.get(key)?.after;
  }

  /** From here on transactions see this change of a key. */
  cover(change: WaitingWrite): void {
    const slot = this.slot(change.key);
    let under: WaitingWrite | undefined;
    if (slot === undefined) {
      under = this.overlay.get(change.key);
      this.overlay.set(change.key, change);
    } else {
      change.slot = slot;
      under = slot.pending;
      slot.pending = change;
    }
    if (under === undefined) return;
    change.under = under;
    under.over = change;
  }

  /** A change is durable and in memory: it covers its key no longer, and a later one that does has nothing under it. */
  uncover(change: WaitingWrite): void {
    const { slot, key, over } = change;
    if (over !== undefined) {
      over.under = undefined;
      change.over = undefined;
    } else if (slot !== undefined && slot.pending === change) slot.pending = undefined;
    else if (this.overlay.size !== 0 && this.overlay.get(key) === change) this.overlay.delete(key);
  }

  /** A change is taken back: what it covered is seen again. */
  takeBack({ key, under }: WaitingWrite): void {
    if (under !== undefined) under.over = undefined;
    // Meanwhile the key may have got a slot, or lost it.
    const slot = this.slots.get(key);
    if (slot !== undefined) slot.pending = under;
    else if (under === undefined) this.overlay.delete(key);
    else this.overlay.set(key, under);
  }

  /** Writes a durable entry; returns the one it replaces. */
  put(change: WaitingWrite, preserver: Preserver | undefined): Entry | undefined {
    const entry = change.after!;
    if (entry.schemaVersion > this.storedVersion) this.storedVersion = entry.schemaVersion;
    if (entry.expiresAtUs !== 0) this.expires = true;
    const known = change.slot;
    const slot = known !== undefined && !known.removed ? known : this.slot(change.key);
    if (slot === undefined) {
      const added = new Slot(change.key, entry, preserver === undefined ? 0 : preserver.mark);
      change.slot = this.#add(added);
      this.order.insert(added);
      return undefined;
    }
    change.slot = slot;
    const before = slot.entry;
    if (preserver !== undefined && slot.snapshot !== preserver.mark) preserver.preserve(slot);
    this.#replaced(before);
    slot.entry = entry;
    return before;
  }

  remove(key: string, preserver: Preserver | undefined): Entry | undefined {
    const slot = this.slot(key);
    if (slot === undefined) return undefined;
    if (preserver !== undefined && slot.snapshot !== preserver.mark) preserver.preserve(slot);
    this.slots.delete(key);
    this.#drop(slot);
    this.order.remove(key);
    return slot.entry;
  }

  /** Removes every entry; returns the slots there were, in key order. */
  clear(preserver: Preserver | undefined): Slot[] {
    const slots = this.order.leaves().flat();
    for (const slot of slots) {
      if (preserver !== undefined && slot.snapshot !== preserver.mark) preserver.preserve(slot);
      this.#drop(slot);
    }
    this.slots.clear();
    this.order.clear();
    this.cold = undefined;
    return slots;
  }

  /** The value of an entry as its readers get it: upgraded to the opened version, frozen. */
  decode(entry: Entry): unknown {
    if (entry.value !== UNDECODED) return entry.value;
    let value = this.decodeStored(entry);
    if (this.schema !== undefined) value = this.schema.upgraded(value, entry.schemaVersion);
    if (freeze(value)) entry.value = value;
    return value;
  }

  /** Values that were read before the map's schema was known are read anew, as that says. */
  forgetDecoded(): void {
    for (const { entry, pending } of this.slots.values()) {
      entry.value = UNDECODED;
      forgetWaiting(pending);
    }
    for (const change of this.overlay.values()) forgetWaiting(change);
  }

  /** The value of an entry as it was stored, whatever version that is. */
  decodeStored(entry: Entry): unknown {
    if (entry.lengthBytes > scratch.byteLength) scratch = Buffer.allocUnsafeSlow(entry.lengthBytes);
    entry.copyTo(scratch, 0);
    return this.codec.decode(scratch, entry.lengthBytes);
  }
}

function forgetWaiting(newest: WaitingWrite | undefined): void {
  for (let change = newest; change !== undefined; change = change.under) {
    if (change.after !== undefined) change.after.value = UNDECODED;
  }
}
