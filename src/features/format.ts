/**
 * A version of a feature table. `docs/formats/features.md` has the same layout with a worked example.
 *
 *     manifest = "VARVEFT1" rows columnCount column* tail
 *       column = name type unit textBytes hasNulls chunk{large} chunk{small}
 *       name   = varint length, UTF-8
 *       type   = one byte of TYPE_CODES; for a fixed-size list LIST_CODE, the number's code, varint size
 *       unit   = one byte: 0 none, else 1 + place in TIME_UNITS
 *       chunk  = form (0 plain, 1 encoded), varint pieceCount, piece*
 *       tail   = varint groupCount, group*; group = varint columnCount, varint pieceCount, piece*
 *       piece  = varint rawBytes, 32 bytes digest
 *
 * Rows are cut into large chunks of 65,536, then small ones of 4,096, each of one column; the rest is the tail. A
 * plain chunk is the column's little-endian numbers as they lie in memory; an encoded one is what the column codec
 * writes. Each is stored in pieces of at most 1 MiB.
 *
 * The tail's columns lie in groups, a chunk each, uncompressed, so that the tail of a table that grew by a row is
 * stored as its difference from the one before:
 *
 *     tail group, for each of its columns = nullBytes nulls valueBytes values [offsets]
 *       nullBytes varint, 0 when no row is null; valueBytes varint; offsets u32 × (rows + 1) for utf8 and binary
 */
import { StoreError } from "../errors.ts";
import { FEATURE_CHUNK_ROWS, FEATURE_SMALL_CHUNK_ROWS } from "../limits.ts";
import type { ColumnType, ColumnValues, NumberType } from "../series/columns/column.ts";

export const MANIFEST_MAGIC = "VARVEFT1";
/** A manifest over 1 MiB is stored in pieces: this magic, its size as a varint, the digests of the pieces. */
export const MANIFEST_LIST_MAGIC = "VARVEFL1";

export const TIME_UNITS = ["s", "ms", "us", "ns"] as const;
export type TimeUnit = (typeof TIME_UNITS)[number];

/** Codes never change their meaning. */
export const TYPE_CODES: (NumberType | "bool" | "utf8" | "binary")[] = [
  "f64",
  "f32",
  "i64",
  "u64",
  "i32",
  "u32",
  "i16",
  "u16",
  "i8",
  "u8",
  "bool",
  "utf8",
  "binary",
];
export const LIST_CODE = 255;

export const PLAIN = 0;
export const ENCODED = 1;

/** A column of a feature table; an `i64` with a unit is a timestamp. */
export interface FeatureColumn extends ColumnValues {
  unit?: TimeUnit;
}

export interface FeatureTable {
  rows: number;
  columns: FeatureColumn[];
}

export interface Piece {
  rawBytes: number;
  digest: Uint8Array;
}

export interface ColumnChunk {
  form: typeof PLAIN | typeof ENCODED;
  pieces: Piece[];
}

export interface ColumnManifest {
  name: string;
  type: ColumnType;
  unit?: TimeUnit;
  /** Bytes of all rows' texts; 0 for numbers. */
  textBytes: number;
  hasNulls: boolean;
  chunks: ColumnChunk[];
}

export interface TailGroup {
  columns: number;
  pieces: Piece[];
}

export interface FeatureManifest {
  rows: number;
  columns: ColumnManifest[];
  tail: TailGroup[];
}

/** All pieces a table is read from, in the order of the manifest. */
export function* piecesOf({ columns, tail }: Pick<FeatureManifest, "columns" | "tail">): Iterable<Piece> {
  for (const column of columns) for (const chunk of column.chunks) yield* chunk.pieces;
  for (const group of tail) yield* group.pieces;
}

/** Where the row chunks of a table begin and end; what follows the last is the tail. */
export function chunkBounds(rows: number): { bounds: [from: number, to: number][]; tailFrom: number } {
  const bounds: [number, number][] = [];
  let at = 0;
  for (const size of [FEATURE_CHUNK_ROWS, FEATURE_SMALL_CHUNK_ROWS]) {
    for (; at + size <= rows; at += size) bounds.push([at, at + size]);
  }
  return { bounds, tailFrom: at };
}

export function corruptManifest(what: string): StoreError {
  return new StoreError("ERR_STORE_CORRUPT", `a feature manifest is damaged: ${what}`, {
    hint: "Run `varve check --read-data` to see which versions are affected.",
  });
}
