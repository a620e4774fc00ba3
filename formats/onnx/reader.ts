import { ONNX_TENSOR_BYTES_MIN, ONNX_TENSORS_MAX } from "../../src/limits.ts";
import type { ByteSource } from "../byte-source.ts";
import type { FileLayout, TensorSpan } from "../layout.ts";
import { malformed } from "../malformed.ts";
import { type DType, describeShapeFault, measureShape } from "../tensor.ts";
import { uniqueName } from "../unique-name.ts";
import { TYPES } from "./format.ts";
import { type Stretch, scanModel, type TensorFields, type TensorSink } from "./scan.ts";

export interface OnnxLayout {
  layout: FileLayout;
  /** Tensors kept in files beside the model, by the place the model names. */
  external: Map<string, TensorSpan[]>;
}

/**
 * Where the tensors of an ONNX model lie: initializers, tensors in nodes' attributes (in graphs inside of attributes
 * too), functions' and sparse tensors. Read through a window: memory does not grow with the file.
 *
 * @throws `ERR_FORMAT_ONNX` with `context.rule`: a file that is no protobuf message, or holds no graph, or a tensor
 * whose bytes are not what its type and shape ask for
 */
export function readOnnxLayout(source: ByteSource): OnnxLayout {
  const layout = new LayoutSink();
  scanModel(source, layout);
  return layout.finish();
}

class LayoutSink implements TensorSink {
  readonly #names = new Map<string, number>();
  readonly #spans: TensorSpan[] = [];
  readonly #external = new Map<string, TensorSpan[]>();
  #tensors = 0;

  finish(): OnnxLayout {
    // Messages nest, so no two fields share a byte: the order of places is all there is to establish.
    this.#spans.sort((a, b) => a.offset - b.offset);
    return { layout: { format: "onnx", spans: this.#spans }, external: this.#external };
  }

  tensor(name: string, tensor: TensorFields): void {
    if (tensor.isExternal) this.#addExternal(name, tensor);
    if (tensor.isExternal || tensor.data === undefined) return;
    const { start, end, dtype } = tensor.data;
    const described = describeTensor(tensor, end - start, dtype);
    if (described !== undefined) this.#add(name, described.dtype, described.shape, start);
  }

  floats(name: string, { start, end }: Stretch): void {
    this.#add(name, "F32", [(end - start) / 4], start);
  }

  #add(name: string, dtype: DType, shape: number[], offset: number): void {
    const sizeBytes = measureShape(dtype, shape);
    if (typeof sizeBytes !== "number" || sizeBytes < ONNX_TENSOR_BYTES_MIN) return;
    this.#count(offset);
    this.#spans.push({ name: uniqueName(name, this.#names), dtype, shape, offset, sizeBytes });
  }

  #addExternal(name: string, tensor: TensorFields): void {
    const location = tensor.external.get("location") ?? "";
    const start = wholeNumber(tensor.external.get("offset") ?? "0");
    const known = TYPES[tensor.type];
    if (location === "" || start === undefined || known === undefined || known.packed) return;
    const shape = known.perElement === undefined ? tensor.dims : [...tensor.dims, known.perElement];
    const sizeBytes = measureShape(known.dtype, shape);
    const length = tensor.external.get("length");
    if (typeof sizeBytes !== "number" || (length !== undefined && wholeNumber(length) !== sizeBytes)) {
      throw fail(
        "external",
        `external data of other length than ${JSON.stringify(name.slice(0, 80))} has`,
        tensor.at,
      );
    }
    this.#count(tensor.at);
    const there = this.#external.get(location) ?? [];
    there.push({ name: uniqueName(name, this.#names), dtype: known.dtype, shape, offset: start, sizeBytes });
    this.#external.set(location, there);
  }

  #count(offset: number): void {
    if (++this.#tensors > ONNX_TENSORS_MAX)
      throw fail("limit", `more than ${ONNX_TENSORS_MAX} tensors`, offset);
  }
}

/**
 * What a tensor's bytes are. `undefined` for a type this code does not know (text, or a later ONNX's), which stays
 * in the skeleton; numbers in the wrong number of bytes are refused.
 */
function describeTensor(
  { type, dims, at }: TensorFields,
  sizeBytes: number,
  listed: DType | undefined,
): { dtype: DType; shape: number[] } | undefined {
  const known = TYPES[type];
  if (known === undefined) return undefined;
  // A list of floats or doubles holds what such a list can: complex numbers as pairs.
  if (listed !== undefined) return { dtype: listed, shape: [sizeBytes / (listed === "F32" ? 4 : 8)] };
  const { dtype, perElement, packed } = known;
  if (packed) return { dtype, shape: [sizeBytes] };
  const shape = perElement === undefined ? dims : [...dims, perElement];
  const measured = measureShape(dtype, shape);
  if (typeof measured !== "number") throw fail("shape", `a tensor that ${describeShapeFault(measured)}`, at);
  if (measured !== sizeBytes) {
    throw fail("size", `${dtype} [${shape.slice(0, 8)}] takes ${measured} bytes, not ${sizeBytes}`, at);
  }
  return { dtype, shape };
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function fail(rule: string, problem: string, offset: number) {
  return malformed("ONNX", { rule, problem, offset });
}
