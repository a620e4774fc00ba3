import { encodingName } from "../codec/codec.ts";
import { StoreError } from "../errors.ts";
import { RECOMPRESS_BATCH_CHUNKS } from "../limits.ts";
import type { ChunkStore } from "./chunk-store.ts";
import { digestKey } from "./digest.ts";
import { ownBucket, type Pacing } from "./pacing.ts";
import { FAST_ENCODINGS, type RecompressedChunk } from "./recompress.job.ts";

export interface RecompressOptions {
  /** Bytes to read and write each second, on average. Default: what the store's `ioBudget` leaves. */
  bytesPerSecond?: number;
  /** Say what would be tried, and change nothing. */
  dryRun?: boolean;
  signal?: AbortSignal;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
}

export interface RecompressResult {
  /** Chunks of the fast profile that were found, and bytes of their frames. */
  chunks: number;
  frameBytes: number;
  /** Of these, chunks that lie in smaller frames now, and what is dead of the old ones: `gc` frees it. */
  rewritten: number;
  deadBytes: number;
  /** Bytes appended for them. */
  writtenBytes: number;
}

/**
 * Writes chunks that the fast profile stored once more, as the compact profile would have.
 *
 * A frame is decoded and compared before it is appended, synced before the index points to it, and never deeper than
 * the one it takes the place of. The old frame stays until gc; a crash anywhere leaves either of them in use. Batches
 * hold the saves' lock, one after the other, so that gc gets its turn.
 */
export async function recompress(
  store: ChunkStore,
  digests: Iterable<Uint8Array>,
  options: RecompressOptions = {},
  { budget, hurry }: Pacing,
): Promise<RecompressResult> {
  const { bytesPerSecond, dryRun = false, signal, onProgress } = options;
  const bucket = bytesPerSecond === undefined ? budget : ownBucket(bytesPerSecond);
  const result = { chunks: 0, frameBytes: 0, rewritten: 0, deadBytes: 0, writtenBytes: 0 };
  const found = fastChunks(store, digests);
  result.chunks = found.length;
  result.frameBytes = found.reduce((sum, { frameBytes }) => sum + frameBytes, 0);
  if (dryRun) return result;
  let doneBytes = 0;
  for (let at = 0; at < found.length; at += RECOMPRESS_BATCH_CHUNKS) {
    if (signal?.aborted) throw aborted(signal);
    const batch = found.slice(at, at + RECOMPRESS_BATCH_CHUNKS);
    const readBytes = batch.reduce((sum, { frameBytes }) => sum + frameBytes, 0);
    const writtenBytes = await rewrite(store, batch, result);
    doneBytes += readBytes;
    onProgress?.({ doneBytes, totalBytes: result.frameBytes });
    await bucket.paceUntil(readBytes + writtenBytes, signal, hurry);
  }
  return result;
}

interface FastChunk {
  digest: Uint8Array;
  frameBytes: number;
}

function fastChunks(store: ChunkStore, digests: Iterable<Uint8Array>): FastChunk[] {
  const seen = new Set<string>();
  const found: FastChunk[] = [];
  for (const digest of digests) {
    const key = digestKey(digest);
    if (seen.has(key)) continue;
    seen.add(key);
    const { header, entry } = store.reader.describe(digest);
    if (header.chunks.length > 1 || !FAST_ENCODINGS.has(encodingName(header.encoding))) continue;
    found.push({ digest, frameBytes: entry.frameBytes });
  }
  return found;
}

/** Returns the bytes appended. */
async function rewrite(store: ChunkStore, batch: FastChunk[], result: RecompressResult): Promise<number> {
  const save = await store.beginSave("compact");
  try {
    const answers: RecompressedChunk[] = await store.recompressed(batch.map(({ digest }) => digest));
    for (const { frame, frameBytes } of answers) {
      if (frame === undefined) continue;
      await save.replace(frame);
      result.rewritten++;
      result.deadBytes += frameBytes;
    }
    await save.commit();
    result.writtenBytes += save.storedBytes;
    return save.storedBytes;
  } finally {
    await save.end();
  }
}

function aborted(signal: AbortSignal): StoreError {
  return new StoreError("ERR_ABORTED", "recompression was aborted; what was done by then stays", {
    cause: signal.reason,
  });
}
