import type { Part, Which } from "./parts.ts";
import type { Column } from "./schema.ts";
import { BLOCK_ROWS } from "./segment-format.ts";

/** Keys from `from` on and before `to`; absent: unbounded. In the key column's unit. */
export interface KeyRange {
  from?: bigint | undefined;
  to?: bigint | undefined;
}

/** Rows of a part: a run, or the numbers of single rows in rising order. */
export type Selection = { from: number; to: number } | Int32Array;

/** The rows of a part whose keys lie in a range; `undefined` for none. Reads as few blocks as bounds allow. */
export function selectRows(part: Part, column: Column, which: Which, range: KeyRange): Selection | undefined {
  const bounds = part.bounds(which);
  if (bounds === undefined || part.rows === 0) return undefined;
  const { from, to } = range;
  if ((from !== undefined && bounds.max < from) || (to !== undefined && bounds.min >= to)) return undefined;
  if ((from === undefined || bounds.min >= from) && (to === undefined || bounds.max < to)) {
    return { from: 0, to: part.rows };
  }
  if (!bounds.sorted) return scan(part, column, which, range);
  const first = from === undefined ? 0 : firstAtOrAfter(part, column, which, from);
  const end = to === undefined ? part.rows : firstAtOrAfter(part, column, which, to);
  return first < end ? { from: first, to: end } : undefined;
}

/** In a part whose keys never fall: the first row with a key of at least `key`, or the number of rows. */
function firstAtOrAfter(part: Part, column: Column, which: Which, key: bigint): number {
  let low = 0;
  let high = Math.ceil(part.rows / BLOCK_ROWS);
  // The first block that holds a key of at least `key`.
  while (low < high) {
    const middle = (low + high) >> 1;
    if (part.blockBounds(which, middle).max < key) low = middle + 1;
    else high = middle;
  }
  if (low * BLOCK_ROWS >= part.rows) return part.rows;
  const keys = part.block(column, low).values as BigInt64Array;
  return low * BLOCK_ROWS + lowerBound(keys, key);
}

/** The place of the first of sorted keys that is at least `key`. */
export function lowerBound(keys: BigInt64Array, key: bigint): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function scan(part: Part, column: Column, which: Which, { from, to }: KeyRange): Int32Array | undefined {
  const rows: number[] = [];
  for (let block = 0; block * BLOCK_ROWS < part.rows; block++) {
    const bounds = part.blockBounds(which, block);
    if ((from !== undefined && bounds.max < from) || (to !== undefined && bounds.min >= to)) continue;
    const keys = part.block(column, block).values as BigInt64Array;
    for (let i = 0; i < keys.length; i++) {
      const key = keys[i]!;
      if ((from === undefined || key >= from) && (to === undefined || key < to))
        rows.push(block * BLOCK_ROWS + i);
    }
  }
  return rows.length === 0 ? undefined : Int32Array.from(rows);
}
