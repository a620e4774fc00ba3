import type { Codec } from "../../codec/codec.ts";
import { bitAt } from "./bitmap.ts";
import { ByteSink } from "./byte-sink.ts";
import { writeBytes } from "./bytes-blocks.ts";
import { bytesOf, type ColumnValues, type NumberArray, numbersOf } from "./column.ts";
import { checkColumn } from "./column-check.ts";
import { FLAG_DICTIONARY, FLAG_VALIDITY } from "./column-format.ts";
import { dictionaryOf } from "./dictionary.ts";
import { writeNumbers } from "./numbers.ts";

export type Profile = "light" | "compact";

export function writeColumn(
  codec: Codec,
  column: ColumnValues,
  profile: Profile,
): { encoding: string; bytes: Uint8Array } {
  checkColumn(column);
  const validity = nullsOf(column);
  const sink = new ByteSink();
  const dictionary = dictionaryOf(column);
  sink.u8((validity ? FLAG_VALIDITY : 0) | (dictionary ? FLAG_DICTIONARY : 0));
  if (validity) writeNumbers(codec, sink, "u8", validity);
  let encoding: string;
  const numbers = numbersOf(column.type);
  if (numbers) {
    encoding = writeNumbers(codec, sink, numbers.type, withoutNulls(column, numbers.perRow, validity));
  } else if (column.type === "bool") {
    const bits = bytesOf(column.values).subarray(0, Math.ceil(column.rows / 8));
    encoding = `bits ${writeNumbers(codec, sink, "u8", bits)}`;
  } else if (dictionary) {
    sink.varint(dictionary.lengths.length);
    writeNumbers(codec, sink, "u32", dictionary.lengths);
    writeBytes(codec, sink, dictionary.bytes, profile);
    encoding = `dictionary(${dictionary.lengths.length}) ${writeNumbers(codec, sink, "u32", dictionary.indices)}`;
  } else {
    const offsets = column.offsets!;
    const lengths = new Uint32Array(column.rows);
    for (let i = 0; i < column.rows; i++) lengths[i] = offsets[i + 1]! - offsets[i]!;
    const said = writeNumbers(codec, sink, "u32", lengths);
    const bytes = bytesOf(column.values).subarray(offsets[0]!, offsets[column.rows]!);
    encoding = `lengths ${said}, bytes ${writeBytes(codec, sink, bytes, profile)}`;
  }
  return { encoding: validity ? `nullable ${encoding}` : encoding, bytes: sink.finish() };
}

/** The validity bitmap, its unused bits 0; undefined when no row is null. */
function nullsOf({ rows, validity }: ColumnValues): Uint8Array | undefined {
  if (validity === undefined) return undefined;
  const bits = validity.slice(0, Math.ceil(rows / 8));
  if ((rows & 7) !== 0) bits[bits.length - 1]! &= (1 << (rows & 7)) - 1;
  let valid = 0;
  for (let i = 0; i < rows; i++) if (bitAt(bits, i)) valid++;
  return valid === rows ? undefined : bits;
}

/** What lies under a null has no meaning, so it repeats what came before: nothing predicts better. */
function withoutNulls({ values, rows }: ColumnValues, perRow: number, validity?: Uint8Array): NumberArray {
  if (validity === undefined) return values;
  const copy = values.slice() as Float64Array;
  for (let row = 0; row < rows; row++) {
    if (bitAt(validity, row)) continue;
    if (row > 0) copy.copyWithin(row * perRow, (row - 1) * perRow, row * perRow);
  }
  return copy;
}
