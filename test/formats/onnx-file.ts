/** Makes ONNX models field by field, and ones that are none. */

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push((rest % 128) + (rest >= 128 ? 128 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.from(bytes);
}

/** A field of bytes: a text, a nested message, raw data. */
export function field(number: number, content: string | Uint8Array): Buffer {
  const bytes = typeof content === "string" ? Buffer.from(content) : content;
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.byteLength), bytes]);
}

export function intField(number: number, value: number): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

export interface OnnxTensor {
  name?: string;
  type?: number;
  dims?: number[];
  raw?: Uint8Array;
  external?: Record<string, string>;
}

export function tensorOf({ name, type = 1, dims = [], raw, external }: OnnxTensor): Buffer {
  return Buffer.concat([
    field(1, Buffer.concat(dims.map(varint))),
    intField(2, type),
    ...(name === undefined ? [] : [field(8, name)]),
    ...(raw === undefined ? [] : [field(9, raw)]),
    ...Object.entries(external ?? {}).map(([key, value]) =>
      field(13, Buffer.concat([field(1, key), field(2, value)])),
    ),
    ...(external === undefined ? [] : [intField(14, 1)]),
  ]);
}

export function nodeOf(name: string, attributes: Buffer[], output = "out"): Buffer {
  const named = name === "" ? [] : [field(3, name)];
  return Buffer.concat([
    field(2, output),
    ...named,
    field(4, "Op"),
    ...attributes.map((each) => field(5, each)),
  ]);
}

export function attributeOf(name: string, ...parts: Buffer[]): Buffer {
  return Buffer.concat([field(1, name), ...parts]);
}

export function graphOf(parts: { nodes?: Buffer[]; initializers?: Buffer[]; sparse?: Buffer[] }): Buffer {
  const { nodes = [], initializers = [], sparse = [] } = parts;
  return Buffer.concat([
    ...nodes.map((each) => field(1, each)),
    ...initializers.map((each) => field(5, each)),
    ...sparse.map((each) => field(15, each)),
  ]);
}

export function modelOf(graph: Buffer, ...more: Buffer[]): Buffer {
  return Buffer.concat([intField(1, 8), field(2, "test"), field(7, graph), ...more]);
}
