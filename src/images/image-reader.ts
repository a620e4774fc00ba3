import { crc32c } from "@node-rs/crc32";
import { allocatePages } from "../disk/aligned.ts";
import type { Disk, DiskFile } from "../disk/disk.ts";
import { StoreError } from "../errors.ts";
import { RangeSums } from "../kernels/range-sum.ts";
import { IMAGE_HEAD_BYTES_MAX } from "../limits.ts";
import {
  IMAGE_ALIGN_BYTES,
  IMAGE_FIXED_BYTES,
  IMAGE_FORMAT_VERSION,
  IMAGE_MAGIC,
  IMAGE_RANGE_BYTES,
  type ImageHead,
  type ImageTensor,
  rangeCount,
} from "./image-format.ts";

/**
 * Reads and checks a head. The data behind it is not looked at.
 * @throws `ERR_STORE_CORRUPT` for anything no writer wrote, `ERR_STORE_VERSION` for a newer format
 */
export function readHead(file: DiskFile, storeId: Uint8Array): ImageHead {
  const fixed = Buffer.alloc(IMAGE_FIXED_BYTES);
  if (file.readSync(fixed, 0) !== IMAGE_FIXED_BYTES)
    throw damaged(file.path, 0, "it is shorter than its head");
  if (!fixed.subarray(0, 8).equals(IMAGE_MAGIC)) throw damaged(file.path, 0, "its magic is wrong");
  if (crc32c(fixed.subarray(0, 96)) !== fixed.readUInt32LE(96))
    throw damaged(file.path, 0, "its head's checksum is wrong");
  if (fixed.readUInt16LE(8) !== IMAGE_FORMAT_VERSION) throw otherFormat(file.path, fixed.readUInt16LE(8));
  if (!fixed.subarray(16, 32).equals(storeId)) throw damaged(file.path, 16, "it belongs to another store");
  const dataOffset = Number(fixed.readBigUInt64LE(72));
  const dataBytes = Number(fixed.readBigUInt64LE(80));
  const rangeBytes = fixed.readUInt32LE(88);
  const tablesBytes = fixed.readUInt32LE(92);
  const aligned = dataOffset % IMAGE_ALIGN_BYTES === 0 && dataBytes % IMAGE_ALIGN_BYTES === 0;
  if (rangeBytes !== IMAGE_RANGE_BYTES || !aligned) throw damaged(file.path, 72, "its places are wrong");
  const ranges = rangeCount(dataBytes, rangeBytes);
  const restBytes = tablesBytes + ranges * 8 + 4;
  if (restBytes > IMAGE_HEAD_BYTES_MAX || IMAGE_FIXED_BYTES + restBytes > dataOffset) {
    throw damaged(file.path, 92, "its tables do not fit before its data");
  }
  const rest = Buffer.alloc(dataOffset - IMAGE_FIXED_BYTES);
  if (file.readSync(rest, IMAGE_FIXED_BYTES) !== rest.byteLength)
    throw damaged(file.path, 100, "its tables are cut off");
  if (crc32c(rest.subarray(0, restBytes - 4)) !== rest.readUInt32LE(restBytes - 4)) {
    throw damaged(file.path, 100, "its tables' checksum is wrong");
  }
  const padding = rest.subarray(restBytes);
  if (!padding.equals(Buffer.alloc(padding.byteLength))) {
    throw damaged(file.path, IMAGE_FIXED_BYTES + restBytes, "what lies before its data is not zero");
  }
  if (file.sizeBytes() !== dataOffset + dataBytes) throw damaged(file.path, dataOffset, "its size is wrong");
  const checksums = new BigUint64Array(ranges);
  for (let i = 0; i < ranges; i++) checksums[i] = rest.readBigUInt64LE(tablesBytes + i * 8);
  return {
    storeId: new Uint8Array(fixed.subarray(16, 32)),
    manifest: new Uint8Array(fixed.subarray(32, 64)),
    version: Number(fixed.readBigUInt64LE(64)),
    dataOffset,
    dataBytes,
    rangeBytes,
    tensors: decodeTables(rest.subarray(0, tablesBytes)),
    checksums,
  };
}

function decodeTables(bytes: Buffer): ImageTensor[] {
  // Checked by a checksum over it: this is what a writer wrote.
  const rows = JSON.parse(bytes.toString("utf8")) as [string, string, string, number[], number, number][];
  return rows.map(([file, name, dtype, shape, offset, sizeBytes]) => ({
    file,
    name,
    dtype,
    shape,
    offset,
    sizeBytes,
  }));
}

/** Ranges `from` to `to`, each checked before the next is read. @throws `ERR_STORE_CORRUPT` naming the range */
export async function verifyRanges(disk: Disk, path: string, head: ImageHead): Promise<void> {
  const file = disk.open(path, { access: "read" });
  const sums = await RangeSums.load();
  const buffer = allocatePages(head.rangeBytes, { shared: true });
  try {
    for (let range = 0; range < head.checksums.length; range++) {
      const bytes = buffer.subarray(0, Math.min(head.rangeBytes, head.dataBytes - range * head.rangeBytes));
      await file.read(bytes, head.dataOffset + range * head.rangeBytes);
      requireSum(path, head, range, sums.sum(bytes));
    }
  } finally {
    file.close();
  }
}

/** @throws `ERR_STORE_CORRUPT` when that is not the range's sum */
export function requireSum(
  path: string,
  { checksums, dataOffset, rangeBytes }: Pick<ImageHead, "checksums" | "dataOffset" | "rangeBytes">,
  range: number,
  sum: bigint,
): void {
  if (sum === checksums[range]) return;
  throw damaged(path, dataOffset + range * rangeBytes, "a range's checksum is wrong");
}

function damaged(path: string, offset: number, what: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `${path}, offset ${offset}: the image is damaged: ${what}`, {
    context: { path, offset },
    hint: "Nothing is lost: an image repeats what the chunks hold, and is written again from them.",
  });
}

function otherFormat(path: string, format: number): StoreError {
  return new StoreError(
    "ERR_STORE_VERSION",
    `${path} has image format ${format}, not ${IMAGE_FORMAT_VERSION}`,
    {
      hint: "Remove it: it is written again from the chunks.",
    },
  );
}
