import { StoreError } from "../errors.ts";

/** Numbers are 64-bit signed at every exchange; the limit leaves room for a reservation. */
export const SEQUENCE_MAX = (1n << 63n) - 1n;
const RESERVE_MAX = 1_000_000;

/** Why the numbers of a store may be in use elsewhere. */
export interface Fence {
  /** 1 for the first fence of a store; a sequence adopted under an earlier one is fenced again. */
  number: number;
  kind: FenceKind;
  /** What was seen, in words. */
  detail: string;
}

/** `backup`, `fork`: varve made the copy. `copy`: the files moved. `rollback`: the witness knows higher numbers. */
export type FenceKind = "backup" | "fork" | "copy" | "rollback";

export interface SequenceOptions {
  /**
   * Numbers taken from the log at once (default 1). With more, `next` writes only once per reservation, and what
   * is left of one is skipped after a crash.
   */
  reserve?: number;
  /** `timeUs`: never below the transaction's time in microseconds, for exchanges that want nonces to be times. */
  floor?: "timeUs";
  /** First number of a new sequence (default 1). */
  start?: bigint;
}

/** What a sequence asks of the state it belongs to. */
export interface SequenceOwner {
  isFenced(sequence: SequenceState): boolean;
}

/** One sequence: what is durable, and what running and queued transactions see. */
export class SequenceState {
  readonly name: string;
  readonly owner: SequenceOwner;
  /** Number of the sequence in records; 0 until a record has defined it. */
  id = 0;
  /** Durable: every number below may have been handed out. */
  durableNext: bigint;
  /** Logged, perhaps still queued: numbers below may be handed out without another write. */
  loggedNext: bigint;
  /** The number `next` hands out next. */
  visibleNext: bigint;
  /** The fence under which it was last adopted. */
  adoptedFence = 0;
  reserve = 1n;
  floorTime = false;

  constructor(name: string, owner: SequenceOwner) {
    this.name = name;
    this.owner = owner;
    this.durableNext = 1n;
    this.loggedNext = 1n;
    this.visibleNext = 1n;
  }

  configure(options: SequenceOptions): void {
    const { reserve = 1, floor, start } = options;
    if (!Number.isInteger(reserve) || reserve < 1 || reserve > RESERVE_MAX) {
      throw new StoreError(
        "ERR_INVALID_ARGUMENT",
        `sequence ${this.name}: reserve must be 1 to ${RESERVE_MAX}`,
      );
    }
    if (floor !== undefined && floor !== "timeUs") {
      throw new StoreError("ERR_INVALID_ARGUMENT", `sequence ${this.name}: floor can only be "timeUs"`);
    }
    this.reserve = BigInt(reserve);
    this.floorTime = floor === "timeUs";
    if (start !== undefined && this.id === 0) {
      checkNumber(this.name, start);
      this.recovered(start);
    }
  }

  /** What was recovered is all that is known: start after it. */
  recovered(next: bigint): void {
    this.durableNext = next;
    this.loggedNext = next;
    this.visibleNext = next;
  }
}

export function checkNumber(name: string, value: unknown): asserts value is bigint {
  if (typeof value === "bigint" && value >= 0n && value <= SEQUENCE_MAX) return;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `sequence ${name}: a number must be a bigint from 0 to 2^63-1`,
  );
}

export function fencedError(name: string, fence: Fence): StoreError {
  const moved = fence.kind === "copy" ? ", or, if the store was moved, varve sequence adopt --moved" : "";
  return new StoreError(
    "ERR_SEQUENCE_FENCED",
    `sequence ${name} is fenced: this store is a copy (${fence.kind}: ${fence.detail})`,
    {
      context: { sequence: name, fence: fence.kind, detail: fence.detail },
      hint: `Make sure the original no longer issues numbers, then: varve sequence adopt ${name} --at-least N${moved}.`,
    },
  );
}
