import { crc32c } from "@node-rs/crc32";
import { PATCH_ID, type PatchRuns, patchBytesMax, writePatch } from "../codec/encodings/patch.ts";
import type { ChunkEntry } from "./chunk-index.ts";
import { DIGEST_BYTES, SHORT_DIGEST_BYTES } from "./digest.ts";
import { FRAME_COST_KIB_MAX, FRAME_FIXED_BYTES, FRAME_MAGIC, frameHeaderBytes } from "./pack-format.ts";
import { patchCostKiB } from "./restore-cost.ts";

/** Bytes of a patch's frame before its payload: it holds one chunk and names one base. */
export const PATCH_HEADER_BYTES = frameHeaderBytes(1, 1);
export const PATCH_DIGEST_AT = FRAME_FIXED_BYTES;
export const PATCH_RAW_BYTES_AT = PATCH_DIGEST_AT + DIGEST_BYTES;
export const PATCH_BASE_AT = PATCH_RAW_BYTES_AT + 4;

/** A chunk of which named runs are to be stored. */
export interface ChunkToPatch {
  raw: Uint8Array;
  digest: Uint8Array;
  /** Code of what the chunk's elements are. */
  element: number;
  runs: PatchRuns;
}

/** The most the frame of such a patch may take. */
export function patchFrameBytesMax({ runs }: ChunkToPatch): number {
  return PATCH_HEADER_BYTES + patchBytesMax(runs);
}

/**
 * Writes the frame of a patch at `at` of `target` and returns where it ends. What it is made against is not known where
 * chunks are captured, nor its place: `linkPatch` and `placeFrame` do the rest.
 */
export function writePatchFrame(target: Buffer, at: number, chunk: ChunkToPatch): number {
  const payloadAt = at + PATCH_HEADER_BYTES;
  const end = writePatch(target, payloadAt, chunk.raw, chunk.runs);
  target.fill(0, at, payloadAt);
  target.writeUInt32LE(FRAME_MAGIC, at);
  target.writeUInt32LE(crc32c(target.subarray(payloadAt, end)), at + 8);
  target.writeUInt32LE(end - payloadAt, at + 12);
  target[at + 16] = PATCH_ID;
  target[at + 17] = chunk.element;
  target[at + 18] = 1;
  target[at + 19] = 1;
  target.set(chunk.digest, at + PATCH_DIGEST_AT);
  target.writeUInt32LE(chunk.raw.byteLength, at + PATCH_RAW_BYTES_AT);
  return end;
}

/** Says in a patch's frame which chunk it is made against, and what that means for whoever restores it. */
export function linkPatch(
  frame: Buffer,
  base: Uint8Array,
  { depth, costKiB }: Pick<ChunkEntry, "depth" | "costKiB">,
): void {
  const cost = patchCostKiB(frame.byteLength - PATCH_HEADER_BYTES, costKiB);
  frame[21] = depth + 1;
  frame.writeUInt16LE(Math.min(cost, FRAME_COST_KIB_MAX), 22);
  for (let i = 0; i < SHORT_DIGEST_BYTES; i++) frame[PATCH_BASE_AT + i] = base[i]!;
}

/** The digest of the chunk that a patch's frame holds: a view. */
export function digestOfPatch(frame: Buffer): Uint8Array {
  return frame.subarray(PATCH_DIGEST_AT, PATCH_DIGEST_AT + DIGEST_BYTES);
}

/** How large that chunk is. */
export function rawBytesOfPatch(frame: Buffer): number {
  return frame.readUInt32LE(PATCH_RAW_BYTES_AT);
}

/** The patch itself: a view. */
export function payloadOfPatch(frame: Buffer): Uint8Array {
  return frame.subarray(PATCH_HEADER_BYTES);
}
