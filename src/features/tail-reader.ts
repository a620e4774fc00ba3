import { ByteSource } from "../series/columns/byte-source.ts";
import { bytesOf, numbersOf } from "../series/columns/column.ts";
import { type ColumnManifest, corruptManifest, type FeatureColumn, type FeatureManifest } from "./format.ts";
import { putTexts, putValidity } from "./table-memory.ts";

/** A column's rows after its last chunk. */
export interface TailColumn {
  values: Uint8Array;
  offsets: Int32Array | undefined;
  validity: Uint8Array;
}

/** The tails of all columns, by name. @throws `ERR_STORE_CORRUPT` */
export async function readTails(
  { columns, tail }: FeatureManifest,
  rows: number,
  read: (digest: Uint8Array, target: Uint8Array) => void | Promise<void>,
): Promise<Map<string, TailColumn>> {
  const tails = new Map<string, TailColumn>();
  let next = 0;
  for (const group of tail) {
    const bytes = new Uint8Array(group.pieces.reduce((sum, piece) => sum + piece.rawBytes, 0));
    let at = 0;
    for (const { digest, rawBytes } of group.pieces) {
      await read(digest, bytes.subarray(at, at + rawBytes));
      at += rawBytes;
    }
    const source = new ByteSource("feature tail", bytes);
    for (let i = 0; i < group.columns; i++) {
      const column = columns[next++]!;
      tails.set(column.name, readTailColumn(source, column, rows));
    }
    source.finish();
  }
  return tails;
}

function readTailColumn(source: ByteSource, { type }: ColumnManifest, rows: number): TailColumn {
  const validity = source.bytes(source.varint(Math.ceil(rows / 8)));
  const values = source.bytes(source.varint(source.left));
  if (type !== "utf8" && type !== "binary") {
    if (type === "bool" && values.length !== Math.ceil(rows / 8))
      throw source.corrupt("bits of another length");
    return { values, offsets: undefined, validity };
  }
  const offsets = new Int32Array(source.bytes((rows + 1) * 4).slice().buffer);
  for (let row = 0; row < rows; row++) {
    if (offsets[row]! > offsets[row + 1]!) throw source.corrupt("offsets that run backwards");
  }
  if (offsets[0]! < 0 || offsets[rows]! > values.length) throw source.corrupt("offsets past the text");
  return { values, offsets, validity };
}

/** Puts a column's tail behind its chunks, which must be there. */
export function putTail(out: FeatureColumn, { values, offsets, validity }: TailColumn, from: number): void {
  if (validity.length > 0) putValidity(out, validity, from);
  if (offsets !== undefined) putTexts(out, values, offsets, from);
  else if (out.type === "bool") (out.values as Uint8Array).set(values, from >> 3);
  else {
    const { perRow } = numbersOf(out.type)!;
    const target = bytesOf(out.values.subarray(from * perRow));
    if (values.length !== target.length)
      throw corruptManifest(`the tail of column ${JSON.stringify(out.name)} has another size`);
    target.set(values);
  }
}
