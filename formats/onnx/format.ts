import type { DType } from "../tensor.ts";

/*
 * An ONNX model is one protobuf message. The fields that lead to tensors, by message (source: onnx/onnx.proto3 of
 * ONNX 1.17); everything else is skeleton.
 *
 *   Model      7 graph, 20 training (1, 2 graphs), 25 functions
 *   Graph      1 nodes, 5 initializers, 15 sparse initializers
 *   Function   1 name, 7 nodes, 11 attributes
 *   Node       2 outputs, 3 name, 4 operator, 5 attributes
 *   Attribute  1 name, 5 tensor, 6 graph, 7 floats, 10 tensors, 11 graphs, 22 sparse tensor, 23 sparse tensors
 *   Sparse     1 values, 2 indices
 *   Tensor     1 dims, 2 type, 4 floats, 8 name, 9 raw bytes, 10 doubles, 13 external (1 key, 2 value), 14 location
 */

export const MODEL = { graph: 7, training: 20, functions: 25 } as const;
export const TRAINING = { initialization: 1, algorithm: 2 } as const;
export const GRAPH = { node: 1, initializer: 5, sparseInitializer: 15 } as const;
export const FUNCTION = { name: 1, node: 7, attribute: 11 } as const;
export const NODE = { output: 2, name: 3, operator: 4, attribute: 5 } as const;
export const ATTRIBUTE = {
  name: 1,
  tensor: 5,
  graph: 6,
  floats: 7,
  tensors: 10,
  graphs: 11,
  sparse: 22,
  sparses: 23,
} as const;
export const SPARSE = { values: 1, indices: 2 } as const;
export const TENSOR = {
  dims: 1,
  type: 2,
  floats: 4,
  name: 8,
  raw: 9,
  doubles: 10,
  external: 13,
  location: 14,
} as const;
export const ENTRY = { key: 1, value: 2 } as const;

/** `TensorProto.DataLocation.EXTERNAL`. */
export const EXTERNAL = 1;

/** `TensorProto.DataType`: what the bytes of `raw_data` are. Types of half a byte come as bytes. */
export const TYPES: Record<number, { dtype: DType; perElement?: number; packed?: true }> = {
  1: { dtype: "F32" },
  2: { dtype: "U8" },
  3: { dtype: "I8" },
  4: { dtype: "U16" },
  5: { dtype: "I16" },
  6: { dtype: "I32" },
  7: { dtype: "I64" },
  9: { dtype: "BOOL" },
  10: { dtype: "F16" },
  11: { dtype: "F64" },
  12: { dtype: "U32" },
  13: { dtype: "U64" },
  14: { dtype: "C64" },
  15: { dtype: "F64", perElement: 2 },
  16: { dtype: "BF16" },
  17: { dtype: "F8_E4M3" },
  18: { dtype: "F8_E4M3FNUZ" },
  19: { dtype: "F8_E5M2" },
  20: { dtype: "F8_E5M2FNUZ" },
  21: { dtype: "U8", packed: true },
  22: { dtype: "U8", packed: true },
  23: { dtype: "U8", packed: true },
  24: { dtype: "F8_E8M0" },
};
