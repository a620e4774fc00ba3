import { StoreError } from "../errors.ts";
import { ANNOTATION_BYTES_MAX, BASED_ON_MAX } from "../limits.ts";
import type { Annotations } from "./change.ts";
import { isWellFormed } from "./codec.ts";

export interface CommitOptions extends Annotations {
  /** A retry with the same key within the time keys are remembered returns the first receipt and does nothing. */
  idempotencyKey?: string;
}

/** A text that goes into the record: not empty, and bounded. @throws ERR_INVALID_ARGUMENT */
export function checkText(what: string, text: unknown): void {
  const whole =
    typeof text === "string" &&
    text.length > 0 &&
    Buffer.byteLength(text) <= ANNOTATION_BYTES_MAX &&
    // A lone surrogate would come back as another character, and two idempotency keys as one.
    isWellFormed(text);
  if (whole) return;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `${what} must be a string of 1 to ${ANNOTATION_BYTES_MAX} bytes without lone surrogates`,
    { context: { what, limitBytes: ANNOTATION_BYTES_MAX } },
  );
}

/** @throws ERR_INVALID_ARGUMENT */
export function checkAnnotations({ actor, reason, basedOn }: Annotations): void {
  if (actor !== undefined) checkText("actor", actor);
  if (reason !== undefined) checkText("reason", reason);
  if (basedOn === undefined) return;
  const whole =
    Array.isArray(basedOn) &&
    basedOn.length <= BASED_ON_MAX &&
    basedOn.every((digest) => typeof digest === "string" && /^(?:[0-9a-f]{2}){1,64}$/.test(digest));
  if (whole) return;
  throw new StoreError(
    "ERR_INVALID_ARGUMENT",
    `basedOn must be up to ${BASED_ON_MAX} digests in lower-case hex`,
    { context: { basedOn } },
  );
}
