import { InvariantError } from "./errors.ts";

/** Checks what only a bug could break; what a file or a caller could break is a `StoreError` instead. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
