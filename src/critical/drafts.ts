import { Draft } from "./draft.ts";
import type { Entry } from "./entry.ts";
import { REPLACED_MAX, type RecordWriter } from "./record-writer.ts";
import type { State } from "./state.ts";

/** Drafts that wait for a commit. */
const SPARE_MAX = 512;

/**
 * Drafts go round: from a commit, which takes one, to whoever keeps what was acknowledged, and back. Keeping waits for
 * a turn of its own: the next group is on its way to the disk first.
 */
export class Drafts {
  readonly #state: State;
  readonly #writer: RecordWriter;
  readonly #keep: (draft: Draft) => void;
  readonly #spare: Draft[] = [];
  /** Acknowledged, and not yet kept. */
  #late: Draft[] = [];
  /** Replaced while a snapshot may hold what was: without them each one would leave its commits to make as many anew. */
  readonly #held: Entry[] = [];

  /** @param keep is called once for each acknowledged record, in order; it may not throw. */
  constructor(state: State, writer: RecordWriter, keep: (draft: Draft) => void) {
    this.#state = state;
    this.#writer = writer;
    this.#keep = keep;
  }

  take(): Draft {
    return this.#spare.pop() ?? new Draft();
  }

  /** It was not appended: whatever it did is taken back. */
  takeBack(draft: Draft): void {
    draft.rollback();
    this.giveBack(draft);
  }

  giveBack(draft: Draft): void {
    draft.clear();
    if (this.#spare.length < SPARE_MAX) this.#spare.push(draft);
  }

  /** It is acknowledged when this call's turn of the event loop ends, and kept soon. */
  keepSoon(draft: Draft): void {
    if (this.#late.push(draft) === 1) setImmediate(this.keepLate);
  }

  /** How many wait to be kept. */
  get late(): number {
    return this.#late.length;
  }

  /** Keeps all that wait. What their records replaced is free then, unless a snapshot holds it. */
  readonly keepLate = (): void => {
    const late = this.#late;
    if (late.length === 0) return;
    this.#late = [];
    const isHeld = this.#state.preserver !== undefined;
    if (!isHeld) this.#freeHeld();
    for (const draft of late) {
      this.#keep(draft);
      for (const change of draft.changes) {
        if (change.kind !== "put" || change.before === undefined) continue;
        if (!isHeld) this.#writer.reuse(change.before);
        else if (this.#held.length < REPLACED_MAX) this.#held.push(change.before);
      }
      this.giveBack(draft);
    }
    if (this.#state.preserver === undefined) this.#state.values.release();
  };

  /** The snapshot has ended that held what was replaced meanwhile. */
  #freeHeld(): void {
    for (let entry = this.#held.pop(); entry !== undefined; entry = this.#held.pop())
      this.#writer.reuse(entry);
  }
}
