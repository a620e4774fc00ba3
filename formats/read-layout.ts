import type { ByteSource } from "./byte-source.ts";
import type { DetectedFormat } from "./detect.ts";
import type { FileLayout, TensorSpan } from "./layout.ts";
import { readNpyLayout, readNpzLayout } from "./npy/reader.ts";
import { readOnnxLayout } from "./onnx/reader.ts";
import { readPtLayout } from "./pt/reader.ts";
import { LENGTH_BYTES } from "./safetensors/format.ts";
import { parseHeader, readHeaderLength } from "./safetensors/reader.ts";

export interface DescribedFile {
  layout: FileLayout;
  /** `__metadata__` of a safetensors file; empty for others. */
  metadata: ReadonlyMap<string, string>;
  /** Tensors that lie in other files, by those files' places beside this one: an ONNX model's external data. */
  external?: ReadonlyMap<string, TensorSpan[]>;
}

/**
 * Where the tensors of a file lie; `undefined` when it is of that format but has none that lie in it as they are.
 * @throws `ERR_FORMAT_SAFETENSORS`, `ERR_FORMAT_PT`, `ERR_FORMAT_NPY`, `ERR_FORMAT_ONNX`
 */
export function readLayout(format: DetectedFormat, source: ByteSource): DescribedFile | undefined {
  if (format === "safetensors") {
    const headerBytes = LENGTH_BYTES + readHeaderLength(source.read(0, LENGTH_BYTES), source.sizeBytes);
    return parseHeader(source.read(0, headerBytes), source.sizeBytes);
  }
  if (format === "onnx") return { ...readOnnxLayout(source), metadata: new Map() };
  const layout = read(format, source);
  return layout === undefined || layout.spans.length === 0 ? undefined : { layout, metadata: new Map() };
}

function read(
  format: Exclude<DetectedFormat, "safetensors" | "onnx">,
  source: ByteSource,
): FileLayout | undefined {
  switch (format) {
    case "pt":
      return readPtLayout(source);
    case "npy":
      return readNpyLayout(source);
    case "npz":
      return readNpzLayout(source);
    default:
      return undefined;
  }
}
