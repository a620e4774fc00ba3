import type { Disk } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import type { Committer } from "./committer.ts";
import { findCopy, machineIdOf, settleIdentity } from "./identity.ts";
import { checkNumber, type FenceKind, type SequenceState } from "./sequence.ts";
import type { State } from "./state.ts";
import { Witness } from "./witness.ts";

interface Place {
  disk: Disk;
  directory: string;
  witness?: string;
  machineId?: string;
}

/**
 * Asks, before anything else is committed, whether these are the original's files with the original's content, and
 * fences the sequences if not. Returns the witness, if there is one.
 */
export function recognizeCopy(committer: Committer, state: State, place: Place): Witness | undefined {
  const { disk, directory } = place;
  const machineId = place.machineId ?? machineIdOf(disk);
  const moved = findCopy(disk, directory, machineId, isUsed(state));
  if (moved !== undefined) raiseFence(committer, state, "copy", moved);
  settleIdentity(disk, directory, machineId);
  if (place.witness === undefined) return undefined;
  const witness = new Witness(disk, place.witness);
  const rolledBack = witness.findRollback(state);
  if (rolledBack !== undefined && state.fence?.kind !== "rollback") {
    raiseFence(committer, state, "rollback", rolledBack);
  }
  return witness;
}

/** What an opening for writing would find is what a reader shows; it records nothing. */
export function showFence(state: State, { disk, directory, machineId }: Place): void {
  const detail = findCopy(disk, directory, machineId ?? machineIdOf(disk), isUsed(state));
  if (detail !== undefined) state.fence = { kind: "copy", detail, number: state.fences + 1 };
}

/** Something was committed here. A copy made by varve gets its identity when it is first opened; it is fenced as what it is. */
function isUsed({ fence, lsn, logBase }: State): boolean {
  const isFreshCopy = fence !== undefined && lsn === logBase;
  return lsn > 0 && !isFreshCopy;
}

/** Records that this store is a copy: from here on its sequences refuse to issue numbers. */
function raiseFence(committer: Committer, state: State, kind: FenceKind, detail: string): void {
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
