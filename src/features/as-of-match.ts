/** Instants in ascending units: 64-bit integers, or numbers. */
export type Instants = BigInt64Array | Float64Array;

export interface AsOfSides {
  left: Instants;
  /** When what a right row tells happened. */
  right: Instants;
  /** When a right row came to be known; the same instant as it happened when absent. */
  known?: Instants;
  /** Rows match only within the same key; -1 matches nothing. One key for all when absent. */
  leftKeys?: Int32Array;
  rightKeys?: Int32Array;
  keys?: number;
  /** Rows without an instant; they match nothing. */
  leftMissing?: (row: number) => boolean;
  rightMissing?: (row: number) => boolean;
  /** The right row may have happened at most this much before. */
  tolerance?: bigint | number;
}

/**
 * For each left row, the right row that was the newest then: the latest that had happened and was known at the left
 * row's instant, or -1. Never one that came later, so nothing looks ahead.
 *
 * Of right rows that happened at the same instant the one known last counts, then the one that stands last. Both
 * sides may come in any order. One sweep over both in order of time, each row of the right taken in when it is
 * available: at the later of its two instants.
 */
export function matchAsOf(sides: AsOfSides): Int32Array {
  const { left, right, known = right, leftKeys, rightKeys, keys = 1 } = sides;
  const matches = new Int32Array(left.length).fill(-1);
  const available = laterOf(right, known);
  const leftOrder = order(left, sides.leftMissing);
  const rightOrder = order(available, sides.rightMissing);
  const best = new Int32Array(Math.max(1, keys)).fill(-1);
  let next = 0;
  for (const row of leftOrder) {
    const now = left[row]!;
    for (; next < rightOrder.length && available[rightOrder[next]!]! <= now; next++) {
      const candidate = rightOrder[next]!;
      const key = rightKeys === undefined ? 0 : rightKeys[candidate]!;
      if (key < 0) continue;
      const current = best[key]!;
      if (current < 0 || isNewer(right, known, candidate, current)) best[key] = candidate;
    }
    const key = leftKeys === undefined ? 0 : leftKeys[row]!;
    const found = key < 0 ? -1 : best[key]!;
    if (found >= 0 && within(now, right[found]!, sides.tolerance)) matches[row] = found;
  }
  return matches;
}

function isNewer(right: Instants, known: Instants, candidate: number, current: number): boolean {
  const a = right[candidate]!;
  const b = right[current]!;
  if (a !== b) return a > b;
  const knownA = known[candidate]!;
  const knownB = known[current]!;
  return knownA === knownB ? candidate > current : knownA > knownB;
}

function within(
  now: bigint | number,
  then: bigint | number,
  tolerance: bigint | number | undefined,
): boolean {
  if (tolerance === undefined) return true;
  if (typeof now === "bigint") return now - (then as bigint) <= BigInt(tolerance);
  return now - (then as number) <= Number(tolerance);
}

function laterOf(right: Instants, known: Instants): Instants {
  if (right === known) return right;
  const later = right.slice() as Float64Array;
  const other = known as Float64Array;
  for (let row = 0; row < later.length; row++) if (other[row]! > later[row]!) later[row] = other[row]!;
  return later;
}

/** The rows that have an instant, by instant; equal ones as they stand. */
function order(instants: Instants, missing?: (row: number) => boolean): Uint32Array {
  const rows = new Uint32Array(instants.length);
  let count = 0;
  let sorted = true;
  for (let row = 0; row < instants.length; row++) {
    const instant = instants[row]!;
    if (missing?.(row) === true || Number.isNaN(instant)) continue;
    if (sorted && count > 0 && instants[rows[count - 1]!]! > instant) sorted = false;
    rows[count++] = row;
  }
  const present = rows.subarray(0, count);
  if (sorted) return present;
  return present.sort((a, b) => {
    const x = instants[a]!;
    const y = instants[b]!;
    return x < y ? -1 : x > y ? 1 : a - b;
  });
}
