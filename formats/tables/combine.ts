import { StoreError } from "../../src/errors.ts";
import {
  bitAt,
  type Column,
  type ColumnField,
  NUMBER_ARRAYS,
  type NumberArray,
  type Table,
  typeText,
} from "./table.ts";

/** Columns that are cut out of others or joined from them. Numbers are shared where they can be, bitmaps are copied. */

/** Rows [from, to) of a table. Numbers and bytes are views of the same memory. */
export function sliceTable(table: Table, from: number, to: number): Table {
  const end = Math.min(to, table.rows);
  const start = Math.min(from, end);
  return { rows: end - start, columns: table.columns.map((column) => sliceColumn(column, start, end)) };
}

function sliceColumn(column: Column, from: number, to: number): Column {
  const rows = to - from;
  const { name, type, unit } = column;
  const field = { name, type, ...(unit === undefined ? {} : { unit }), rows };
  const validity = column.validity === undefined ? {} : { validity: sliceBits(column.validity, from, rows) };
  if (type === "bool")
    return { ...field, values: sliceBits(column.values as Uint8Array, from, rows), ...validity };
  if (column.offsets !== undefined) {
    const start = column.offsets[from]!;
    const values = column.values.subarray(start, column.offsets[to]!);
    const offsets = column.offsets.slice(from, to + 1).map((each) => each - start);
    return { ...field, values, offsets, ...validity };
  }
  const width = typeof type === "object" ? type.fixedSizeList.size : 1;
  return { ...field, values: column.values.subarray(from * width, to * width), ...validity };
}

/** The tables' rows one after the other, in new memory. @throws `ERR_CONFLICT` naming the column that differs */
export function concatTables(tables: readonly Table[]): Table {
  const [first] = tables;
  if (first === undefined) return { rows: 0, columns: [] };
  if (tables.length === 1) return first;
  for (const table of tables) requireSameColumns(first.columns, table.columns);
  const rows = tables.reduce((sum, table) => sum + table.rows, 0);
  const columns = first.columns.map((field, at) =>
    concatColumns(
      field,
      tables.map((table) => table.columns[at]!),
      rows,
    ),
  );
  return { rows, columns };
}

/** @throws `ERR_CONFLICT` naming the first column that differs in name or type */
export function requireSameColumns(expected: readonly ColumnField[], found: readonly ColumnField[]): void {
  const length = Math.max(expected.length, found.length);
  for (let at = 0; at < length; at++) {
    const a = expected[at];
    const b = found[at];
    if (a !== undefined && b !== undefined && a.name === b.name && typeText(a) === typeText(b)) continue;
    const text = (field: ColumnField | undefined) =>
      field === undefined ? "none" : `${field.name} ${typeText(field)}`;
    throw new StoreError("ERR_CONFLICT", `column ${at + 1} is ${text(b)} where ${text(a)} was before`, {
      context: { column: b?.name ?? a?.name },
      hint: "Tables that are joined end to end have the same columns in the same order.",
    });
  }
}

function concatColumns({ name, type, unit }: Column, parts: Column[], rows: number): Column {
  const field = { name, type, ...(unit === undefined ? {} : { unit }), rows };
  const validity = parts.some((part) => part.validity !== undefined)
    ? { validity: concatBits(parts, (part) => part.validity) }
    : {};
  if (type === "bool")
    return { ...field, values: concatBits(parts, (part) => part.values as Uint8Array), ...validity };
  if (type === "utf8" || type === "binary") return { ...field, ...concatBytes(parts, rows), ...validity };
  const numbers = typeof type === "object" ? type.fixedSizeList : { type, size: 1 };
  const values = new NUMBER_ARRAYS[numbers.type](rows * numbers.size) as NumberArray & {
    set(source: NumberArray, at: number): void;
  };
  let at = 0;
  for (const part of parts) {
    values.set(part.values, at);
    at += part.rows * numbers.size;
  }
  return { ...field, values, ...validity };
}

function concatBytes(parts: Column[], rows: number): { values: Uint8Array; offsets: Int32Array } {
  const sizeBytes = parts.reduce((sum, part) => sum + part.offsets![part.rows]! - part.offsets![0]!, 0);
  if (sizeBytes > 0x7fffffff) {
    throw new StoreError(
      "ERR_LIMIT",
      `column ${parts[0]!.name} has ${sizeBytes} bytes of text; the limit is 2 GiB`,
      {
        hint: "Keep it in several tables.",
      },
    );
  }
  const values = new Uint8Array(sizeBytes);
  const offsets = new Int32Array(rows + 1);
  let at = 0;
  let row = 0;
  for (const part of parts) {
    const from = part.offsets![0]!;
    values.set((part.values as Uint8Array).subarray(from, part.offsets![part.rows]!), at);
    for (let i = 0; i < part.rows; i++) offsets[row++] = part.offsets![i]! - from + at;
    at += part.offsets![part.rows]! - from;
  }
  offsets[rows] = at;
  return { values, offsets };
}

