import { PATCH_DEPTH_MAX } from "../limits.ts";
import type { ChunkEntry, ChunkIndex } from "./chunk-index.ts";
import { SHORT_DIGEST_BYTES } from "./digest.ts";
import type { PatchFrames } from "./patch-frames.ts";

/** A chunk that may lie at the end of a run of patches, and where its bytes go. */
export interface PatchedChunk {
  digest: Uint8Array;
  entry: ChunkEntry;
  target: Uint8Array;
}

/** A run of patches that was followed as far as frames of patches went. */
export interface FollowedRun {
  chunk: PatchedChunk;
  /** Short digest of what the last patch found was made of: of the chunk itself, when none was. */
  base: Uint8Array;
  /** Start and end of each patch's payload in the frames' memory, the newest first. */
  payloads: number[];
}

/**
 * Follows the runs of neighbouring chunks all at once, from the newest patch to what they begin from.
 *
 * A save appends the patches of neighbours one behind the other. So the index is asked for the next patch of one chunk,
 * and the frames behind it are read in the same stretch: each that a waiting chunk wants, by its digest, is that one's
 * next patch. Chunks that are not in step, because a save left some of them alone, are looked up by themselves.
 *
 * A run ends at what is no undamaged patch, or where the frames' memory does; what it is, the reader of single chunks
 * finds out.
 */
export function followRuns(
  index: Pick<ChunkIndex, "find">,
  frames: PatchFrames,
  chunks: readonly PatchedChunk[],
): FollowedRun[] {
  frames.clear();
  const runs = chunks.map((chunk): FollowedRun => {
    // Memory of its own, to be written to: a buffer's slice would be the digest's.
    return { chunk, base: new Uint8Array(chunk.digest.subarray(0, SHORT_DIGEST_BYTES)), payloads: [] };
  });
  let stretchBytes = 0;
  for (let first = 0; first < runs.length; ) {
    const run = runs[first]!;
    const entry = run.payloads.length === 0 ? run.chunk.entry : index.find(run.base)?.entry;
    const { packId, offset, frameBytes } = entry ?? NOWHERE;
    const isPatch = entry !== undefined && entry.depth > 0;
    if (
      !isPatch ||
      !frames.seek(packId, offset, Math.max(frameBytes, stretchBytes)) ||
      !isNext(frames, run)
    ) {
      first += 1;
      continue;
    }
    const before = frames.usedBytes;
    takeStretch(frames, runs, first);
    // What the save before that appended for these chunks is about as long, a little more or less.
    stretchBytes = Math.ceil((frames.usedBytes - before) * 1.1);
  }
  return runs;
}

const NOWHERE = { packId: 0n, offset: 0, frameBytes: 0 };

/** Takes the frames that follow one another for as long as runs from `first` on go on with them. */
function takeStretch(frames: PatchFrames, runs: FollowedRun[], first: number): void {
  for (let at = first; at < runs.length; at++) {
    const run = runs[at]!;
    if (!isNext(frames, run)) continue;
    run.payloads.push(frames.payloadStart, frames.payloadEnd);
    for (let i = 0; i < SHORT_DIGEST_BYTES; i++) run.base[i] = frames.bytes[frames.baseAt + i]!;
    frames.keep();
    if (at + 1 === runs.length || !frames.isPatch()) return;
  }
}

function isNext(frames: PatchFrames, { chunk, base, payloads }: FollowedRun): boolean {
  if (payloads.length === PATCH_DEPTH_MAX * 2) return false;
  const { bytes, digestAt } = frames;
  for (let i = 0; i < SHORT_DIGEST_BYTES; i++) if (bytes[digestAt + i] !== base[i]) return false;
  return frames.rawBytes === chunk.target.byteLength;
}
