import { field, graphOf, intField, tensorOf } from "../formats/onnx-file.ts";

/** `y = x · w + b` over n numbers, as an ONNX model: small, and its answer says which weights it has. */
export function linearModel(weight: number, bias: number, n = 256): Uint8Array {
  const floats = (value: number) => new Uint8Array(new Float32Array(n).fill(value).buffer);
  const initializers = [
    tensorOf({ name: "w", dims: [n], raw: floats(weight) }),
    tensorOf({ name: "b", dims: [n], raw: floats(bias) }),
  ];
  const node = (operator: string, inputs: string[], output: string) =>
    Buffer.concat([...inputs.map((name) => field(1, name)), field(2, output), field(4, operator)]);
  const value = (name: string) => {
    const shape = field(2, field(1, intField(1, n)));
    return Buffer.concat([field(1, name), field(2, field(1, Buffer.concat([intField(1, 1), shape])))]);
  };
  const graph = Buffer.concat([
    graphOf({ nodes: [node("Mul", ["x", "w"], "p"), node("Add", ["p", "b"], "y")], initializers }),
    field(2, "linear"),
    field(11, value("x")),
    field(12, value("y")),
  ]);
  return Buffer.concat([intField(1, 8), field(7, graph), field(8, intField(2, 13))]);
}
