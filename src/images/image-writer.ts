import { crc32c } from "@node-rs/crc32";
import { allocatePages } from "../disk/aligned.ts";
import { createClaimed, sweepUnclaimed } from "../disk/claimed-file.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { RangeSums } from "../kernels/range-sum.ts";
import {
  IMAGE_ALIGN_BYTES,
  IMAGE_FIXED_BYTES,
  IMAGE_FORMAT_VERSION,
  IMAGE_MAGIC,
  IMAGE_RANGE_BYTES,
  type ImageHead,
  type ImageTensor,
  layOut,
  rangeCount,
} from "./image-format.ts";

/** The head's bytes, up to where the data begins: at a multiple of `alignBytes`. */
export function encodeHead(head: Omit<ImageHead, "dataOffset">, alignBytes = IMAGE_ALIGN_BYTES): Buffer {
  const tables = encodeTables(head.tensors);
  const checksums = Buffer.from(head.checksums.buffer, head.checksums.byteOffset, head.checksums.byteLength);
  const dataOffset = dataOffsetFor(tables.byteLength, head.checksums.length, alignBytes);
  const bytes = Buffer.alloc(dataOffset);
  bytes.set(IMAGE_MAGIC, 0);
  bytes.writeUInt16LE(IMAGE_FORMAT_VERSION, 8);
  bytes.set(head.storeId, 16);
  bytes.set(head.manifest, 32);
  bytes.writeBigUInt64LE(BigInt(head.version), 64);
  bytes.writeBigUInt64LE(BigInt(dataOffset), 72);
  bytes.writeBigUInt64LE(BigInt(head.dataBytes), 80);
  bytes.writeUInt32LE(head.rangeBytes, 88);
  bytes.writeUInt32LE(tables.byteLength, 92);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 96)), 96);
  bytes.set(tables, IMAGE_FIXED_BYTES);
  bytes.set(checksums, IMAGE_FIXED_BYTES + tables.byteLength);
  const end = IMAGE_FIXED_BYTES + tables.byteLength + checksums.byteLength;
  bytes.writeUInt32LE(crc32c(bytes.subarray(IMAGE_FIXED_BYTES, end)), end);
  return bytes;
}

function encodeTables(tensors: ImageTensor[]): Buffer {
  return Buffer.from(
    JSON.stringify(
      tensors.map(({ file, name, dtype, shape, offset, sizeBytes }) => [
        file,
        name,
        dtype,
        shape,
        offset,
        sizeBytes,
      ]),
    ),
  );
}

function dataOffsetFor(tablesBytes: number, ranges: number, alignBytes: number): number {
  const headBytes = IMAGE_FIXED_BYTES + tablesBytes + ranges * 8 + 4;
  return Math.ceil(headBytes / alignBytes) * alignBytes;
}

export interface ImageToWrite {
  storeId: Uint8Array;
  manifest: Uint8Array;
  version: number;
  tensors: Omit<ImageTensor, "offset">[];
  /** Fills `target`, in shared memory, with a tensor's bytes from `from` on. */
  read(tensor: ImageTensor, from: number, target: Uint8Array): Promise<void>;
  /** Waits until so many bytes may be written. */
  pace(sizeBytes: number): Promise<void>;
}

/**
 * Writes an image beside its place and renames it there: a reader finds a whole one or none. Durable when it returns.
 * It is written a range at a time and made durable as it goes, so that no backlog builds up before commits.
 */
export async function writeImage(disk: Disk, path: string, image: ImageToWrite): Promise<number> {
  // Another process may be writing the same image: each has a file of its own.
  const { path: temporary, file: guard } = createClaimed(
    disk,
    (unique) => `${path}.${unique}${UNFINISHED_SUFFIX}`,
  );
  try {
    const sizeBytes = await fillImage(disk, temporary, image);
    disk.rename(temporary, path);
    await disk.syncDirectoryAsync(path.slice(0, path.lastIndexOf("/")));
    return sizeBytes;
  } catch (error) {
    disk.remove(temporary);
    throw error;
  } finally {
    guard.close();
  }
}

const UNFINISHED_SUFFIX = ".new";

/** Removes what killed processes have left unfinished. */
export function sweepUnfinished(disk: Disk, directory: string): void {
  sweepUnclaimed(disk, directory, UNFINISHED_SUFFIX);
}

