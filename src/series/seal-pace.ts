import { SERIES_SEALS_PACED_MAX } from "../limits.ts";

/** A budget of background writing: what is written is charged to it, and who can wait waits until it is paid for. */
export interface SealBudget {
  take(sizeBytes: number): number;
  paceUntil(sizeBytes: number, ...ends: (AbortSignal | undefined)[]): Promise<void>;
}

/**
 * When a series' next full segment may be sealed. It waits until what was written in the background is paid for, but not
 * while more full segments wait, nor when somebody waits for this one: appends never meet the budget, and for what is
 * sealed without waiting others wait.
 */
export class SealPace {
  readonly #budget: SealBudget | undefined;
  /** Callers that wait until everything is sealed. */
  #awaited = 0;
  #wait = new AbortController();

  constructor(budget: SealBudget | undefined) {
    this.#budget = budget;
  }

  /** Resolves when the oldest of so many full segments may be sealed. */
  async turn(fullSegments: number): Promise<void> {
    this.#wait = new AbortController();
    if (fullSegments > SERIES_SEALS_PACED_MAX || this.#awaited > 0) return;
    await this.#budget?.paceUntil(0, this.#wait.signal);
  }

  /** There are so many full segments now. */
  filled(fullSegments: number): void {
    if (fullSegments > SERIES_SEALS_PACED_MAX) this.hurry();
  }

  /** Nothing waits while `work` goes on. */
  async without(work: () => Promise<void>): Promise<void> {
    this.#awaited += 1;
    this.hurry();
    try {
      await work();
    } finally {
      this.#awaited -= 1;
    }
  }

  /** Ends the wait under way. */
  hurry(): void {
    this.#wait.abort();
  }

  charge(sizeBytes: number): void {
    this.#budget?.take(sizeBytes);
  }
}
