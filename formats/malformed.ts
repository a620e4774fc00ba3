import { StoreError } from "../src/errors.ts";

/** Formats whose files are refused by rules with names; the code is `ERR_FORMAT_` and this. */
export type StrictFormat = "NPY" | "ONNX" | "PT";

export interface BrokenRule {
  /** Which rule, in a word: docs/formats lists them. */
  rule: string;
  /** What is wrong, to follow "pt: " in the message. */
  problem: string;
  /** The byte in the file where it shows. */
  offset: number;
}

/** A file that is not what its format asks for; nothing of it was stored. */
export function malformed(
  format: StrictFormat,
  { rule, problem, offset }: BrokenRule,
  hint = "Nothing was stored. Write the file again with its exporter, or rename it to store it as plain bytes.",
): StoreError {
  return new StoreError(
    `ERR_FORMAT_${format}`,
    `${format.toLowerCase()}: ${problem} (rule ${rule}, at byte ${offset})`,
    { context: { rule, offset }, hint },
  );
}
