import { ONNX_DEPTH_MAX, ONNX_TEXT_BYTES_MAX, TENSOR_RANK_MAX } from "../../src/limits.ts";
import type { ByteSource } from "../byte-source.ts";
import type { DType } from "../tensor.ts";
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
} from "./format.ts";
import { WIRE, type WireField, WireReader } from "./wire.ts";

/** A stretch of a field in its message: from its tag on. */
export interface Stretch {
  start: number;
  end: number;
}

/** Told of every tensor of a model, in the order of the file. */
export interface TensorSink {
  /** @param weight where the whole field lies, when it is an initializer of the main graph */
  tensor(name: string, tensor: TensorFields, weight: Stretch | undefined): void;
  /** A node's attribute that is a packed list of floats: trees and linear models keep their weights so. */
  floats(name: string, elements: Stretch): void;
  /** The main graph's field, before what is in it. */
  graph?(field: Stretch, content: Stretch): void;
}

/** What one tensor message says; its fields come in any order. */
export interface TensorFields {
  /** Where its message begins in the file. */
  at: number;
  name: string;
  type: number;
  dims: number[];
  /** The elements' bytes, and what they are when the field alone says so. */
  data: { start: number; end: number; dtype?: DType } | undefined;
  external: Map<string, string>;
  isExternal: boolean;
}

/**
 * Walks an ONNX model and finds its tensors. Read through a window: memory does not grow with the file.
 * @throws `ERR_FORMAT_ONNX`
 */
export function scanModel(source: ByteSource, sink: TensorSink): void {
  new ModelScan(source, sink).run(source.sizeBytes);
}

class ModelScan {
  readonly #reader: WireReader;
  readonly #sink: TensorSink;

  constructor(source: ByteSource, sink: TensorSink) {
    this.#reader = new WireReader(source);
    this.#sink = sink;
  }

  run(sizeBytes: number): void {
    let hasGraph = false;
    let start = 0;
    for (const field of this.#reader.fields(0, sizeBytes)) {
      const stretch = { start, end: field.end };
      start = field.end;
      if (field.wire !== WIRE.bytes) continue;
      if (field.number === MODEL.graph) {
        hasGraph = true;
        this.#sink.graph?.(stretch, field);
        this.#graph(field, "", 0, true);
      } else if (field.number === MODEL.training) {
        for (const part of this.#reader.fields(field.start, field.end)) {
          const isGraph = part.number === TRAINING.initialization || part.number === TRAINING.algorithm;
          if (isGraph && part.wire === WIRE.bytes) this.#graph(part, "training/", 0, false);
        }
      } else if (field.number === MODEL.functions) {
        this.#function(field);
      }
    }
    if (!hasGraph) throw this.#reader.fail("graph", "no graph: this is no ONNX model", 0);
  }

  #graph(graph: WireField, path: string, depth: number, isMain: boolean): void {
    if (depth > ONNX_DEPTH_MAX) throw this.#reader.fail("depth", "graphs nested too deep", graph.start);
    let nodes = 0;
    let start = graph.start;
    for (const field of this.#reader.fields(graph.start, graph.end)) {
      const stretch = { start, end: field.end };
      start = field.end;
      if (field.wire !== WIRE.bytes) continue;
      if (field.number === GRAPH.node) this.#node(field, path, nodes++, depth);
      else if (field.number === GRAPH.sparseInitializer) this.#sparse(field, path, "sparse_initializer");
      else if (field.number === GRAPH.initializer) {
        const tensor = this.#tensorFields(field);
        this.#sink.tensor(`${path}${tensor.name || "initializer"}`, tensor, isMain ? stretch : undefined);
      }
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
          this.#graph(part, `${own}/`, depth + 1, false);
          break;
        case ATTRIBUTE.sparse:
        case ATTRIBUTE.sparses:
          this.#sparse(part, "", own);
          break;
        case ATTRIBUTE.floats:
          if ((part.end - part.start) % 4 === 0) this.#sink.floats(own, part);
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
    this.#sink.tensor(fixed ?? `${path}${tensor.name || fallback}`, tensor, undefined);
  }

  #tensorFields({ start, end }: WireField): TensorFields {
    const tensor: TensorFields = {
      at: start,
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
