import type { FileLayout, TensorSpan } from "../formats/layout.ts";
import { type DType, dtypeBits } from "../formats/tensor.ts";
import type { Element } from "../src/codec/element.ts";
import { CHUNK_BYTES_MAX, CHUNK_ELEMENTS } from "../src/limits.ts";

/** A run of a file's bytes that is stored as one chunk. */
export interface PlannedChunk {
  offset: number;
  rawBytes: number;
  element: Element;
  /** What the chunk holds, in words that stay the same from version to version: its base is found by it. */
  key: string;
}

/**
 * Cuts a file of tensors into chunks; the same layout always gives the same chunks.
 *
 * A tensor of 65,536 elements or more is cut every 65,536 elements from its own start, so that chunk *i* of a tensor
 * has a natural base, chunk *i* of the parent version. Smaller tensors of one dtype that lie back to back share a
 * chunk as long as they have 65,536 elements together. What lies between tensors (the skeleton) is cut every MiB.
 */
export function planChunks(layout: FileLayout, fileBytes: number): PlannedChunk[] {
  const chunks: PlannedChunk[] = [];
  let end = 0;
  let skeletons = 0;
  let group: { chunk: PlannedChunk; dtype: DType; elements: number } | undefined;

  const addSkeleton = (until: number) => {
    for (let offset = end; offset < until; offset += CHUNK_BYTES_MAX) {
      const rawBytes = Math.min(CHUNK_BYTES_MAX, until - offset);
      chunks.push({ offset, rawBytes, element: "bytes", key: `skeleton ${skeletons++}` });
    }
  };

  for (const span of layout.spans) {
    if (span.sizeBytes === 0) continue;
    if (span.offset > end) {
      addSkeleton(span.offset);
      group = undefined;
    }
    end = span.offset + span.sizeBytes;
    const elements = elementsOf(span);
    if (elements >= CHUNK_ELEMENTS) {
      chunks.push(...cutTensor(span));
      group = undefined;
    } else if (
      group !== undefined &&
      group.dtype === span.dtype &&
      group.elements + elements <= CHUNK_ELEMENTS
    ) {
      group.chunk.rawBytes += span.sizeBytes;
      group.elements += elements;
    } else {
      const [chunk] = cutTensor(span);
      group = { chunk: chunk!, dtype: span.dtype, elements };
      chunks.push(chunk!);
    }
  }
  addSkeleton(fileBytes);
  return chunks;
}

function elementsOf(span: TensorSpan): number {
  return (span.sizeBytes * 8) / dtypeBits(span.dtype);
}

function cutTensor({ name, dtype, offset, sizeBytes }: TensorSpan): PlannedChunk[] {
  const chunkBytes = (CHUNK_ELEMENTS * dtypeBits(dtype)) / 8;
  const chunks: PlannedChunk[] = [];
  for (let at = 0; at < sizeBytes; at += chunkBytes) {
    chunks.push({
      offset: offset + at,
      rawBytes: Math.min(chunkBytes, sizeBytes - at),
      element: ELEMENTS[dtype],
      key: `${dtype} ${at} ${name}`,
    });
  }
  return chunks;
}

/** How the codec sees each dtype; types narrower than a byte, and those it has no model of, are plain bytes to it. */
export const ELEMENTS: Record<DType, Element> = {
  BOOL: "u8",
  F4: "u8",
  F6_E2M3: "u8",
  F6_E3M2: "u8",
  U8: "u8",
  I8: "i8",
  F8_E5M2: "f8e5m2",
  F8_E4M3: "f8e4m3",
  F8_E8M0: "u8",
  F8_E5M2FNUZ: "f8e5m2",
  F8_E4M3FNUZ: "f8e4m3",
  I16: "i16",
  U16: "u16",
  F16: "f16",
  BF16: "bf16",
  I32: "i32",
  U32: "u32",
  F32: "f32",
  C64: "c64",
  F64: "f64",
  I64: "i64",
  U64: "u64",
};
