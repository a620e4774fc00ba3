/**
 * `y = x · w` over n numbers, every weight `value`, as an ONNX model: written by hand, field by field, so that the
 * example needs no exporter. (Field numbers: onnx/onnx.proto3.)
 */
export function linearModel(value: number, n: number): Uint8Array {
  const weights = new Uint8Array(new Float32Array(n).fill(value).buffer);
  const initializer = message(integer(1, n), integer(2, FLOAT), bytes(8, "w"), bytes(9, weights));
  const node = message(bytes(1, "x"), bytes(1, "w"), bytes(2, "y"), bytes(4, "Mul"));
  const shape = bytes(2, bytes(1, integer(1, n)));
  const described = (name: string) =>
    message(bytes(1, name), bytes(2, bytes(1, message(integer(1, FLOAT), shape))));
  const graph = message(
    bytes(1, node),
    bytes(2, "linear"),
    bytes(5, initializer),
    bytes(11, described("x")),
    bytes(12, described("y")),
  );
  return message(integer(1, 8), bytes(7, graph), bytes(8, integer(2, 13)));
}

const FLOAT = 1;

function message(...fields: Uint8Array[]): Uint8Array {
  return Buffer.concat(fields);
}

function integer(field: number, value: number): Uint8Array {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function bytes(field: number, content: string | Uint8Array): Uint8Array {
  const raw = typeof content === "string" ? Buffer.from(content) : content;
  return Buffer.concat([varint(field * 8 + 2), varint(raw.byteLength), raw]);
}

function varint(value: number): Uint8Array {
  const digits: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) digits.push((rest % 128) + 128);
  return Uint8Array.from([...digits, rest]);
}
