import type { Entry } from "./entry.ts";
import type { Fence, SequenceState } from "./sequence.ts";
import type { Slot, WaitingWrite } from "./slot.ts";
import type { Table } from "./table.ts";

/** One effect of a transaction, in the order of its record. */
export type Change = MapChange | ClearChange | SequenceChange | FenceChange;

/** A key gets a new entry, or none. */
export class MapChange implements WaitingWrite {
  kind: "put" | "delete";
  table: Table;
  key: string;
  after: Entry | undefined;
  /** What was there when the change became durable; known from then on. */
  before: Entry | undefined = undefined;
  slot: Slot | undefined = undefined;
  under: WaitingWrite | undefined = undefined;
  over: WaitingWrite | undefined = undefined;

  constructor(kind: "put" | "delete", table: Table, key: string, after: Entry | undefined) {
    this.kind = kind;
    this.table = table;
    this.key = key;
    this.after = after;
  }

  /** Lets go of everything it was about. */
  forget(): void {
    this.after = undefined;
    this.before = undefined;
    this.slot = undefined;
    this.under = undefined;
    this.over = undefined;
  }
}

/** Every key of a map goes. */
export interface ClearChange {
  readonly kind: "clear";
  readonly table: Table;
  /** The deletions that hide the keys until the change is durable. */
  readonly hiding: MapChange[];
  /** The slots that were there when the change became durable. */
  cleared: readonly Slot[];
}

/** Numbers below `next` are given away, or, with `adopts`, taken over from a fenced copy. */
export interface SequenceChange {
  readonly kind: "sequence";
  readonly sequence: SequenceState;
  readonly next: bigint;
  readonly adopts: boolean;
  before: bigint;
}

/** From here on this store is known to be a copy; `undefined`: it is known to be the original after all. */
export interface FenceChange {
  readonly kind: "fence";
  readonly fence: Fence | undefined;
}

export type RecordKind = "transaction" | "cut";

/** Who did it, why, and on the strength of what: part of the record and of the audit trail. */
export interface Annotations {
  /** Who or what made the change: a strategy, a person, a service. */
  actor?: string;
  reason?: string;
  /** Digests (hex) of the model and feature versions the decision was based on. */
  basedOn?: readonly string[];
}

/** One log record in memory. */
export interface LogRecord {
  readonly kind: RecordKind;
  readonly changes: Change[];
  annotations: Annotations | undefined;
  idempotencyKey: string | undefined;
  /** Encoded return value of the callback, kept for retries; only with an idempotency key. */
  valueBytes: string | undefined;
  /** Name and opaque body of a cut. */
  cut: { name: string; body: Uint8Array } | undefined;
  readonly lsn: number;
  readonly timeUs: number;
}
