import { checksumOf } from "./checksum.ts";
import type { ColumnSlice } from "./column-slice.ts";
import { ByteSink } from "./columns/byte-sink.ts";
import type { EncodedColumn } from "./columns/column-codec.ts";
import { KeyBounds } from "./key-value.ts";
import { type Column, type Schema, storageOf } from "./schema.ts";
import {
  BLOCK_ROWS,
  FLAG_KEY,
  FLAG_KEY_SORTED,
  FLAG_KNOWN,
  FLAG_KNOWN_SORTED,
  SEGMENT_HEAD_BYTES,
  SEGMENT_MAGIC,
  SEGMENT_TRAILER_BYTES,
  SEGMENT_VERSION,
} from "./segment-format.ts";
import { TYPE_CODES } from "./segment-types.ts";

export interface SegmentContent {
  storeId: Uint8Array;
  firstRow: number;
  schema: Schema;
  /** All rows of each column, in the schema's order. */
  slices: readonly ColumnSlice[];
  /** The same columns encoded. */
  encoded: readonly EncodedColumn[];
}

/** The bytes of a sealed segment. */
export function encodeSegment(content: SegmentContent): Uint8Array {
  const { storeId, firstRow, schema, slices, encoded } = content;
  const rows = slices[0]!.rows;
  const key = blockBounds(schema, schema.key, slices);
  const known = blockBounds(schema, schema.knownKey, slices);
  const footer = encodeFooter(schema, encoded, [key, known]);
  const trailer = new Uint8Array(SEGMENT_TRAILER_BYTES);
  const view = new DataView(trailer.buffer);
  view.setUint32(0, footer.byteLength, true);
  view.setUint32(4, checksumOf(footer), true);
  view.setBigUint64(8, BigInt(firstRow), true);
  view.setUint32(16, rows, true);
  view.setUint32(
    20,
    flagsOf(key?.all, FLAG_KEY, FLAG_KEY_SORTED) | flagsOf(known?.all, FLAG_KNOWN, FLAG_KNOWN_SORTED),
    true,
  );
  for (const [at, bounds] of [[24, key?.all] as const, [40, known?.all] as const]) {
    view.setBigInt64(at, bounds?.min ?? 0n, true);
    view.setBigInt64(at + 8, bounds?.max ?? 0n, true);
  }
  const bodyBytes = encoded.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  view.setBigUint64(56, BigInt(SEGMENT_HEAD_BYTES + bodyBytes), true);
  view.setUint32(64, 0, true);
  view.setUint32(68, checksumOf(trailer.subarray(0, 68)), true);
  view.setBigUint64(72, SEGMENT_MAGIC, true);
  return Buffer.concat([encodeHead(storeId), ...encoded.map(({ bytes }) => bytes), footer, trailer]);
}

function flagsOf(bounds: KeyBounds | undefined, present: number, sorted: number): number {
  return bounds === undefined ? 0 : present | (bounds.sorted ? sorted : 0);
}

function encodeHead(storeId: Uint8Array): Uint8Array {
  const head = new Uint8Array(SEGMENT_HEAD_BYTES);
  const view = new DataView(head.buffer);
  view.setBigUint64(0, SEGMENT_MAGIC, true);
  view.setUint32(8, SEGMENT_VERSION, true);
  head.set(storeId, 12);
  view.setUint32(28, checksumOf(head.subarray(0, 28)), true);
  return head;
}

interface BlockBounds {
  column: number;
  all: KeyBounds;
  blocks: KeyBounds[];
}

/** The bounds of a key column, of all rows and of each block of them. */
function blockBounds(
  schema: Schema,
  name: string | undefined,
  slices: readonly ColumnSlice[],
): BlockBounds | undefined {
  if (name === undefined) return undefined;
  const column = schema.columns.findIndex((each) => each.name === name);
  const { values, rows } = slices[column]!;
  const words = new Int32Array(values.buffer, values.byteOffset, rows * 2);
  const all = new KeyBounds();
  const blocks: KeyBounds[] = [];
  for (let row = 0; row < rows; row++) {
    if (row % BLOCK_ROWS === 0) blocks.push(new KeyBounds());
    all.add(words[2 * row + 1]!, words[2 * row]!);
    blocks.at(-1)!.add(words[2 * row + 1]!, words[2 * row]!);
  }
  return { column, all, blocks };
}

/**
 * Columns: count, then of each its name, type, flags, list size, the bytes it takes, their checksum, the columns it is
 * decoded with, and how it is stored unless the flags say that it is as the one before. Then for the key and the known time: 1 + column (0: none), and each block's least key and
 * span, the first from 0 and each other from the block before.
 */
function encodeFooter(
  schema: Schema,
  encoded: readonly EncodedColumn[],
  indexes: readonly (BlockBounds | undefined)[],
): Uint8Array {
  const sink = new ByteSink();
  const places = new Map(schema.columns.map(({ name }, place) => [name, place]));
  sink.varint(encoded.length);
  for (const [place, column] of schema.columns.entries()) {
    const { bytes, encoding, dependsOn } = encoded[place]!;
    putText(sink, column.name);
    const same = place > 0 && encoding === encoded[place - 1]!.encoding;
    sink.u8(TYPE_CODES.indexOf(column.type)).u8((column.nullable ? 1 : 0) | (same ? 2 : 0));
    sink.varint(column.listSize).varint(bytes.byteLength);
    putU32(sink, checksumOf(bytes));
    sink.varint(dependsOn.length);
    for (const name of dependsOn) sink.varint(places.get(name)!);
    if (!same) putText(sink, encoding);
  }
  for (const index of indexes) {
    sink.varint(index === undefined ? 0 : index.column + 1);
    let previous = 0n;
    for (const { min, max } of index?.blocks ?? []) {
      sink.varint64(zigzag(min - previous)).varint64(max - min);
      previous = min;
    }
  }
  return sink.finish();
}

/** Small differences, up or down, as small unsigned numbers; wraps at 64 bits. */
function zigzag(value: bigint): bigint {
  const wrapped = BigInt.asIntN(64, value);
  return BigInt.asUintN(64, (wrapped << 1n) ^ (wrapped >> 63n));
}

function putText(sink: ByteSink, text: string): void {
  const bytes = new TextEncoder().encode(text);
  sink.varint(bytes.byteLength).bytes(bytes);
}

function putU32(sink: ByteSink, value: number): void {
  for (let shift = 0; shift < 32; shift += 8) sink.u8((value >>> shift) & 255);
}

/** The column as the column codec takes it. */
export function codecType(column: Column) {
  const storage = storageOf(column.type);
  if (storage === undefined) return column.type as "bool" | "utf8" | "binary";
  return column.listSize === 0 ? storage : { fixedSizeList: { type: storage, size: column.listSize } };
}
