import { CHAIN_COST_FACTOR, CHAIN_DEPTH_MAX } from "../limits.ts";

/**
 * A frame's bases usually lie in one chain (the parent is stored against the grandparent), and a reader decodes that
 * chain once: the longest counts, not the sum.
 */
export function basesCostKiB(bases: { costKiB: number }[]): number {
  return bases.reduce((most, base) => Math.max(most, base.costKiB), 0);
}

/**
 * What restoring a chunk costs, in KiB of work: the bytes to read, and a pass over the raw bytes to decode them,
 * which runs about four times as fast as reading. A frame's cost includes its bases', so the last frame of a chain
 * tells what the whole chain costs.
 */
export function restoreCostKiB(payloadBytes: number, rawBytes: number, basesKiB: number): number {
  return Math.ceil((payloadBytes + rawBytes / 4) / 1024) + basesKiB;
}

/** Whether a chunk may still be stored against these bases, or should start a new chain. */
export function mayExtendChain(rawBytes: number, bases: { depth: number; costKiB: number }[]): boolean {
  const depth = bases.reduce((deepest, base) => Math.max(deepest, base.depth), 0);
  return depth < CHAIN_DEPTH_MAX && basesCostKiB(bases) <= Math.ceil((rawBytes * CHAIN_COST_FACTOR) / 1024);
}

/** What one more patch costs: its bytes, and a read of its own. */
export function patchCostKiB(payloadBytes: number, baseKiB: number): number {
  return Math.ceil(payloadBytes / 1024) + PATCH_READ_KIB + baseKiB;
}

/** Finding, reading and checking a small frame takes as long as reading this much. */
const PATCH_READ_KIB = 2;

/** About what the frames of a run of patches take, from what restoring the chunk at its end costs; rather more. */
export function patchesBytes({ costKiB, depth }: { costKiB: number; depth: number }): number {
  return Math.max(0, costKiB - depth * PATCH_READ_KIB) * 1024;
}
