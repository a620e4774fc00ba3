import {
  ONNX_DEPTH_MAX,
  ONNX_TENSOR_BYTES_MIN,
  ONNX_TENSORS_MAX,
  ONNX_TEXT_BYTES_MAX,
  TENSOR_RANK_MAX,
} from "../../src/limits.ts";
import type { ByteSource } from "../byte-source.ts";
import type { FileLayout, TensorSpan } from "../layout.ts";
import { type DType, describeShapeFault, measureShape } from "../tensor.ts";
import { uniqueName } from "../unique-name.ts";
import {
  ATTRIBUTE,
  ENTRY,
  EXTERNAL,
  FUNCTION,
  GRAPH,
  MODEL,
  NODE,
  SPARSE,
  TENSOR,
  TRAINING,
  TYPES,
} from "./format.ts";
import { WIRE, type WireField, WireReader } from "./wire.ts";

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
  return new ModelScan(source).run(source.sizeBytes);
}

/** What one tensor message says; its fields come in any order. */
interface TensorFields {
  name: string;
  type: number;
  dims: number[];
  /** The elements' bytes, and what they are when the field alone says so. */
  data: { start: number; end: number; dtype?: DType } | undefined;
  external: Map<string, string>;
  isExternal: boolean;
}

class ModelScan {
  readonly #reader: WireReader;
  readonly #names = new Map<string, number>();
  readonly #spans: TensorSpan[] = [];
  readonly #external = new Map<string, TensorSpan[]>();
  #tensors = 0;

  constructor(source: ByteSource) {
    this.#reader = new WireReader(source);
  }

  run(sizeBytes: number): OnnxLayout {
    let hasGraph = false;
    for (const field of this.#reader.fields(0, sizeBytes)) {
      if (field.wire !== WIRE.bytes) continue;
      if (field.number === MODEL.graph) {
        hasGraph = true;
        this.#graph(field, "", 0);
      } else if (field.number === MODEL.training) {
        for (const part of this.#reader.fields(field.start, field.end)) {
          const isGraph = part.number === TRAINING.initialization || part.number === TRAINING.algorithm;
          if (isGraph && part.wire === WIRE.bytes) this.#graph(part, "training/", 0);
        }
      } else if (field.number === MODEL.functions) {
        this.#function(field);
      }
    }
    if (!hasGraph) throw this.#reader.fail("graph", "no graph: this is no ONNX model", 0);
    // Messages nest, so no two fields share a byte: the order of places is all there is to establish.
    this.#spans.sort((a, b) => a.offset - b.offset);
    return { layout: { format: "onnx", spans: this.#spans }, external: this.#external };
  }

  #graph({ start, end }: WireField, path: string, depth: number): void {
    if (depth > ONNX_DEPTH_MAX) throw this.#reader.fail("depth", "graphs nested too deep", start);
    let nodes = 0;
    for (const field of this.#reader.fields(start, end)) {
      if (field.wire !== WIRE.bytes) continue;
      if (field.number === GRAPH.node) this.#node(field, path, nodes++, depth);
      else if (field.number === GRAPH.initializer) this.#tensor(field, path, "initializer");
      else if (field.number === GRAPH.sparseInitializer) this.#sparse(field, path, "sparse_initializer");
    }
  }

  #function(field: WireField): void {
    const name = this.#textOf(field, FUNCTION.name) || "function";
    let nodes = 0;
    for (const part of this.#reader.fields(field.start, field.end)) {
      if (part.wire !== WIRE.bytes) continue;
      if (part.number === FUNCTION.node) this.#node(part, `${name}/`, nodes++, 0);
      else if (part.number === FUNCTION.attribute) this.#attribute(part, `${name}/`, 0);
    }
  }

