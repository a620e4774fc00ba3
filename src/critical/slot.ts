import type { Entry } from "./entry.ts";

/** A write to a key that is not durable yet. */
export interface WaitingWrite {
  readonly key: string;
  /** What the key will hold, or nothing. */
  after: Entry | undefined;
  /** The key's place where it was known when the write was made: it need not be looked up again. */
  slot: Slot | undefined;
  /** The one that this one covers, for taking this one back, and the one that covers this. */
  under: WaitingWrite | undefined;
  over: WaitingWrite | undefined;
}

/** The place of a key: what ranges and snapshots walk. Its entry is replaced, never changed. */
export class Slot {
  readonly key: string;
  entry: Entry;
  /** The newest write to the key that is not durable yet. */
  pending: WaitingWrite | undefined = undefined;
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
