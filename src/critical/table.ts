import type { MapChange } from "./change.ts";
import { freeze, messagePack, type ValueCodec } from "./codec.ts";
import type { ColdRows } from "./cold-rows.ts";
import { OrderedSlots } from "./ordered-slots.ts";
import type { MapSchema } from "./schema.ts";
import type { State } from "./state.ts";

/** Marks an entry whose value nobody has asked for yet. */
const UNDECODED = Symbol("undecoded");

/**
 * One version of one key's value; what it says never changes, so that snapshots and history may hold it. Its bytes
 * lie where they were written or read. One that outlives that place keeps them as a one-byte-per-character string:
 * it lives in the JavaScript heap, which for values of a few hundred bytes is several times cheaper to make and to
 * collect than a buffer of its own.
 */
export class Entry {
  private text: string | undefined = undefined;
  /** The encoded value lies here at `offset` while there is no `text`. */
  private source: Buffer | undefined;
  private readonly offset: number;
  readonly lengthBytes: number;
  readonly schemaVersion: number;
  /** Microseconds since the Unix epoch from which on the entry is gone; 0 = never. */
  readonly expiresAtUs: number;
  /** LSN of the commit that wrote it: the version that `ifVersion` compares. */
  readonly lsn: number;
  /** It is what its key holds, or will once it is durable. */
  current = true;
  /** The decoded, frozen value once it was asked for. */
  value: unknown = UNDECODED;

  constructor(
    source: Buffer,
    offset: number,
    lengthBytes: number,
    schemaVersion: number,
    expiresAtUs: number,
    lsn: number,
  ) {
    this.source = source;
    this.offset = offset;
    this.lengthBytes = lengthBytes;
    this.schemaVersion = schemaVersion;
    this.expiresAtUs = expiresAtUs;
    this.lsn = lsn;
  }

  /** Takes a copy of its bytes, so that the place they lie in can go. */
  detach(): void {
    if (this.source === undefined) return;
    this.text = this.source.toString("latin1", this.offset, this.offset + this.lengthBytes);
    this.source = undefined;
  }

  copyTo(target: Buffer, position: number): void {
    if (this.text !== undefined) target.write(this.text, position, this.lengthBytes, "latin1");
    else this.source!.copy(target, position, this.offset, this.offset + this.lengthBytes);
  }

  liveAt(timeUs: number): boolean {
    return this.expiresAtUs === 0 || this.expiresAtUs > timeUs;
  }
}

/** The place of a key: what ranges and snapshots walk. Its entry is replaced, never changed. */
export class Slot {
  readonly key: string;
  entry: Entry;
  /** The snapshot that has already taken care of this slot. */
  snapshot: number;
  /** Set once the key was removed; a reader in the middle of a range may still hold the slot. */
  removed = false;

  constructor(key: string, entry: Entry, snapshot: number) {
    this.key = key;
    this.entry = entry;
    this.snapshot = snapshot;
  }
}

/** Keeps what a slot held before it changes: a snapshot in progress. */
export interface Preserver {
  /** No other has had it. */
  readonly mark: number;
  preserve(slot: Slot): void;
  /** A row of the table's cold ones becomes a slot; it held this. */
  preserveRow(table: Table, row: number, entry: Entry): void;
}

let scratch = Buffer.allocUnsafeSlow(64 << 10);

/** The durable entries of one map, and over them what running or queued transactions have written. */
export class Table {
  readonly name: string;
  /** The state it belongs to. */
  readonly owner: State;
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
  /** The newest write to each key that is not durable yet. */
  readonly overlay = new Map<string, MapChange>();

  constructor(name: string, owner: State) {
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
    const slot = new Slot(key, entry, 0);
    this.slots.set(key, slot);
    return slot;
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
    if (this.overlay.size !== 0) {
      const change = this.overlay.get(key);
      if (change !== undefined) return change.after;
    }
    return this.slot(key)?.entry;
  }

  /** Writes a durable entry; returns the one it replaces. */
  put(key: string, entry: Entry, preserver: Preserver | undefined): Entry | undefined {
    if (entry.schemaVersion > this.storedVersion) this.storedVersion = entry.schemaVersion;
    if (entry.expiresAtUs !== 0) this.expires = true;
    const slot = this.slot(key);
    if (slot === undefined) {
      const added = new Slot(key, entry, preserver === undefined ? 0 : preserver.mark);
      this.slots.set(key, added);
      this.order.insert(added);
      return undefined;
    }
    const before = slot.entry;
    if (preserver !== undefined && slot.snapshot !== preserver.mark) preserver.preserve(slot);
    before.current = false;
    slot.entry = entry;
    return before;
  }

  remove(key: string, preserver: Preserver | undefined): Entry | undefined {
    const slot = this.slot(key);
    if (slot === undefined) return undefined;
    if (preserver !== undefined && slot.snapshot !== preserver.mark) preserver.preserve(slot);
    slot.removed = true;
    slot.entry.current = false;
    this.slots.delete(key);
    this.order.remove(key);
    return slot.entry;
  }

  /** Removes every entry; returns the slots there were, in key order. */
  clear(preserver: Preserver | undefined): Slot[] {
    const slots = this.order.leaves().flat();
    for (const slot of slots) {
      if (preserver !== undefined && slot.snapshot !== preserver.mark) preserver.preserve(slot);
      slot.removed = true;
      slot.entry.current = false;
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

  /** The value of an entry as it was stored, whatever version that is. */
  decodeStored(entry: Entry): unknown {
    if (entry.lengthBytes > scratch.byteLength) scratch = Buffer.allocUnsafeSlow(entry.lengthBytes);
    entry.copyTo(scratch, 0);
    return this.codec.decode(scratch, entry.lengthBytes);
  }
}
