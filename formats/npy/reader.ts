import { NPY_HEADER_BYTES_MAX, TENSOR_RANK_MAX } from "../../src/limits.ts";
import type { ByteSource } from "../byte-source.ts";
import type { FileLayout, TensorSpan } from "../layout.ts";
import { malformed } from "../malformed.ts";
import { type DType, describeShapeFault, measureShape } from "../tensor.ts";
import { readZipEntries } from "../zip.ts";

/*
 * An `.npy` file: one array.
 *
 *   0        6      8          8 + L        8 + L + N                     (L: 2 in version 1, 4 in 2 and 3)
 *   +--------+------+----------+------------+------------------+
 *   | magic  | M  m | N: u16/32| header: N  | elements         |
 *   +--------+------+----------+------------+------------------+
 *    \x93NUMPY
 *
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (64, 32), }      a Python literal, padded with spaces
 *
 * An `.npz` file is a ZIP archive of them. Source: NumPy's `numpy/lib/format.py`, "Format Specification".
 */

const MAGIC = "\x93NUMPY";
const MAGIC_BYTES = 8;

/** The name of an `.npy` file's only tensor. */
const NPY_TENSOR = "array";

const ELEMENTS: Record<string, DType> = {
  b1: "BOOL",
  i1: "I8",
  i2: "I16",
  i4: "I32",
  i8: "I64",
  u1: "U8",
  u2: "U16",
  u4: "U32",
  u8: "U64",
  f2: "F16",
  f4: "F32",
  f8: "F64",
  c8: "C64",
};

interface NpyHeader {
  descr: string;
  fortranOrder: boolean;
  shape: number[];
  /** Where the elements begin, from the start of the array's file. */
  dataOffset: number;
}

export function looksLikeNpy(head: Uint8Array): boolean {
  return head.byteLength >= 6 && Buffer.from(head.subarray(0, 6)).toString("latin1") === MAGIC;
}

/**
 * Where an `.npy` file's elements lie. No spans for element types that are no numbers (text, records, objects).
 * @throws `ERR_FORMAT_NPY` with `context.rule`
 */
export function readNpyLayout(source: ByteSource): FileLayout {
  const span = readSpan(source, 0, source.sizeBytes, NPY_TENSOR);
  return { format: "npy", spans: span === undefined ? [] : [span] };
}

/**
 * Where the arrays of an `.npz` file lie, named as in the archive. Compressed arrays have no place of their own.
 * @throws `ERR_FORMAT_NPY` with `context.rule`
 */
export function readNpzLayout(source: ByteSource): FileLayout {
  const spans: TensorSpan[] = [];
  const names = new Set<string>();
  for (const { name, stored, offset, sizeBytes } of readZipEntries(source, "NPY")) {
    if (!stored || !name.endsWith(".npy")) continue;
    const tensor = name.slice(0, -".npy".length);
    if (names.has(tensor))
      throw broken("zip", `two arrays named ${JSON.stringify(tensor.slice(0, 80))}`, offset);
    names.add(tensor);
    const span = readSpan(source, offset, sizeBytes, tensor);
    if (span !== undefined) spans.push(span);
  }
  return { format: "npz", spans };
}

/**
 * An array's elements as a tensor. Column-major ones are the row-major transpose, `NAME.T`; those of the other byte
 * order are bytes, `NAME (big-endian f4)`, with one more axis; 128-bit complex ones are pairs of F64.
 */
