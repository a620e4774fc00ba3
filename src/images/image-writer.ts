import { randomBytes } from "node:crypto";
import { crc32c } from "@node-rs/crc32";
import { allocatePages } from "../disk/aligned.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { isStoreError } from "../errors.ts";
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
  /** Fills `target` with a tensor's bytes from `from` on. */
  read(tensor: ImageTensor, from: number, target: Uint8Array): Promise<void>;
  /** Waits until so many bytes may be written. */
  pace(sizeBytes: number): Promise<void>;
}

/**
 * Writes an image beside its place and renames it there: a reader finds a whole one or none. Durable when it returns.
 * It is written a range at a time and made durable as it goes, so that no backlog builds up before commits.
 */
export async function writeImage(disk: Disk, path: string, image: ImageToWrite): Promise<number> {
  const { temporary, guard } = beginUnfinished(disk, path);
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

/** Another process may be writing the same image: each has a file of its own, locked as long as it is unfinished. */
function beginUnfinished(disk: Disk, path: string): { temporary: string; guard: DiskFile } {
  for (;;) {
    const temporary = `${path}.${randomBytes(4).toString("hex")}${UNFINISHED_SUFFIX}`;
    const guard = disk.open(temporary, { access: "write", create: "must" });
    // Whoever swept it before it was locked has removed it.
    if (guard.tryLock("exclusive") && disk.stat(temporary) !== undefined) return { temporary, guard };
    guard.close();
  }
}

const UNFINISHED_SUFFIX = ".new";

/** Removes what killed processes have left unfinished. */
export function sweepUnfinished(disk: Disk, directory: string): void {
  for (const name of disk.list(directory)) {
    if (!name.endsWith(UNFINISHED_SUFFIX)) continue;
    let file: DiskFile | undefined;
    try {
      file = disk.open(`${directory}/${name}`, { access: "write" });
      if (file.tryLock("exclusive")) disk.remove(`${directory}/${name}`);
    } catch (error) {
      // It has been finished or removed meanwhile, or it is nothing of ours.
      if (!isStoreError(error)) throw error;
    } finally {
      file?.close();
    }
  }
}

async function fillImage(disk: Disk, path: string, image: ImageToWrite): Promise<number> {
  const { tensors, dataBytes } = layOut(image.tensors);
  const checksums = new BigUint64Array(rangeCount(dataBytes, IMAGE_RANGE_BYTES));
  const head = { ...image, tensors, dataBytes, rangeBytes: IMAGE_RANGE_BYTES, checksums };
  const file = disk.open(path, { access: "write" });
  // Each range of the data then begins a stripe, or fills a part of one.
  const alignBytes = Math.min(file.stripeBytes ?? IMAGE_ALIGN_BYTES, IMAGE_RANGE_BYTES);
  const dataOffset = dataOffsetFor(encodeTables(tensors).byteLength, checksums.length, alignBytes);
  try {
    const sums = await RangeSums.load();
    const buffer = allocatePages(IMAGE_RANGE_BYTES, { shared: true });
    for (let range = 0; range < checksums.length; range++) {
      const from = range * IMAGE_RANGE_BYTES;
      const bytes = buffer.subarray(0, Math.min(IMAGE_RANGE_BYTES, dataBytes - from));
      await fillRange(image, tensors, from, bytes);
      checksums[range] = sums.sum(bytes);
      await image.pace(bytes.byteLength);
      await file.write(bytes, dataOffset + from);
      if (range % RANGES_PER_SYNC === RANGES_PER_SYNC - 1) await file.sync();
    }
    await file.write(encodeHead(head, alignBytes), 0);
    await file.sync();
  } finally {
    file.close();
  }
  return dataOffset + dataBytes;
}

/** 8 MiB at a time: what a disk works off in a few hundredths of a second. */
const RANGES_PER_SYNC = 8;

async function fillRange(
  image: ImageToWrite,
  tensors: ImageTensor[],
  from: number,
  bytes: Uint8Array,
): Promise<void> {
  bytes.fill(0);
  const end = from + bytes.byteLength;
  for (const tensor of tensors) {
    const start = Math.max(from, tensor.offset);
    const stop = Math.min(end, tensor.offset + tensor.sizeBytes);
    if (start < stop) {
      await image.read(tensor, start - tensor.offset, bytes.subarray(start - from, stop - from));
    }
  }
}