/** Bits [from, from + count) moved to the start; bits past the end are 0. */
export function sliceBits(bitmap: Uint8Array, from: number, count: number): Uint8Array {
  const out = new Uint8Array(Math.ceil(count / 8));
  const shift = from & 7;
  const start = from >> 3;
  for (let i = 0; i < out.length; i++) {
    out[i] = (bitmap[start + i]! >> shift) | ((bitmap[start + i + 1] ?? 0) << (8 - shift));
  }
  if ((count & 7) !== 0) out[out.length - 1]! &= (1 << (count & 7)) - 1;
  return out;
}

/** The parts' bits one after the other; a part without a bitmap counts as all ones. */
function concatBits(parts: Column[], bitsOf: (part: Column) => Uint8Array | undefined): Uint8Array {
  const rows = parts.reduce((sum, part) => sum + part.rows, 0);
  const out = new Uint8Array(Math.ceil(rows / 8));
  let at = 0;
  for (const part of parts) {
    const bits = bitsOf(part);
    for (let row = 0; row < part.rows; row++, at++) {
      if (bits === undefined || bitAt(bits, row)) out[at >> 3]! |= 1 << (at & 7);
    }
  }
  return out;
}

/** The rows named by `rows`, in that order; -1 gives a null. What as-of joins and filters are made of. */
export function takeRows(column: Column, rows: Int32Array): Column {
  const { name, type, unit } = column;
  const count = rows.length;
  const field = { name, type, ...(unit === undefined ? {} : { unit }), rows: count };
  const validity = takeValidity(column, rows);
  if (type === "bool") {
    const values = new Uint8Array(Math.ceil(count / 8));
    for (let i = 0; i < count; i++) {
      if (rows[i]! >= 0 && bitAt(column.values as Uint8Array, rows[i]!)) values[i >> 3]! |= 1 << (i & 7);
    }
    return { ...field, values, ...validity };
  }
  if (type === "utf8" || type === "binary") return { ...field, ...takeBytes(column, rows), ...validity };
  const numbers = typeof type === "object" ? type.fixedSizeList : { type, size: 1 };
  return { ...field, values: takeNumbers(column.values, rows, numbers), ...validity };
}

function takeNumbers(
  source: NumberArray,
  rows: Int32Array,
  { type, size }: { type: keyof typeof NUMBER_ARRAYS; size: number },
): NumberArray {
  // Bits are moved as integers of the same width, so that a NaN keeps its payload.
  const bits = bitsArray(source);
  const out = bitsArray(new NUMBER_ARRAYS[type](rows.length * size));
  const per = bits.length === source.length ? size : size * 2;
  if (per === 1) for (let i = 0; i < rows.length; i++) out[i] = rows[i]! < 0 ? 0 : bits[rows[i]!]!;
  else if (per === 2) {
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      if (row < 0) continue;
      out[i * 2] = bits[row * 2]!;
      out[i * 2 + 1] = bits[row * 2 + 1]!;
    }
  } else {
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      if (row >= 0) out.set(bits.subarray(row * per, (row + 1) * per), i * per);
    }
  }
  return new NUMBER_ARRAYS[type](out.buffer as ArrayBuffer);
}

/** The same memory as unsigned integers: of the same width, or two of 32 bits where the numbers have 64. */
function bitsArray(numbers: NumberArray): Uint8Array | Uint16Array | Uint32Array {
  const { buffer, byteOffset, byteLength, BYTES_PER_ELEMENT: width } = numbers;
  if (width === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  if (width === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

function takeBytes(column: Column, rows: Int32Array): { values: Uint8Array; offsets: Int32Array } {
  const from = column.offsets!;
  const offsets = new Int32Array(rows.length + 1);
  let at = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (row >= 0) at += from[row + 1]! - from[row]!;
    offsets[i + 1] = at;
  }
  const values = new Uint8Array(at);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (row >= 0) values.set((column.values as Uint8Array).subarray(from[row]!, from[row + 1]!), offsets[i]!);
  }
  return { values, offsets };
}

function takeValidity(column: Column, rows: Int32Array): { validity?: Uint8Array } {
  const validity = new Uint8Array(Math.ceil(rows.length / 8));
  let nulls = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    if (row >= 0 && (column.validity === undefined || bitAt(column.validity, row)))
      validity[i >> 3]! |= 1 << (i & 7);
    else nulls += 1;
  }
  return nulls === 0 ? {} : { validity };
}
