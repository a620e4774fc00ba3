import { ByteSink } from "../series/columns/byte-sink.ts";
import {
  type ColumnManifest,
  type FeatureManifest,
  LIST_CODE,
  MANIFEST_MAGIC,
  type Piece,
  TIME_UNITS,
  TYPE_CODES,
} from "./format.ts";

export function encodeManifest({ rows, columns, tail }: FeatureManifest): Uint8Array {
  const sink = new ByteSink().bytes(Buffer.from(MANIFEST_MAGIC)).varint(rows).varint(columns.length);
  for (const column of columns) {
    putField(sink, column);
    for (const { form, pieces } of column.chunks) putPieces(sink.u8(form), pieces);
  }
  sink.varint(tail.length);
  for (const group of tail) putPieces(sink.varint(group.columns), group.pieces);
  return sink.finish();
}

function putField(sink: ByteSink, { name, type, unit, textBytes, hasNulls }: ColumnManifest): void {
  const bytes = Buffer.from(name);
  sink.varint(bytes.length).bytes(bytes);
  if (typeof type === "object") {
    const { type: item, size } = type.fixedSizeList;
    sink.u8(LIST_CODE).u8(TYPE_CODES.indexOf(item)).varint(size);
  } else sink.u8(TYPE_CODES.indexOf(type));
  sink.u8(unit === undefined ? 0 : 1 + TIME_UNITS.indexOf(unit));
  sink.varint(textBytes).u8(hasNulls ? 1 : 0);
}

function putPieces(sink: ByteSink, pieces: Piece[]): void {
  sink.varint(pieces.length);
  for (const { rawBytes, digest } of pieces) sink.varint(rawBytes).bytes(digest);
}
