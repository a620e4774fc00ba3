import { StoreError } from "../../errors.ts";

/** Bytes of an encoded column that no encoder writes; `atByte` counts from the column's first byte. */
export function corruptColumn(name: string, atByte: number, problem: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `column "${name}" is damaged at byte ${atByte}: ${problem}`, {
    context: { column: name, atByte },
    hint: "The other columns of the segment can still be read; run a check, then restore this one from a copy.",
  });
}
