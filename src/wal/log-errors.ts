import { StoreError } from "../errors.ts";

/** What an open log says when it cannot go on, or not as before. */

export function poisonedBy(cause: StoreError): StoreError {
  return new StoreError(
    "ERR_POISONED",
    `the log could not be written (${cause.message}): it takes no more commits until it is opened again`,
    {
      cause,
      context: cause.context,
      hint: "Reopen the store; every acknowledged commit is there. The failed one may or may not be.",
    },
  );
}

export function noSegment(cause: unknown): StoreError {
  return new StoreError("ERR_DISK_FULL", "the log found no space for its next segment", {
    cause,
    retryable: true,
    hint: "Free some space; nothing that was acknowledged is affected.",
  });
}

export function tooLarge(sizeBytes: number, limit: number): StoreError {
  return new StoreError("ERR_LIMIT", `a log record of ${sizeBytes} bytes is over the limit of ${limit}`, {
    context: { limit, sizeBytes },
    hint: "Split the change into several commits.",
  });
}

export function mirrorLost(directory: string, cause: StoreError): StoreError {
  return new StoreError("ERR_IO", `the mirror ${directory} failed and was dropped: ${cause.message}`, {
    cause,
    context: { directory },
    hint: "Repair or replace the device and open the store again: the mirror is brought up to date then.",
  });
}
