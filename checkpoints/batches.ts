import { JOB_BYTES } from "../src/limits.ts";
import type { PlannedChunk } from "./chunk-plan.ts";

/** Chunks that lie one after the other and go through a worker in one job. */
export interface Batch<C extends Pick<PlannedChunk, "offset" | "rawBytes">> {
  offset: number;
  sizeBytes: number;
  /** Place in the file of the first of them. */
  first: number;
  chunks: C[];
}

/** Cuts chunks, given in file order and without gaps, into batches of a job's size. */
export function* batchesOf<C extends Pick<PlannedChunk, "offset" | "rawBytes">>(
  chunks: Iterable<C>,
): Iterable<Batch<C>> {
  let batch: Batch<C> | undefined;
  let place = 0;
  for (const chunk of chunks) {
    const first = place++;
    if (batch !== undefined && batch.sizeBytes + chunk.rawBytes <= JOB_BYTES) {
      batch.chunks.push(chunk);
      batch.sizeBytes += chunk.rawBytes;
      continue;
    }
    if (batch !== undefined) yield batch;
    batch = { offset: chunk.offset, sizeBytes: chunk.rawBytes, first, chunks: [chunk] };
  }
  if (batch !== undefined) yield batch;
}
