import { allocatePages, type PageMemory } from "../disk/aligned.ts";
import type { Disk } from "../disk/disk.ts";
import { realDisk } from "../disk/real-disk.ts";
import { RangeSums } from "../kernels/range-sum.ts";
import type { Job } from "../workers/job.ts";
import type { ImageHead } from "./image-format.ts";
import { requireSum } from "./image-reader.ts";

/**
 * Reads ranges of an image, checks each, and copies the parts wanted to where they belong. Runs on every worker at
 * once, each taking range after range.
 */
export const readImageJob: Job = { url: import.meta.url, name: "readImageRanges" };

/** A part of the data, and the shared memory it goes to. */
export interface ImagePart {
  offset: number;
  target: Uint8Array;
  /** The memory that `target` is a view of, as far as it is known: then it is checked where it lies. */
  memory?: PageMemory | undefined;
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

let scratch: Uint8Array = new Uint8Array(0);

export async function readImageRanges(request: ReadImageRequest): Promise<void> {
  const { path, head, parts, next } = request;
  const file = (request.disk ?? realDisk).open(path, { access: "read" });
  const sums = await RangeSums.load();
  if (scratch.byteLength < head.rangeBytes) scratch = allocatePages(head.rangeBytes, { shared: true });
  try {
    for (;;) {
      const range = Atomics.add(next, 0, 1);
      if (range >= head.checksums.length) return;
      const found = rangeTarget(head, parts, range, scratch);
      if (found === undefined) continue;
      file.readSync(found.bytes, head.dataOffset + range * head.rangeBytes);
      requireSum(path, head, range, sums.sum(found.bytes, found.memory));
      placeRange(found, range * head.rangeBytes);
    }
  } finally {
    file.close();
  }
}

/** Where a range is read to. */
export interface RangeTarget {
  bytes: Uint8Array;
  memory?: PageMemory | undefined;
  /** Parts the range is copied to afterwards; none when it is read straight to its place. */
  copies: ImagePart[];
}

/** Where to read a range: straight to its place when one part takes all of it; `undefined` when none wants it. */
export function rangeTarget(
  { dataBytes, rangeBytes }: Pick<ImageHead, "dataBytes" | "rangeBytes">,
  parts: ImagePart[],
  range: number,
  scratch: Uint8Array,
): RangeTarget | undefined {
  const from = range * rangeBytes;
  const sizeBytes = Math.min(rangeBytes, dataBytes - from);
  const wanted = parts.filter(
    ({ offset, target }) => offset < from + sizeBytes && offset + target.byteLength > from,
  );
  const [first] = wanted;
  if (first === undefined) return undefined;
  if (first.offset <= from && first.offset + first.target.byteLength >= from + sizeBytes) {
    const bytes = first.target.subarray(from - first.offset, from - first.offset + sizeBytes);
    return { bytes, memory: first.memory, copies: [] };
  }
  return { bytes: scratch.subarray(0, sizeBytes), copies: wanted };
}

/** Copies a range that was read and checked to the parts that want some of it. */
export function placeRange({ bytes, copies }: RangeTarget, from: number): void {
  for (const { offset, target } of copies) {
    const start = Math.max(from, offset);
    const end = Math.min(from + bytes.byteLength, offset + target.byteLength);
    target.set(bytes.subarray(start - from, end - from), start - offset);
  }
}
