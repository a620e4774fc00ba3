import { InvariantError, isStoreError } from "../src/errors.ts";

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  noStore: 10,
  locked: 11,
  corrupt: 12,
  poisoned: 13,
  fenced: 14,
  interrupted: 130,
} as const;

/** What each code means, for `--help` and docs/cli.md. */
export const EXIT_MEANINGS: Record<number, string> = {
  [EXIT.ok]: "ok",
  [EXIT.failed]: "failed",
  [EXIT.usage]: "wrong usage",
  [EXIT.noStore]: "no store there",
  [EXIT.locked]: "locked by another process",
  [EXIT.corrupt]: "damage found",
  [EXIT.poisoned]: "a write failed; open the store again",
  [EXIT.fenced]: "sequences are fenced: this store is a copy",
  [EXIT.interrupted]: "interrupted",
};

/** The command line was used wrongly: exit code 2. */
export class UsageError extends Error {
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.name = "UsageError";
    this.hint = hint;
  }
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof InvariantError) return EXIT.poisoned;
  if (error instanceof Error && error.name === "AbortError") return EXIT.interrupted;
  if (!isStoreError(error)) return EXIT.failed;
  switch (error.code) {
    case "ERR_NO_STORE":
      return EXIT.noStore;
    case "ERR_STORE_LOCKED":
      return EXIT.locked;
    case "ERR_STORE_CORRUPT":
      return EXIT.corrupt;
    case "ERR_POISONED":
      return EXIT.poisoned;
    case "ERR_SEQUENCE_FENCED":
      return EXIT.fenced;
    case "ERR_ABORTED":
      return EXIT.interrupted;
    case "ERR_INVALID_ARGUMENT":
      return EXIT.usage;
    default:
      return EXIT.failed;
  }
}
