import type { TensorSpan } from "../formats/layout.ts";
import { type DType, dtypeBits } from "../formats/tensor.ts";
import type { Element } from "../src/codec/element.ts";
import { CHUNK_BYTES_MAX, CHUNK_ELEMENTS } from "../src/limits.ts";
import type { StoredLayout } from "./manifest-format.ts";

/** A run of a file's bytes that is stored as one chunk. */
export interface PlannedChunk {
  offset: number;
  /** The same, from the file's first tensor on: headers grow and shrink. */
  place: number;
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
 *
 * Where the layout says that families are together, a run of small tensors that look like a weight and its optimizer
 * state (see `familyEnd`) is not parted: it joins the chunk before it only as a whole, and has one chunk for each tensor
 * if it is too large for one. So what is predicted from each other lies in as few chunks as can be.
 */
export function planChunks(layout: StoredLayout, fileBytes: number): PlannedChunk[] {
  const chunks: PlannedChunk[] = [];
  const dataAt = layout.spans[0]?.offset ?? 0;
  let end = 0;
  let skeletons = 0;
  let group: { chunk: PlannedChunk; dtype: DType; elements: number } | undefined;

  const addSkeleton = (until: number) => {
    for (let offset = end; offset < until; offset += CHUNK_BYTES_MAX) {
      const rawBytes = Math.min(CHUNK_BYTES_MAX, until - offset);
      const place = offset - dataAt;
      chunks.push({ offset, place, rawBytes, element: "bytes", key: `skeleton ${skeletons++}` });
    }
  };

  let family: Run = { end: 0, elements: 0 };
  for (const [i, span] of layout.spans.entries()) {
    if (span.sizeBytes === 0) continue;
    if (span.offset > end) {
      addSkeleton(span.offset);
      group = undefined;
    }
    end = span.offset + span.sizeBytes;
    const elements = elementsOf(span);
    if (layout.familiesTogether && i >= family.end) {
      family = familyAt(layout.spans, i);
      if (group !== undefined && group.elements + family.elements > CHUNK_ELEMENTS) group = undefined;
    }
    if (family.elements > CHUNK_ELEMENTS) group = undefined;
    if (elements >= CHUNK_ELEMENTS) {
      cutTensor(span, dataAt, chunks);
      group = undefined;
    } else if (
      group !== undefined &&
      group.dtype === span.dtype &&
      group.elements + elements <= CHUNK_ELEMENTS
    ) {
      group.chunk.rawBytes += span.sizeBytes;
      group.elements += elements;
    } else {
      cutTensor(span, dataAt, chunks);
      group = { chunk: chunks.at(-1)!, dtype: span.dtype, elements };
    }
  }
  addSkeleton(fileBytes);
  return chunks;
}

/** Whether two layouts have the same tensors in the same places: files of one size are cut alike then. */
export function sameLayout(a: StoredLayout, b: StoredLayout): boolean {
  if (a === b) return true;
  if (a.familiesTogether !== b.familiesTogether || a.spans.length !== b.spans.length) return false;
  return a.spans.every((span, i) => {
    const other = b.spans[i]!;
    return (
      span.offset === other.offset &&
      span.sizeBytes === other.sizeBytes &&
      span.dtype === other.dtype &&
      span.name === other.name &&
      span.shape.length === other.shape.length &&
      span.shape.every((axis, at) => axis === other.shape[at])
    );
  });
}

/** Tensors up to place `end`, and how many elements they have. */
interface Run {
  end: number;
  elements: number;
}

/**
 * The tensors from one on that belong together: of one dtype and shape, lying back to back, and either all named after
 * the first (`w`, `w.exp_avg`, `w.exp_avg_sq`) or all in one place (`state.0.exp_avg`, `state.0.exp_avg_sq`).
 */
function familyAt(spans: TensorSpan[], first: number): Run {
  const one = spans[first]!;
  const after = spans[first + 1];
  const named = (span: TensorSpan) =>
    span.name.startsWith(`${one.name}.`) || span.name.startsWith(`${one.name}/`);
  const placed = (span: TensorSpan) => placeOf(span) !== "" && placeOf(span) === placeOf(one);
  const belongs = after !== undefined && named(after) ? named : placed;
  let end = first + 1;
  for (let at = one.offset + one.sizeBytes; end < spans.length; end++) {
    const span = spans[end]!;
    const alike = span.dtype === one.dtype && span.shape.join() === one.shape.join();
    if (span.offset !== at || !alike || !belongs(span)) break;
    at += span.sizeBytes;
  }
  return { end, elements: elementsOf(one) * (end - first) };
}

function placeOf({ name }: TensorSpan): string {
  return name.slice(0, Math.max(name.lastIndexOf("."), name.lastIndexOf("/"), 0));
}

function elementsOf(span: TensorSpan): number {
  return (span.sizeBytes * 8) / dtypeBits(span.dtype);
}

function cutTensor(
  { name, dtype, offset, sizeBytes }: TensorSpan,
  dataAt: number,
  chunks: PlannedChunk[],
): void {
  const chunkBytes = (CHUNK_ELEMENTS * dtypeBits(dtype)) / 8;
  for (let at = 0; at < sizeBytes; at += chunkBytes) {
    chunks.push({
      offset: offset + at,
      place: offset + at - dataAt,
      rawBytes: Math.min(chunkBytes, sizeBytes - at),
      element: ELEMENTS[dtype],
      key: `${dtype} ${at} ${name}`,
    });
  }
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
