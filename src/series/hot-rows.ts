import { type ColumnSlice, setBit } from "./column-slice.ts";
import { KeyBounds } from "./key-value.ts";
import {
  arrayOf,
  type Column,
  columnIndex,
  type NumberArray,
  type Schema,
  storageOf,
  widthOf,
} from "./schema.ts";

/** Rows of the first chunk; each next one doubles the rows there are, up to the largest. Multiples of 8. */
const FIRST_CHUNK_ROWS = 256;
const LARGEST_CHUNK_ROWS = 16_384;

interface HotColumn {
  readonly column: Column;
  /** Bytes of one row; 0 for bool, utf8 and binary. */
  readonly rowBytes: number;
  values: NumberArray;
  bytes: Uint8Array;
  /** Single numbers of 64 bits as their halves, lower first: a NaN's payload would not survive as a float. */
  readonly words: Int32Array | undefined;
  /** Whether a row's place in a payload of one row does not depend on what the row holds. */
  readonly fixed: boolean;
  readonly offsets: Int32Array | undefined;
  readonly validity: Uint8Array | undefined;
}

interface HotChunk {
  readonly firstRow: number;
  readonly capacity: number;
  rows: number;
  readonly columns: HotColumn[];
}

/**
 * The rows of a hot segment in memory, as Arrow columns. Memory comes in chunks that are never moved: a view of rows
 * that are there stays valid while others are added, and no append copies what came before. What is not yet written
 * to takes no memory: the operating system gives pages when they are touched.
 */
export class HotRows {
  readonly schema: Schema;
  readonly key: KeyBounds | undefined;
  readonly known: KeyBounds | undefined;
  readonly #chunks: HotChunk[] = [];
  readonly #keyAt: number;
  readonly #knownAt: number;
  #rows = 0;

  constructor(schema: Schema) {
    this.schema = schema;
    this.#keyAt = schema.key === undefined ? -1 : columnIndex(schema, schema.key);
    this.#knownAt = schema.knownKey === undefined ? -1 : columnIndex(schema, schema.knownKey);
    this.key = this.#keyAt < 0 ? undefined : new KeyBounds();
    this.known = this.#knownAt < 0 ? undefined : new KeyBounds();
  }

  get rows(): number {
    return this.#rows;
  }

  /** Adds the rows of a journal payload (docs/formats/series.md); the payload is copied. */
  push(payload: Uint8Array, view: DataView, at: number, rows: number): void {
    if (rows === 1) this.#pushOne(payload, view, at);
    else this.#pushMany(payload, view, at, rows);
  }

