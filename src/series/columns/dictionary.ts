import { Buffer } from "node:buffer";
import { bytesOf, type ColumnValues } from "./column.ts";

export interface Dictionary {
  /** Bytes of each distinct value, in the order of their first rows. */
  lengths: Uint32Array;
  bytes: Uint8Array;
  /** Which of them each row has. */
  indices: Uint32Array;
}

/** Distinct values may be this share of the rows; past it the rows are stored as they are. */
const DISTINCT_SHARE_MAX = 1 / 3;

/** The distinct values of a utf8 or binary column, or undefined where most rows differ. */
export function dictionaryOf({ type, rows, values, offsets }: ColumnValues): Dictionary | undefined {
  if ((type !== "utf8" && type !== "binary") || offsets === undefined) return undefined;
  const bytes = bytesOf(values);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const known = new Map<string, number>();
  const indices = new Uint32Array(rows);
  const firsts: number[] = [];
  for (let row = 0; row < rows; row++) {
    const key = text.toString("latin1", offsets[row], offsets[row + 1]);
    let index = known.get(key);
    if (index === undefined) {
      index = known.size;
      if (index >= rows * DISTINCT_SHARE_MAX) return undefined;
      known.set(key, index);
      firsts.push(row);
    }
    indices[row] = index;
  }
  const lengths = Uint32Array.from(firsts, (row) => offsets[row + 1]! - offsets[row]!);
  return {
    lengths,
    bytes: Buffer.concat(firsts.map((row) => bytes.subarray(offsets[row], offsets[row + 1]))),
    indices,
  };
}
