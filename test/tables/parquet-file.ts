/** A Parquet file of one column and one page, put together from parts that need not fit each other. */
export interface OnePage {
  /** Physical type: 1 INT32, 2 INT64, 6 BYTE_ARRAY. */
  type: number;
  rows: number;
  /** 0 PLAIN, 5 DELTA_BINARY_PACKED, 8 RLE_DICTIONARY. */
  encoding: number;
  /** OPTIONAL columns have definition levels before their values. */
  optional?: boolean;
  page: Uint8Array;
  /** What the page's header says of it; default: the truth. */
  values?: number;
}

export function onePageFile({
  type,
  rows,
  encoding,
  optional = false,
  page,
  values = rows,
}: OnePage): Buffer {
  const header = struct(
    [1, i32(0)],
    [2, i32(page.length)],
    [3, i32(page.length)],
    [5, struct([1, i32(values)], [2, i32(encoding)], [3, i32(3)], [4, i32(3)])],
  );
  const data = Buffer.concat([header.bytes, page]);
  const column = struct(
    [1, i32(type)],
    [2, list(5, [i32(encoding)])],
    [3, list(8, [text("a")])],
    [4, i32(0)],
    [5, i64(rows)],
    [6, i64(data.length)],
    [7, i64(data.length)],
    [9, i64(4)],
  );
  const group = struct(
    [1, list(12, [struct([2, i64(4)], [3, column])])],
    [2, i64(data.length)],
    [3, i64(rows)],
  );
  const root = struct([4, text("schema")], [5, i32(1)]);
  const field = struct([1, i32(type)], [3, i32(optional ? 1 : 0)], [4, text("a")]);
  const footer = struct(
    [1, i32(1)],
    [2, list(12, [root, field])],
    [3, i64(rows)],
    [4, list(12, [group])],
  ).bytes;
  const length = Buffer.alloc(4);
  length.writeUInt32LE(footer.length);
  return Buffer.concat([Buffer.from("PAR1"), data, footer, length, Buffer.from("PAR1")]);
}

/** A value in Thrift's compact protocol, with its type there. */
interface Thrift {
  type: number;
  bytes: Buffer;
}

const i32 = (value: number): Thrift => ({ type: 5, bytes: zigzag(value) });
const i64 = (value: number): Thrift => ({ type: 6, bytes: zigzag(value) });
const text = (value: string): Thrift => ({
  type: 8,
  bytes: Buffer.concat([varint(value.length), Buffer.from(value)]),
});

function list(type: number, items: readonly Thrift[]): Thrift {
  return {
    type: 9,
    bytes: Buffer.concat([Buffer.of((items.length << 4) | type), ...items.map((item) => item.bytes)]),
  };
}

function struct(...fields: readonly [number, Thrift][]): Thrift {
  let last = 0;
  const parts = fields.map(([id, { type, bytes }]) => {
    const head = Buffer.of(((id - last) << 4) | type);
    last = id;
    return Buffer.concat([head, bytes]);
  });
  return { type: 12, bytes: Buffer.concat([...parts, Buffer.of(0)]) };
}

function zigzag(value: number): Buffer {
  return varint(value < 0 ? -2 * value - 1 : 2 * value);
}

/** Seven bits a byte, the lowest first. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) + 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}
