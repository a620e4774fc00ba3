import { digestOf } from "../../src/chunks/digest.ts";
import { patchFrameBytesMax, writePatchFrame } from "../../src/chunks/patch-frame.ts";
import { elementCode } from "../../src/codec/element.ts";
import type { PatchRun } from "../codec/patches.ts";

/** The frame of a patch of `raw`, which holds the runs' new bytes: ready to be appended. */
export function patchFrame(raw: Uint8Array, unit: number, runs: readonly PatchRun[]): Buffer {
  const bounds = Int32Array.from(runs.flatMap(({ from, units }) => [from * unit, (from + units) * unit]));
  const patch = { unit, count: runs.length, bounds };
  const chunk = { raw, digest: digestOf(raw), element: elementCode("bytes"), runs: patch };
  const frame = Buffer.alloc(patchFrameBytesMax(chunk));
  return frame.subarray(0, writePatchFrame(frame, 0, chunk));
}
