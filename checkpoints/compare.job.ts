import { isSmallFloat, toFloat32 } from "../formats/floats.ts";
import { type DType, dtypeBits, type Tensor, tensorFromBytes } from "../formats/tensor.ts";
import { type ChunkPlace, jobContext } from "../src/chunks/job-context.ts";
import type { Job } from "../src/workers/job.ts";

/** Compares the same stretch of a tensor in two versions. */
export const compareJob: Job = { url: import.meta.url, name: "compareStretch" };

export interface StretchPlace {
  digest: Uint8Array;
  /** Where in the chunk the stretch begins. */
  offset: number;
}

export interface CompareRequest {
  place: ChunkPlace;
  dtype: DType;
  sizeBytes: number;
  a: StretchPlace;
  b: StretchPlace;
}

export interface Comparison {
  /** Elements whose bits differ. */
  changed: number;
  maxAbs: number;
  sumAbs: number;
  /** Elements that are numbers in both versions: what maxAbs and sumAbs speak of. */
  compared: number;
  sumSquaresA: number;
  sumSquaresB: number;
}

export async function compareStretch({ place, dtype, sizeBytes, a, b }: CompareRequest): Promise<Comparison> {
  const { reader } = await jobContext(place);
  const read = (at: StretchPlace) => reader.read(at.digest).subarray(at.offset, at.offset + sizeBytes);
  return compareBytes(dtype, read(a), read(b));
}

/** The comparison itself, over raw little-endian bytes of equal length. */
export function compareBytes(dtype: DType, a: Uint8Array, b: Uint8Array): Comparison {
  const result = {
    changed: changedElements(dtype, a, b),
    maxAbs: 0,
    sumAbs: 0,
    compared: 0,
    sumSquaresA: 0,
    sumSquaresB: 0,
  };
  const left = numbersOf(dtype, a);
  const right = numbersOf(dtype, b);
  for (let i = 0; i < left.length; i++) {
    const x = Number(left[i]);
    const y = Number(right[i]);
    result.sumSquaresA += x * x;
    result.sumSquaresB += y * y;
    const difference = left[i] === right[i] ? 0 : Math.abs(differenceOf(left[i]!, right[i]!));
    if (Number.isNaN(difference)) continue;
    result.compared += 1;
    result.sumAbs += difference;
    if (difference > result.maxAbs) result.maxAbs = difference;
  }
  return result;
}

/** Whole numbers past 2^53 are subtracted before they become inexact. */
function differenceOf(x: number | bigint, y: number | bigint): number {
  return typeof x === "bigint" && typeof y === "bigint" ? Number(x - y) : Number(x) - Number(y);
}

function changedElements(dtype: DType, a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return 0;
  const bits = dtypeBits(dtype);
  let changed = 0;
  if (bits % 8 === 0) {
    const width = bits / 8;
    for (let i = 0; i < a.length; i += width) {
      for (let j = i; j < i + width; j++) {
        if (a[j] !== b[j]) {
          changed++;
          break;
        }
      }
    }
    return changed;
  }
  for (let bit = 0; bit < a.length * 8; bit += bits) {
    if (bitsAt(a, bit, bits) !== bitsAt(b, bit, bits)) changed++;
  }
  return changed;
}

function bitsAt(bytes: Uint8Array, bit: number, count: number): number {
  const byte = bit >> 3;
  const word = bytes[byte]! | ((bytes[byte + 1] ?? 0) << 8);
  return (word >> (bit & 7)) & ((1 << count) - 1);
}

/** The elements as numbers; types of less than a byte have none here, and count as changed or not alone. */
function numbersOf(dtype: DType, bytes: Uint8Array): ArrayLike<number | bigint> {
  if (dtypeBits(dtype) < 8) return [];
  const elements = (bytes.byteLength * 8) / dtypeBits(dtype);
  const tensor: Tensor = tensorFromBytes(dtype, [elements], bytes);
  return isSmallFloat(dtype) ? toFloat32(tensor) : tensor.data;
}
