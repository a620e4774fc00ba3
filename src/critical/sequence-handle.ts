import type { CommitOptions } from "./commit-options.ts";
import type { SequenceState } from "./sequence.ts";

/** What a sequence that commits by itself asks of the transaction. */
interface Numbering {
  next(sequence: CriticalSequence): bigint;
  atLeast(sequence: CriticalSequence, n: bigint): void;
}

/** And of whoever commits it. */
interface Committing {
  commit<T>(fn: (tx: Numbering) => T, options?: CommitOptions): { value: T };
}

/**
 * A sequence of 64-bit numbers that never goes back: exchange nonces, order ids, session counters. `tx.next` takes
 * the next number as part of a transaction.
 */
export class CriticalSequence {
  /** @internal */
  readonly state: SequenceState;
  readonly #critical: Committing;

  /** @internal */
  constructor(critical: Committing, state: SequenceState) {
    this.#critical = critical;
    this.state = state;
  }

  get name(): string {
    return this.state.name;
  }

  /** The number that would be handed out next; with a reservation, numbers up to `reservedTo` need no write. */
  get upcoming(): bigint {
    return this.state.visibleNext;
  }

  /** Durable: every number below it may have been handed out. */
  get reservedTo(): bigint {
    return this.state.durableNext;
  }

  /** Whether `next` refuses because this store is a copy. */
  get fenced(): boolean {
    return this.state.owner.isFenced(this.state);
  }

  /** The next number, in a commit of its own. @throws ERR_SEQUENCE_FENCED */
  next(options?: CommitOptions): bigint {
    return this.#critical.commit((tx) => tx.next(this), options).value;
  }

  /** Makes the next number at least `n`, durably; never lowers it. */
  atLeast(n: bigint, options?: CommitOptions): void {
    this.#critical.commit((tx) => tx.atLeast(this, n), options);
  }
}
