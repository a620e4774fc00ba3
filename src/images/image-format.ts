import { RANGE_SUM_BYTES_MAX } from "../kernels/range-sum.ts";

/**
 * An image: one version's tensors raw, each from a page boundary on, so that a process can map the file and use them
 * where they lie. It repeats what the chunks hold and can be rebuilt from them at any time.
 * docs/formats/image.md has a worked example.
 *
 *     0    "VARVEIMG"        32   manifest (32 bytes)     88  range bytes u32
 *     8    format u16        64   version u64             92  tables bytes u32
 *     10   0 (6 bytes)       72   data offset u64         96  CRC-32C of bytes 0 to 95, u32
 *     16   store id          80   data bytes u64          100 tables | range checksums | CRC-32C of both, u32
 *
 *     tables = JSON, UTF-8: [[file, tensor, dtype, shape, offset in the data, bytes], …]
 *     range checksums = range sum u64 of each range of the data, the last one shorter
 *
 * Everything between the last checksum and the data, and between tensors, is zero. Integers are little-endian.
 */
export const IMAGE_MAGIC = Buffer.from("VARVEIMG", "latin1");
export const IMAGE_FORMAT_VERSION = 2;
export const IMAGE_FIXED_BYTES = 100;
/** Bytes under one checksum: verified a range at a time, well under a millisecond each. */
export const IMAGE_RANGE_BYTES = RANGE_SUM_BYTES_MAX;
/** Where data and tensors begin: a page of memory, and of O_DIRECT. */
export const IMAGE_ALIGN_BYTES = 4096;

export interface ImageTensor {
  file: string;
  name: string;
  dtype: string;
  shape: number[];
  /** From the start of the data. */
  offset: number;
  sizeBytes: number;
}

export interface ImageHead {
  storeId: Uint8Array;
  manifest: Uint8Array;
  version: number;
  dataOffset: number;
  dataBytes: number;
  rangeBytes: number;
  tensors: ImageTensor[];
  /** Range sum of each range: see `RangeSums`. */
  checksums: BigUint64Array;
}

/** Lays tensors out one after the other, each on a page boundary; returns the bytes they take together. */
export function layOut(tensors: Omit<ImageTensor, "offset">[]): {
  tensors: ImageTensor[];
  dataBytes: number;
} {
  let offset = 0;
  const placed = tensors.map((tensor) => {
    const at = offset;
    offset += Math.ceil(tensor.sizeBytes / IMAGE_ALIGN_BYTES) * IMAGE_ALIGN_BYTES;
    return { ...tensor, offset: at };
  });
  return { tensors: placed, dataBytes: offset };
}

export function rangeCount(dataBytes: number, rangeBytes: number): number {
  return Math.ceil(dataBytes / rangeBytes);
}
