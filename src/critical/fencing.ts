import { StoreError } from "../errors.ts";
import type { Committer } from "./committer.ts";
import { checkNumber, type FenceKind, type SequenceState } from "./sequence.ts";
import type { State } from "./state.ts";
import type { Witness } from "./witness.ts";

/** Records that this store is a copy: from here on its sequences refuse to issue numbers. */
export function raiseFence(committer: Committer, state: State, kind: FenceKind, detail: string): void {
  const fence = { kind, detail, number: state.fences + 1 };
  committer.commit((tx) => tx.fence(fence), { actor: "varve", reason: `the store is a copy: ${detail}` });
}

/**
 * Takes over a fenced sequence: its next number is at least `atLeast`, at least what this store knows, and at least
 * what the witness knows. Returns that number.
 */
export function adoptSequence(
  committer: Committer,
  sequence: SequenceState,
  atLeast: bigint,
  witness: Witness | undefined,
): bigint {
  checkNumber(sequence.name, atLeast);
  const candidates = [atLeast, sequence.durableNext, witness?.next(sequence.name) ?? 0n];
  const next = candidates.reduce((highest, each) => (each > highest ? each : highest));
  committer.commit((tx) => tx.adopt(sequence, next), { actor: "varve", reason: "sequence adopted" });
  return next;
}

/** Confirms that the files were moved, not copied: numbers go on where they were. */
export function adoptMoved(committer: Committer, state: State): void {
  const { fence } = state;
  if (fence === undefined) return;
  if (fence.kind !== "copy") {
    throw new StoreError(
      "ERR_SEQUENCE_FENCED",
      `this store is a ${fence.kind}, not a moved store: ${fence.detail}`,
      {
        context: { fence: fence.kind, detail: fence.detail },
        hint: "Adopt each sequence with a number that was never issued: varve sequence adopt NAME --at-least N.",
      },
    );
  }
  committer.commit((tx) => tx.fence(undefined), { actor: "varve", reason: "the store was moved" });
}
