import { JOB_BYTES } from "../limits.ts";
import type { Job } from "../workers/job.ts";
import { DIGEST_BYTES } from "./digest.ts";
import { type ChunkPlace, jobContext } from "./job-context.ts";

/** Decodes a run of chunks, one after the other, into shared memory or into a file. */
export const decodeJob: Job = { url: import.meta.url, name: "decodeChunks" };

export interface DecodeRequest {
  place: ChunkPlace;
  /** One behind the other, with memory of their own: a view would be sent with all that it is a part of. */
  digests: Uint8Array;
  sizes: number[];
  target: ChunkTarget;
}

/** `bytes` lies in shared memory and has exactly the size of the chunks together. */
export type ChunkTarget = { path: string; offset: number } | { bytes: Uint8Array };

export async function decodeChunks({ place, digests, sizes, target }: DecodeRequest): Promise<void> {
  const { disk, reader } = await jobContext(place);
  reader.index.refresh();
  const sizeBytes = sizes.reduce((sum, size) => sum + size, 0);
  const bytes = "bytes" in target ? target.bytes : scratch(sizeBytes);
  let at = 0;
  const wanted = sizes.map((rawBytes, i) => {
    const digest = digests.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES);
    const target = bytes.subarray(at, at + rawBytes);
    at += rawBytes;
    return { digest, target };
  });
  reader.readNeighboursInto(wanted);
  if ("bytes" in target) return;
  const file = disk.open(target.path, { access: "write" });
  try {
    file.writeSync(bytes, target.offset);
  } finally {
    file.close();
  }
}

let kept = new Uint8Array(0);

/** Memory for what goes to a file, kept from job to job. */
function scratch(sizeBytes: number): Uint8Array {
  if (kept.byteLength < sizeBytes) kept = new Uint8Array(Math.max(sizeBytes, JOB_BYTES));
  return kept.subarray(0, sizeBytes);
}
