import { StoreError } from "../errors.ts";
import { CHUNK_BYTES_MAX, FEATURE_ROWS_MAX, LIST_SIZE_MAX, TABLE_COLUMNS_MAX } from "../limits.ts";
import { ByteSource } from "../series/columns/byte-source.ts";
import type { ColumnType, NumberType } from "../series/columns/column.ts";
import {
  type ColumnChunk,
  type ColumnManifest,
  chunkBounds,
  corruptManifest,
  ENCODED,
  type FeatureManifest,
  LIST_CODE,
  MANIFEST_MAGIC,
  type Piece,
  PLAIN,
  type TailGroup,
  TIME_UNITS,
  TYPE_CODES,
} from "./format.ts";

const DIGEST_BYTES = 32;

/** @throws `ERR_STORE_CORRUPT` for bytes no writer writes, `ERR_STORE_VERSION` for a newer format */
export function decodeManifest(bytes: Uint8Array): FeatureManifest {
  const source = new ByteSource("feature manifest", bytes);
  requireMagic(source);
  const rows = source.varint(FEATURE_ROWS_MAX);
  const { bounds, tailFrom } = chunkBounds(rows);
  const columnCount = source.varint(TABLE_COLUMNS_MAX);
  const columns: ColumnManifest[] = [];
  for (let at = 0; at < columnCount; at++) {
    const field = readField(source);
    const chunks = bounds.map((): ColumnChunk => {
      const form = source.u8();
      if (form !== PLAIN && form !== ENCODED) throw source.corrupt(`unknown form ${form}`);
      return { form, pieces: readPieces(source) };
    });
    columns.push({ ...field, chunks });
  }
  const tail: TailGroup[] = [];
  const groups = source.varint(TABLE_COLUMNS_MAX);
  let covered = 0;
  for (let at = 0; at < groups; at++) {
    const group = { columns: source.varint(TABLE_COLUMNS_MAX), pieces: readPieces(source) };
    covered += group.columns;
    tail.push(group);
  }
  source.finish();
  if (covered !== (tailFrom < rows ? columnCount : 0)) throw corruptManifest("its tail holds other columns");
  return { rows, columns, tail };
}

function requireMagic(source: ByteSource): void {
  const found = Buffer.from(source.bytes(MANIFEST_MAGIC.length)).toString("latin1");
  if (found === MANIFEST_MAGIC) return;
  if (found.startsWith("VARVEFT") && found > MANIFEST_MAGIC) {
    throw new StoreError(
      "ERR_STORE_VERSION",
      `a feature manifest has format ${found}, newer than ${MANIFEST_MAGIC}`,
      {
        hint: "Open the store with the varve that wrote it, or a newer one.",
      },
    );
  }
  throw source.corrupt("its magic is wrong");
}

function readField(source: ByteSource): Omit<ColumnManifest, "chunks"> {
  const name = Buffer.from(source.bytes(source.varint(source.left))).toString("utf8");
  const type = readType(source);
  const unitCode = source.u8();
  if (unitCode > TIME_UNITS.length) throw source.corrupt(`unknown unit ${unitCode}`);
  const textBytes = source.varint(2 ** 31 - 1);
  const hasNulls = source.u8() === 1;
  const unit = TIME_UNITS[unitCode - 1];
  return { name, type, ...(unit === undefined ? {} : { unit }), textBytes, hasNulls };
}

function readType(source: ByteSource): ColumnType {
  const code = source.u8();
  const known = (each: number) => {
    const type = TYPE_CODES[each];
    if (type === undefined) throw source.corrupt(`unknown type ${each}`);
    return type;
  };
  if (code !== LIST_CODE) return known(code);
  const type = known(source.u8()) as NumberType;
  return { fixedSizeList: { type, size: source.varint(LIST_SIZE_MAX) } };
}

function readPieces(source: ByteSource): Piece[] {
  const count = source.varint(Math.ceil(source.left / DIGEST_BYTES));
  return Array.from({ length: count }, () => ({
    rawBytes: source.varint(CHUNK_BYTES_MAX),
    digest: new Uint8Array(source.bytes(DIGEST_BYTES)),
  }));
}