async function fillImage(disk: Disk, path: string, image: ImageToWrite): Promise<number> {
  const { tensors, dataBytes } = layOut(image.tensors);
  const checksums = new BigUint64Array(rangeCount(dataBytes, IMAGE_RANGE_BYTES));
  const head = { ...image, tensors, dataBytes, rangeBytes: IMAGE_RANGE_BYTES, checksums };
  const file = disk.open(path, { access: "write" });
  // Each range of the data then begins a stripe, or fills a part of one.
  const alignBytes = Math.min(file.stripeBytes ?? IMAGE_ALIGN_BYTES, IMAGE_RANGE_BYTES);
  const dataOffset = dataOffsetFor(encodeTables(tensors).byteLength, checksums.length, alignBytes);
  const data = new ImageData(file, { dataOffset, checksums, sums: await RangeSums.load(), pace: image.pace });
  try {
    for (const tensor of tensors) {
      await data.padTo(tensor.offset);
      for (let from = 0; from < tensor.sizeBytes; from += STEP_BYTES) {
        const target = await data.next(Math.min(STEP_BYTES, tensor.sizeBytes - from));
        await image.read(tensor, from, target);
      }
    }
    await data.padTo(dataBytes);
    await data.finish();
    await file.write(encodeHead(head, alignBytes), 0);
    await file.sync();
  } finally {
    await data.settled();
    file.close();
  }
  return dataOffset + dataBytes;
}

/** 8 MiB at a time: what a disk works off in a few hundredths of a second. */
const RANGES_PER_SYNC = 8;
/**
 * Bytes of a tensor that are asked for at once: whole chunks, as chunks begin where their tensor does, and enough of them
 * for all threads.
 */
const STEP_BYTES = 4 << 20;

interface ImageDataParts {
  dataOffset: number;
  /** To be filled: one of each range. */
  checksums: BigUint64Array;
  sums: RangeSums;
  pace: ImageToWrite["pace"];
}

/** An image's data on its way to the file: while one half of the memory is written, the other one is filled. */
class ImageData {
  readonly #file: DiskFile;
  readonly #parts: ImageDataParts;
  /** What is being filled, and what may be in the writer's hands. */
  #filling = allocatePages(STEP_BYTES + IMAGE_RANGE_BYTES, { shared: true });
  #other = allocatePages(STEP_BYTES + IMAGE_RANGE_BYTES, { shared: true });
  #filledBytes = 0;
  /** The range that `#filling` begins with. */
  #range = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: DiskFile, parts: ImageDataParts) {
    this.#file = file;
    this.#parts = parts;
  }

  /** The place of the next `sizeBytes`, at most a step, to be filled before the next call. */
  async next(sizeBytes: number): Promise<Uint8Array> {
    if (this.#filledBytes + sizeBytes > this.#filling.byteLength) {
      await this.#write(this.#filledBytes - (this.#filledBytes % IMAGE_RANGE_BYTES));
    }
    this.#filledBytes += sizeBytes;
    return this.#filling.subarray(this.#filledBytes - sizeBytes, this.#filledBytes);
  }

  /** Zeroes from where the data ends now to `offset`, less than a page. */
  async padTo(offset: number): Promise<void> {
    const at = this.#range * IMAGE_RANGE_BYTES + this.#filledBytes;
    if (offset > at) (await this.next(offset - at)).fill(0);
  }

  async #write(sizeBytes: number): Promise<void> {
    await this.#writing;
    const filled = this.#filling;
    this.#other.set(filled.subarray(sizeBytes, this.#filledBytes));
    this.#writing = this.#writeRanges(filled.subarray(0, sizeBytes), this.#range);
    // Told to whoever waits for it next.
    this.#writing.catch(() => {});
    this.#filling = this.#other;
    this.#other = filled;
    this.#range += Math.ceil(sizeBytes / IMAGE_RANGE_BYTES);
    this.#filledBytes -= sizeBytes;
  }

  async #writeRanges(bytes: Uint8Array, first: number): Promise<void> {
    const { dataOffset, checksums, sums, pace } = this.#parts;
    for (let at = 0, range = first; at < bytes.byteLength; at += IMAGE_RANGE_BYTES, range++) {
      const part = bytes.subarray(at, Math.min(at + IMAGE_RANGE_BYTES, bytes.byteLength));
      checksums[range] = sums.sum(part);
      await pace(part.byteLength);
      await this.#file.write(part, dataOffset + range * IMAGE_RANGE_BYTES);
      if (range % RANGES_PER_SYNC === RANGES_PER_SYNC - 1) await this.#file.sync();
    }
  }

  /** Writes what is left. */
  async finish(): Promise<void> {
    await this.#write(this.#filledBytes);
    await this.#writing;
  }

  /** Resolves when nothing is being written any more, however that ended. */
  async settled(): Promise<void> {
    await Promise.allSettled([this.#writing]);
  }
}