  #pushOne(payload: Uint8Array, view: DataView, at: number): void {
    const chunk = this.#room();
    const row = chunk.rows;
    let columnAt = at;
    for (let i = 0; i < chunk.columns.length; i++) {
      const column = chunk.columns[i]!;
      columnAt = column.fixed
        ? pushFixed(column, row, payload, view, columnAt)
        : pushColumn(column, row, { payload, view, at: columnAt, rows: 1, from: 0, count: 1 });
    }
    this.#track(this.key, chunk.columns[this.#keyAt], row, 1);
    this.#track(this.known, chunk.columns[this.#knownAt], row, 1);
    chunk.rows++;
    this.#rows++;
  }

  #pushMany(payload: Uint8Array, view: DataView, at: number, rows: number): void {
    let taken = 0;
    while (taken < rows) {
      const chunk = this.#room();
      const count = Math.min(rows - taken, chunk.capacity - chunk.rows);
      let columnAt = at;
      for (const column of chunk.columns) {
        columnAt = pushColumn(column, chunk.rows, { payload, view, at: columnAt, rows, from: taken, count });
      }
      this.#track(this.key, chunk.columns[this.#keyAt], chunk.rows, count);
      this.#track(this.known, chunk.columns[this.#knownAt], chunk.rows, count);
      chunk.rows += count;
      this.#rows += count;
      taken += count;
    }
  }

  /** Rows [from, to), as runs that lie in one piece; numbers are views of the rows themselves. */
  *slices(from: number, to: number, columns: readonly number[]): Generator<ColumnSlice[]> {
    for (const chunk of this.#chunks) {
      const first = Math.max(from - chunk.firstRow, 0);
      const end = Math.min(to - chunk.firstRow, chunk.rows);
      if (first >= end) continue;
      yield columns.map((index) => sliceOf(chunk.columns[index]!, first, end));
    }
  }

  #track(bounds: KeyBounds | undefined, column: HotColumn | undefined, from: number, count: number): void {
    if (bounds === undefined) return;
    const words = column!.words!;
    for (let i = from; i < from + count; i++) bounds.add(words[2 * i + 1]!, words[2 * i]!);
  }

  #room(): HotChunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.rows < last.capacity) return last;
    const capacity = Math.min(LARGEST_CHUNK_ROWS, Math.max(FIRST_CHUNK_ROWS, this.#rows));
    const columns = this.schema.columns.map((column) => makeHotColumn(column, capacity));
    const chunk = { firstRow: this.#rows, capacity, rows: 0, columns };
    this.#chunks.push(chunk);
    return chunk;
  }
}

function makeHotColumn(column: Column, capacity: number): HotColumn {
  const storage = storageOf(column.type);
  const perRow = Math.max(1, column.listSize);
  const variable = column.type === "utf8" || column.type === "binary";
  const size = storage !== undefined ? capacity * perRow : variable ? 0 : Math.ceil(capacity / 8);
  const values: NumberArray = new (storage === undefined ? Uint8Array : arrayOf(storage))(size);
  const rowBytes = widthOf(column.type) * perRow;
  const wide = rowBytes === 8 && column.listSize === 0;
  return {
    column,
    rowBytes,
    fixed: rowBytes > 0 && !column.nullable,
    values,
    bytes: new Uint8Array(values.buffer),
    words: wide ? new Int32Array(values.buffer) : undefined,
    offsets: variable ? new Int32Array(capacity + 1) : undefined,
    validity: column.nullable ? new Uint8Array(Math.ceil(capacity / 8)) : undefined,
  };
}

interface PayloadPart {
  payload: Uint8Array;
  view: DataView;
  /** Where the column begins in the payload. */
  at: number;
  /** Rows the payload holds. */
  rows: number;
  /** The rows to take: `count` from `from` on. */
  from: number;
  count: number;
}

/** Copies a number, or a list of them, out of a payload of one row and returns where the next column begins. */
function pushFixed(
  { rowBytes, words, bytes }: HotColumn,
  row: number,
  payload: Uint8Array,
  view: DataView,
  at: number,
): number {
  if (words !== undefined) {
    words[2 * row] = view.getInt32(at, true);
    words[2 * row + 1] = view.getInt32(at + 4, true);
    return at + 8;
  }
  if (rowBytes === 1) bytes[row] = payload[at]!;
  else if (rowBytes <= 16) copyBytes(bytes, row * rowBytes, payload, at, rowBytes);
  else bytes.set(payload.subarray(at, at + rowBytes), row * rowBytes);
  return at + rowBytes;
}

/** Copies a column's rows out of a payload and returns where the next column begins. */
function pushColumn(target: HotColumn, row: number, part: PayloadPart): number {
  const { payload, rows, from, count } = part;
  let { at } = part;
  if (target.validity !== undefined) {
    copyBits(target.validity, row, payload, at, from, count);
    at += (rows + 7) >> 3;
  }
  const { rowBytes } = target;
  if (rowBytes > 0) {
    const source = at + from * rowBytes;
    if (count === 1 && rowBytes <= 16) copyBytes(target.bytes, row * rowBytes, payload, source, rowBytes);
    else target.bytes.set(payload.subarray(source, source + count * rowBytes), row * rowBytes);
    return at + rows * rowBytes;
  }
  if (target.column.type === "bool") {
    copyBits(target.bytes, row, payload, at, from, count);
    return at + ((rows + 7) >> 3);
  }
  return pushVariable(target, row, { ...part, at });
}

function pushVariable(target: HotColumn, row: number, part: PayloadPart): number {
  const { payload, view, at, rows, from, count } = part;
  const offsets = target.offsets!;
  let source = at + 4 * rows;
  for (let i = 0; i < from; i++) source += view.getUint32(at + 4 * i, true);
  const start = offsets[row]!;
  let end = start;
  for (let i = 0; i < count; i++) {
    end += view.getUint32(at + 4 * (from + i), true);
    offsets[row + i + 1] = end;
  }
  if (end > target.bytes.length) {
    const larger = new Uint8Array(Math.max(end, target.bytes.length * 2, 256));
    larger.set(target.bytes.subarray(0, start));
    target.values = target.bytes = larger;
  }
  target.bytes.set(payload.subarray(source, source + end - start), start);
  let total = source + end - start;
  for (let i = from + count; i < rows; i++) total += view.getUint32(at + 4 * i, true);
  return total;
}

function copyBytes(target: Uint8Array, at: number, source: Uint8Array, from: number, count: number): void {
  for (let i = 0; i < count; i++) target[at + i] = source[from + i]!;
}

function copyBits(
  target: Uint8Array,
  row: number,
  payload: Uint8Array,
  at: number,
  from: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const bit = from + i;
    if (((payload[at + (bit >> 3)]! >> (bit & 7)) & 1) === 1) setBit(target, row + i);
  }
}

function sliceOf(source: HotColumn, from: number, to: number): ColumnSlice {
  const { column, values, offsets, validity } = source;
  const rows = to - from;
  const valid = validity && { validity: alignedBits(validity, from, rows) };
  if (column.type === "bool")
    return { column, rows, values: alignedBits(values as Uint8Array, from, rows), ...valid };
  if (offsets !== undefined) {
    if (from === 0) return { column, rows, values, offsets: offsets.subarray(0, rows + 1), ...valid };
    const moved = offsets.slice(from, to + 1);
    const base = moved[0]!;
    for (let i = 0; i < moved.length; i++) moved[i]! -= base;
    return { column, rows, values: values.subarray(base, offsets[to]!), offsets: moved, ...valid };
  }
  const perRow = Math.max(1, column.listSize);
  return { column, rows, values: values.subarray(from * perRow, to * perRow), ...valid };
}

/** A view where the rows begin on a byte, else a copy. Bits past the rows may be set later: nobody may count them. */
function alignedBits(bitmap: Uint8Array, from: number, rows: number): Uint8Array {
  if ((from & 7) === 0) return bitmap.subarray(from >> 3, (from >> 3) + Math.ceil(rows / 8));
  const out = new Uint8Array(Math.ceil(rows / 8));
  for (let i = 0; i < rows; i++) {
    if (((bitmap[(from + i) >> 3]! >> ((from + i) & 7)) & 1) === 1) setBit(out, i);
  }
  return out;
}