  /** A node goes by its name, else by what it puts out, else by its operator and place. */
  #node(field: WireField, path: string, place: number, depth: number): void {
    let name = "";
    let output = "";
    let operator = "";
    let hasAttributes = false;
    for (const part of this.#reader.fields(field.start, field.end)) {
      if (part.wire !== WIRE.bytes) continue;
      if (part.number === NODE.name) name = this.#text(part);
      else if (part.number === NODE.output && output === "") output = this.#text(part);
      else if (part.number === NODE.operator) operator = this.#text(part);
      else if (part.number === NODE.attribute) hasAttributes = true;
    }
    if (!hasAttributes) return;
    const own = `${path}${name || output || `${operator}#${place}`}`;
    for (const part of this.#reader.fields(field.start, field.end)) {
      if (part.number === NODE.attribute && part.wire === WIRE.bytes) this.#attribute(part, `${own}.`, depth);
    }
  }

  #attribute(field: WireField, path: string, depth: number): void {
    const own = `${path}${this.#textOf(field, ATTRIBUTE.name) || "attribute"}`;
    for (const part of this.#reader.fields(field.start, field.end)) {
      if (part.wire !== WIRE.bytes) continue;
      switch (part.number) {
        case ATTRIBUTE.tensor:
        case ATTRIBUTE.tensors:
          this.#tensor(part, "", own, own);
          break;
        case ATTRIBUTE.graph:
        case ATTRIBUTE.graphs:
          this.#graph(part, `${own}/`, depth + 1);
          break;
        case ATTRIBUTE.sparse:
        case ATTRIBUTE.sparses:
          this.#sparse(part, "", own);
          break;
        case ATTRIBUTE.floats:
          // Packed: trees and linear models keep their weights so.
          if ((part.end - part.start) % 4 === 0)
            this.#add(own, "F32", [(part.end - part.start) / 4], part.start);
          break;
      }
    }
  }

  #sparse(field: WireField, path: string, fallback: string): void {
    for (const part of this.#reader.fields(field.start, field.end)) {
      if (part.wire !== WIRE.bytes) continue;
      if (part.number === SPARSE.values) this.#tensor(part, path, `${fallback}.values`);
      else if (part.number === SPARSE.indices) this.#tensor(part, path, `${fallback}.indices`);
    }
  }

  /** @param fixed the tensor's name whatever it calls itself: an attribute's tensors mostly share one name */
  #tensor(field: WireField, path: string, fallback: string, fixed?: string): void {
    const tensor = this.#tensorFields(field);
    const name = fixed ?? `${path}${tensor.name || fallback}`;
    if (tensor.isExternal) this.#addExternal(name, tensor, field.start);
    if (tensor.isExternal || tensor.data === undefined) return;
    const { start, end, dtype } = tensor.data;
    const described = this.#describe(tensor, end - start, dtype, field.start);
    if (described !== undefined) this.#add(name, described.dtype, described.shape, start);
  }

  #tensorFields({ start, end }: WireField): TensorFields {
    const tensor: TensorFields = {
      name: "",
      type: 0,
      dims: [],
      data: undefined,
      external: new Map(),
      isExternal: false,
    };
    for (const part of this.#reader.fields(start, end)) {
      switch (part.number) {
        case TENSOR.dims:
          this.#dims(part, tensor.dims);
          break;
        case TENSOR.type:
          tensor.type = part.value;
          break;
        case TENSOR.location:
          tensor.isExternal = part.value === EXTERNAL;
          break;
        case TENSOR.name:
          tensor.name = this.#text(part);
          break;
        case TENSOR.external: {
          if (part.wire === WIRE.bytes && tensor.external.size < 16) {
            tensor.external.set(this.#textOf(part, ENTRY.key), this.#textOf(part, ENTRY.value));
          }
          break;
        }
        case TENSOR.raw:
          if (part.wire === WIRE.bytes) tensor.data = { start: part.start, end: part.end };
          break;
        case TENSOR.floats:
          if (part.wire === WIRE.bytes) tensor.data ??= { start: part.start, end: part.end, dtype: "F32" };
          break;
        case TENSOR.doubles:
          if (part.wire === WIRE.bytes) tensor.data ??= { start: part.start, end: part.end, dtype: "F64" };
          break;
      }
    }
    return tensor;
  }

  #dims(part: WireField, dims: number[]): void {
    const values = part.wire === WIRE.bytes ? this.#reader.varints(part.start, part.end) : [part.value];
    for (const value of values) {
      if (dims.length === TENSOR_RANK_MAX)
        throw this.#reader.fail("shape", `more than ${TENSOR_RANK_MAX} axes`, part.start);
      if (!Number.isSafeInteger(value) || value < 0)
        throw this.#reader.fail("shape", "an axis that is no size", part.start);
      dims.push(value);
    }
  }

  /**
   * What a tensor's bytes are. `undefined` for a type this code does not know (text, or a later ONNX's), which stays
   * in the skeleton; numbers in the wrong number of bytes are refused.
   */
  #describe(
    { type, dims }: TensorFields,
    sizeBytes: number,
    listed: DType | undefined,
    offset: number,
  ): { dtype: DType; shape: number[] } | undefined {
    const known = TYPES[type];
    if (known === undefined) return undefined;
    // A list of floats or doubles holds what such a list can: complex numbers as pairs.
    if (listed !== undefined) return { dtype: listed, shape: [sizeBytes / (listed === "F32" ? 4 : 8)] };
    const { dtype, perElement, packed } = known;
    if (packed) return { dtype, shape: [sizeBytes] };
    const shape = perElement === undefined ? dims : [...dims, perElement];
    const measured = measureShape(dtype, shape);
    if (typeof measured !== "number")
      throw this.#reader.fail("shape", `a tensor that ${describeShapeFault(measured)}`, offset);
    if (measured !== sizeBytes) {
      throw this.#reader.fail(
        "size",
        `${dtype} [${shape.slice(0, 8)}] takes ${measured} bytes, not ${sizeBytes}`,
        offset,
      );
    }
    return { dtype, shape };
  }

  #add(name: string, dtype: DType, shape: number[], offset: number): void {
    const sizeBytes = measureShape(dtype, shape);
    if (typeof sizeBytes !== "number" || sizeBytes < ONNX_TENSOR_BYTES_MIN) return;
    this.#count(offset);
    this.#spans.push({ name: uniqueName(name, this.#names), dtype, shape, offset, sizeBytes });
  }

  #addExternal(name: string, tensor: TensorFields, offset: number): void {
    const location = tensor.external.get("location") ?? "";
    const start = wholeNumber(tensor.external.get("offset") ?? "0");
    const known = TYPES[tensor.type];
    if (location === "" || start === undefined || known === undefined || known.packed) return;
    const shape = known.perElement === undefined ? tensor.dims : [...tensor.dims, known.perElement];
    const sizeBytes = measureShape(known.dtype, shape);
    const length = tensor.external.get("length");
    if (typeof sizeBytes !== "number" || (length !== undefined && wholeNumber(length) !== sizeBytes)) {
      throw this.#reader.fail(
        "external",
        `external data of other length than ${JSON.stringify(name.slice(0, 80))} has`,
        offset,
      );
    }
    this.#count(offset);
    const there = this.#external.get(location) ?? [];
    there.push({ name: uniqueName(name, this.#names), dtype: known.dtype, shape, offset: start, sizeBytes });
    this.#external.set(location, there);
  }

  #count(offset: number): void {
    if (++this.#tensors > ONNX_TENSORS_MAX)
      throw this.#reader.fail("limit", `more than ${ONNX_TENSORS_MAX} tensors`, offset);
  }

  #textOf({ start, end }: WireField, number: number): string {
    for (const part of this.#reader.fields(start, end)) {
      if (part.number === number && part.wire === WIRE.bytes) return this.#text(part);
    }
    return "";
  }

  #text({ wire, start, end }: WireField): string {
    if (wire !== WIRE.bytes) return "";
    if (end - start > ONNX_TEXT_BYTES_MAX)
      throw this.#reader.fail("limit", `a name of ${end - start} bytes`, start);
    return Buffer.from(this.#reader.bytes(start, end)).toString("utf8");
  }
}

function wholeNumber(text: string): number | undefined {
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
