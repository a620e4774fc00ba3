import type { Part, Which } from "./parts.ts";
import type { Column } from "./schema.ts";
import { BLOCK_ROWS } from "./segment-format.ts";

export interface AsOfQuestion {
  which: Which;
  column: Column;
  /** In the column's unit. */
  key: bigint;
  /** Only rows whose known time is at most this. */
  known?: { column: Column; most: bigint } | undefined;
  /** Keys never fall over the whole series, so that the first part found is the last one to look at. */
  ordered: boolean;
}

interface Found {
  part: Part;
  row: number;
  key: bigint;
}

/**
 * The row with the greatest key at or before a moment; of equal ones the one appended last. Looks at the newest parts
 * first, and into none whose bounds show that it has nothing better.
 */
export function findAsOf(parts: readonly Part[], question: AsOfQuestion): Found | undefined {
  let best: Found | undefined;
  for (let index = parts.length - 1; index >= 0; index--) {
    const part = parts[index]!;
    const bounds = part.bounds(question.which);
    if (bounds === undefined || bounds.min > question.key) continue;
    if (best !== undefined && bounds.max <= best.key) continue;
    const found =
      bounds.sorted && question.known === undefined ? seek(part, question) : search(part, question, best);
    if (found !== undefined && (best === undefined || found.key > best.key)) best = found;
    if (best !== undefined && question.ordered) return best;
  }
  return best;
}

/** In a part whose keys never fall: the last row at or before the key. */
function seek(part: Part, { which, column, key }: AsOfQuestion): Found | undefined {
  let low = 0;
  let high = Math.ceil(part.rows / BLOCK_ROWS) - 1;
  // The last block that begins at or before the key.
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (part.blockBounds(which, middle).min > key) high = middle - 1;
    else low = middle;
  }
  const keys = part.block(column, low).values as BigInt64Array;
  let [from, to] = [0, keys.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (keys[middle]! > key) to = middle;
    else from = middle + 1;
  }
  return from === 0 ? undefined : { part, row: low * BLOCK_ROWS + from - 1, key: keys[from - 1]! };
}

function search(part: Part, question: AsOfQuestion, least: Found | undefined): Found | undefined {
  const { which, column, key, known } = question;
  let best = least;
  for (let block = Math.ceil(part.rows / BLOCK_ROWS) - 1; block >= 0; block--) {
    const bounds = part.blockBounds(which, block);
    if (bounds.min > key || (best !== undefined && bounds.max <= best.key)) continue;
    const keys = part.block(column, block).values as BigInt64Array;
    const knowns = known && (part.block(known.column, block).values as BigInt64Array);
    for (let i = keys.length - 1; i >= 0; i--) {
      const at = keys[i]!;
      if (at > key || (best !== undefined && at <= best.key)) continue;
      if (knowns !== undefined && knowns[i]! > known!.most) continue;
      best = { part, row: block * BLOCK_ROWS + i, key: at };
    }
  }
  return best === least ? undefined : best;
}
