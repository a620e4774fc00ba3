import { patchBytesMax, writePatch } from "../../src/codec/encodings/patch.ts";

/** A stretch of a chunk, counted in units from its start. */
export interface PatchRun {
  from: number;
  units: number;
}

/** The payload of a patch of `chunk`, which holds the runs' new bytes. */
export function patchOf(chunk: Uint8Array, unit: number, runs: readonly PatchRun[]): Uint8Array {
  const bounds = Int32Array.from(runs.flatMap(({ from, units }) => [from * unit, (from + units) * unit]));
  const patch = { unit, count: runs.length, bounds };
  const payload = new Uint8Array(patchBytesMax(patch));
  return payload.slice(0, writePatch(payload, 0, chunk, patch));
}