function readSpan(
  source: ByteSource,
  offset: number,
  sizeBytes: number,
  name: string,
): TensorSpan | undefined {
  const { descr, fortranOrder, shape, dataOffset } = readHeader(source, offset, sizeBytes);
  const [, order, type, width] = /^([<>|=])([a-z])(\d{1,2})$/i.exec(descr) ?? [];
  const element = type === undefined ? undefined : `${type}${width}`;
  if (element === undefined || (ELEMENTS[element] === undefined && element !== "c16")) return undefined;
  const transposed = fortranOrder && shape.filter((size) => size !== 1).length > 1;
  const sizes = transposed ? shape.toReversed() : shape;
  const [dtype, axes, note] = describe(element, sizes, order === ">");
  const measured = measureShape(dtype, axes);
  if (typeof measured !== "number")
    throw broken("shape", `an array that ${describeShapeFault(measured)}`, offset);
  const dataBytes = sizeBytes - (dataOffset - offset);
  if (measured !== dataBytes) {
    throw broken(
      "size",
      `${descr} [${shape.slice(0, 8)}] takes ${measured} bytes, ${dataBytes} are there`,
      dataOffset,
    );
  }
  const fullName = `${name}${transposed ? ".T" : ""}${note}`;
  return { name: fullName, dtype, shape: axes, offset: dataOffset, sizeBytes: measured };
}

function describe(element: string, shape: number[], bigEndian: boolean): [DType, number[], string] {
  const widthBytes = Number(element.slice(1));
  if (bigEndian && widthBytes > 1) return ["U8", [...shape, widthBytes], ` (big-endian ${element})`];
  if (element === "c16") return ["F64", [...shape, 2], ""];
  return [ELEMENTS[element]!, shape, ""];
}

function readHeader(source: ByteSource, offset: number, sizeBytes: number): NpyHeader {
  const head = source.read(offset, Math.min(sizeBytes, MAGIC_BYTES + 4));
  if (!looksLikeNpy(head)) throw broken("magic", "the magic \\x93NUMPY is missing", offset);
  const major = head[6];
  if (major !== 1 && major !== 2 && major !== 3)
    throw broken("version", `version ${major}; 1 to 3 are read`, offset + 6);
  const lengthBytes = major === 1 ? 2 : 4;
  const start = MAGIC_BYTES + lengthBytes;
  if (head.byteLength < start)
    throw broken("header", "an end inside the header's length", offset + MAGIC_BYTES);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const length = major === 1 ? view.getUint16(MAGIC_BYTES, true) : view.getUint32(MAGIC_BYTES, true);
  if (length > NPY_HEADER_BYTES_MAX) {
    throw broken(
      "limit",
      `a header of ${length} bytes; at most ${NPY_HEADER_BYTES_MAX} are read`,
      offset + MAGIC_BYTES,
    );
  }
  if (start + length > sizeBytes)
    throw broken("header", "a header past the end of the array", offset + MAGIC_BYTES);
  const text = Buffer.from(source.read(offset + start, length)).toString(major === 3 ? "utf8" : "latin1");
  return { ...parseHeader(text, offset + start), dataOffset: offset + start + length };
}

/** The literal's three entries, in any order; an element type that is no text (a record) is described as such. */
function parseHeader(text: string, offset: number): Omit<NpyHeader, "dataOffset"> {
  const descr = /'descr'\s*:\s*(?:'([^']*)'|(\[))/.exec(text);
  const fortran = /'fortran_order'\s*:\s*(True|False)\b/.exec(text);
  const shape = /'shape'\s*:\s*\(([\d\s,L]*)\)/.exec(text);
  if (!/^\s*\{[\s\S]*\}\s*$/.test(text) || descr === null || fortran === null || shape === null) {
    throw broken("header", "a header without descr, fortran_order and shape", offset);
  }
  // NumPy on Python 2 wrote long integers with an L.
  const axes = shape[1]!
    .replaceAll("L", "")
    .split(",")
    .map((axis) => axis.trim());
  if (axes.at(-1) === "") axes.pop();
  if (axes.length > TENSOR_RANK_MAX) throw broken("shape", `${axes.length} axes`, offset);
  const sizes = axes.map((axis) => {
    const size = Number(axis);
    if (!/^\d+$/.test(axis) || !Number.isSafeInteger(size))
      throw broken("shape", "an axis that is no size", offset);
    return size;
  });
  return { descr: descr[1] ?? "record", fortranOrder: fortran[1] === "True", shape: sizes };
}

function broken(rule: string, problem: string, offset: number) {
  return malformed("NPY", { rule, problem, offset });
}
