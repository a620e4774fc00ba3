import type { Disk } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import type { Job } from "../workers/job.ts";
import type { ImageHead } from "./image-format.ts";
import { checkRange } from "./image-reader.ts";

/**
 * Reads ranges of an image, checks each, and copies the parts wanted to where they belong. Runs on every worker at
 * once, each taking range after range.
 */
export const readImageJob: Job = { url: import.meta.url, name: "readImageRanges" };

/** A part of the data, and the shared memory it goes to. */
export interface ImagePart {
  offset: number;
  target: Uint8Array;
}

export interface ReadImageRequest {
  path: string;
  head: Pick<ImageHead, "checksums" | "dataOffset" | "dataBytes" | "rangeBytes">;
  /** By offset, not overlapping. */
  parts: ImagePart[];
  /** The next range to take, in shared memory. */
  next: Int32Array;
  /** Where the file is; given only to a job on the calling thread. */
  disk?: Disk;
}

let scratch = new Uint8Array(0);

export async function readImageRanges(request: ReadImageRequest): Promise<void> {
  const { path, head, parts, next } = request;
  const file = (request.disk ?? realDisk).open(path, { access: "read" });
  if (scratch.byteLength < head.rangeBytes) scratch = new Uint8Array(head.rangeBytes);
  try {
    for (;;) {
      const range = Atomics.add(next, 0, 1);
      if (range >= head.checksums.length) return;
      const from = range * head.rangeBytes;
      const sizeBytes = Math.min(head.rangeBytes, head.dataBytes - from);
      const wanted = parts.filter(
        ({ offset, target }) => offset < from + sizeBytes && offset + target.byteLength > from,
      );
      if (wanted.length === 0) continue;
      const whole = wholeRange(wanted, from, sizeBytes);
      const bytes = whole ?? scratch.subarray(0, sizeBytes);
      file.readSync(bytes, head.dataOffset + from);
      checkRange(path, head, range, bytes);
      if (whole === undefined) scatter(wanted, from, bytes);
    }
  } finally {
    file.close();
  }
}

/** The place of a range that one part takes whole: it is read straight there. */
function wholeRange(wanted: ImagePart[], from: number, sizeBytes: number): Uint8Array | undefined {
  const { offset, target } = wanted[0]!;
  if (offset > from || offset + target.byteLength < from + sizeBytes) return undefined;
  return target.subarray(from - offset, from - offset + sizeBytes);
}

function scatter(wanted: ImagePart[], from: number, bytes: Uint8Array): void {
  for (const { offset, target } of wanted) {
    const start = Math.max(from, offset);
    const end = Math.min(from + bytes.byteLength, offset + target.byteLength);
    target.set(bytes.subarray(start - from, end - from), start - offset);
  }
}
