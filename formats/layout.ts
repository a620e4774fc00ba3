import type { DType } from "./tensor.ts";

/**
 * What every format module says about a file: where its tensors lie. The bytes between them (header, padding,
 * footer) are the file's skeleton; skeleton and tensors together are the file, byte for byte.
 */
export interface FileLayout {
  /** The format's name: `safetensors`. */
  format: string;
  /** Sorted by offset, not overlapping; an empty tensor has a place but no bytes. */
  spans: TensorSpan[];
}

export interface TensorSpan {
  /** As the file has it: data, never a path. It may be empty, hold NUL, or be `__proto__`. */
  name: string;
  dtype: DType;
  /** Sizes of the axes, outermost first. */
  shape: number[];
  /** First byte, from the start of the file. */
  offset: number;
  sizeBytes: number;
}
