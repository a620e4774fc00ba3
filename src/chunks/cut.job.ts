import { findCut } from "../kernels/cut.ts";
import { loadKernels } from "../kernels/kernels.ts";
import { CUT_BYTES_AVG, CUT_BYTES_MAX, CUT_BYTES_MIN } from "../limits.ts";
import type { Job } from "../workers/job.ts";
import { type ChunkPlace, jobContext } from "./job-context.ts";

/** Finds where a stretch of an opaque file is cut into chunks, by its content. */
export const cutJob: Job = { url: import.meta.url, name: "cutChunks" };

export interface CutRequest {
  place: ChunkPlace;
  path: string;
  offset: number;
  sizeBytes: number;
  /** The stretch ends where the file does: its last chunk may be short. */
  last: boolean;
}

/**
 * The sizes of the chunks from `offset` on. Unless the stretch is the last one, what is left at its end, too short to
 * be sure of a cut, belongs to the next stretch.
 */
export async function cutChunks({ place, path, offset, sizeBytes, last }: CutRequest): Promise<number[]> {
  const { disk } = await jobContext(place);
  const kernels = await loadKernels();
  const buffer = Buffer.allocUnsafeSlow(sizeBytes);
  const file = disk.open(path, { access: "read" });
  let bytes: Uint8Array;
  try {
    bytes = buffer.subarray(0, file.readSync(buffer, offset));
  } finally {
    file.close();
  }
  const bounds = { minBytes: CUT_BYTES_MIN, avgBytes: CUT_BYTES_AVG, maxBytes: CUT_BYTES_MAX };
  const sizes: number[] = [];
  let at = 0;
  while (at < bytes.byteLength && (last || bytes.byteLength - at >= CUT_BYTES_MAX)) {
    const size = findCut(kernels, bytes.subarray(at), bounds);
    sizes.push(size);
    at += size;
  }
  return sizes;
}
