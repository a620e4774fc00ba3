import { StoreError } from "../errors.ts";

/** A payload that no encoder writes: the frame is damaged. The caller adds which file and offset it came from. */
export function corrupt(
  encoding: string,
  problem: string,
  context: Record<string, unknown> = {},
): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${encoding} payload ${problem}`, {
    context: { encoding, ...context },
    hint: "The frame is damaged: run a check with readData, then repair.",
  });
}
