import { invariant } from "../assert.ts";
import type { Kernels } from "./kernels.ts";

/** Bounds of a content-defined chunk; `avgBytes` is a power of two, `minBytes` < `avgBytes` < `maxBytes`. */
export interface CutBounds {
  minBytes: number;
  avgBytes: number;
  maxBytes: number;
}

/** Bytes copied into the kernels' memory at a time: most chunks end well before `maxBytes`. */
const STEP_BYTES = 32 * 1024;

/** Bytes that a gear hash of 32 bits remembers: rolling starts this far before the first place a cut may be. */
const WINDOW_BYTES = 32;

/**
 * Length of the content-defined chunk at the start of `bytes` (FastCDC with normalized chunking): between
 * `minBytes` and `avgBytes` a cut needs one hash bit more than log2(avgBytes), past it two bits less. The same bytes
 * give the same cuts in every release: stores de-duplicate by them.
 *
 * Returns `bytes.length` when that is no more than `minBytes`; the caller passes at least `maxBytes` unless the file
 * ends there.
 */
export function findCut(kernels: Kernels, bytes: Uint8Array, bounds: CutBounds): number {
  const { minBytes, avgBytes, maxBytes } = bounds;
  const bits = Math.log2(avgBytes);
  invariant(
    Number.isInteger(bits) && minBytes >= WINDOW_BYTES && minBytes < avgBytes && avgBytes < maxBytes,
    "cut bounds are ordered and their mean is a power of two",
  );
  const end = Math.min(bytes.length, maxBytes);
  if (end <= minBytes) return end;
  const normal = Math.min(avgBytes, end);
  kernels.exports.cutReset();
  const from = minBytes - WINDOW_BYTES;
  return (
    roll(kernels, bytes, from, minBytes, 0) ??
    roll(kernels, bytes, minBytes, normal, topBits(bits + 1)) ??
    roll(kernels, bytes, normal, end, topBits(bits - 2)) ??
    end
  );
}

/** The hash's most significant bits: they depend on the most bytes. */
function topBits(count: number): number {
  return (-1 << (32 - count)) >>> 0;
}

/** Rolls the hash over [from, end); the offset just past a cut, if there is one. Mask 0 only warms the hash up. */
function roll(
  kernels: Kernels,
  bytes: Uint8Array,
  from: number,
  end: number,
  mask: number,
): number | undefined {
  const { exports, memory, at } = kernels;
  for (let start = from; start < end; start += STEP_BYTES) {
    const stop = Math.min(start + STEP_BYTES, end);
    memory.set(bytes.subarray(start, stop), at.input);
    if (mask === 0) {
      exports.cutWarm(at.input, at.input + stop - start);
      continue;
    }
    const cut = exports.cutScan(at.input, at.input + stop - start, mask);
    if (cut !== 0) return start + cut - at.input;
  }
  return undefined;
}
