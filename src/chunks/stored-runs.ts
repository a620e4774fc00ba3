import type { ChunkEntry } from "./chunk-index.ts";
import { storedFrameBytes } from "./pack-reader.ts";

/** A chunk, and memory for its raw bytes, of exactly their size: asked for once, when the chunk is about to be read. */
export interface WantedChunk {
  digest: Uint8Array;
  rawBytes: number;
  target(): Uint8Array;
  /** Fresh memory that is written to when the chunk has been read, to be touched meanwhile by another thread. */
  room?(): Uint8Array | undefined;
}

/** Where chunks lie, or are thought to. */
export interface ChunkPlaces {
  get(digest: Uint8Array): Pick<ChunkEntry, "packId" | "offset" | "frameBytes" | "rawBytes"> | undefined;
}

/** Stored chunks that lie one behind the other in a pack. */
export interface WantedRun {
  packId: bigint;
  offset: number;
  chunks: WantedChunk[];
}

/**
 * What is read with one call to the system: enough that waking a thread for it costs little, little enough that threads
 * share the work and that the bytes are still in the processor's cache when they are hashed.
 */
const RUN_BYTES_MAX = 2 << 20;
const RUN_CHUNKS_MAX = 64;

/**
 * Chunks that are stored as they are, as runs of neighbours in a pack, in the order in which they are wanted first; and
 * the others: in frames to be decoded, or not known.
 */
export function storedRuns(
  places: ChunkPlaces,
  wanted: readonly WantedChunk[],
): { runs: WantedRun[]; others: WantedChunk[] } {
  const runs: WantedRun[] = [];
  const others: WantedChunk[] = [];
  let run: WantedRun | undefined;
  let endsAt = 0;
  let runBytes = 0;
  for (const chunk of wanted) {
    const entry = places.get(chunk.digest);
    const sizeBytes = chunk.rawBytes;
    const isStored =
      entry !== undefined && entry.rawBytes === sizeBytes && entry.frameBytes === storedFrameBytes(sizeBytes);
    if (!isStored) {
      others.push(chunk);
      continue;
    }
    const goesOn = run?.packId === entry.packId && endsAt === entry.offset;
    if (!goesOn || runBytes + sizeBytes > RUN_BYTES_MAX || run!.chunks.length === RUN_CHUNKS_MAX) {
      run = { packId: entry.packId, offset: entry.offset, chunks: [] };
      runs.push(run);
      runBytes = 0;
    }
    run!.chunks.push(chunk);
    runBytes += sizeBytes;
    endsAt = entry.offset + entry.frameBytes;
  }
  return { runs, others };
}
