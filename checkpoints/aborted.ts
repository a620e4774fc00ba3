import { StoreError } from "../src/errors.ts";

/** @throws `ERR_ABORTED`, with the signal's reason as its cause, once the signal says so. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new StoreError("ERR_ABORTED", "aborted; what was durable before is untouched", {
      cause: signal.reason,
    });
  }
}
