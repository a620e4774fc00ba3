import type { PatchRuns } from "../src/codec/encodings/patch.ts";
import type { RowSet } from "./touched-rows.ts";

/** Bounds of the runs found last; one a thread. */
let bounds = new Int32Array(512);

/**
 * Touched rows that lie in the chunk of `rawBytes` bytes at `offset` of the file, as runs. Their bounds lie in memory that
 * the next call writes again.
 */
export function touchedRuns(sets: readonly RowSet[], offset: number, rawBytes: number): PatchRuns {
  let count = 0;
  let sorted = true;
  for (const set of sets) {
    const { rowBytes, bits } = set;
    const base = set.offset - offset;
    const first = Math.max(0, Math.floor(-base / rowBytes));
    const end = Math.min(bits.length * 32, Math.ceil((rawBytes - base) / rowBytes));
    for (let row = nextBit(bits, first, end); row < end; row = nextBit(bits, row + 1, end)) {
      const from = Math.max(0, base + row * rowBytes);
      const to = Math.min(rawBytes, base + (row + 1) * rowBytes);
      if (count > 0 && bounds[count * 2 - 1]! === from) {
        bounds[count * 2 - 1] = to;
        continue;
      }
      if (count > 0 && from < bounds[count * 2 - 1]!) sorted = false;
      if (bounds.length < (count + 1) * 2) bounds = widened(bounds);
      bounds[count * 2] = from;
      bounds[count * 2 + 1] = to;
      count += 1;
    }
  }
  if (!sorted) count = joined(bounds, count);
  return { unit: unitOf(bounds, count), count, bounds };
}

/** Tensors that share a chunk may be named in any order. */
function joined(list: Int32Array, count: number): number {
  const order = Array.from({ length: count }, (_, i) => [list[i * 2]!, list[i * 2 + 1]!] as const);
  order.sort((a, b) => a[0] - b[0]);
  let size = 0;
  for (const [from, to] of order) {
    if (size > 0 && list[size * 2 - 1] === from) {
      list[size * 2 - 1] = to;
      continue;
    }
    list[size * 2] = from;
    list[size * 2 + 1] = to;
    size += 1;
  }
  return size;
}

/** The largest number of bytes that divides every bound: the fewer units, the shorter their numbers. */
function unitOf(list: Int32Array, count: number): number {
  let unit = 0;
  for (let i = 0; i < count * 2; i++) {
    const bound = list[i]!;
    if (unit === 0 || bound % unit !== 0) unit = gcd(unit, bound);
  }
  return unit || 1;
}

function gcd(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

function widened(list: Int32Array): Int32Array<ArrayBuffer> {
  const wider = new Int32Array(list.length * 2);
  wider.set(list);
  return wider;
}

/** The first set bit from `from` on, or `end`. */
function nextBit(bits: Uint32Array, from: number, end: number): number {
  let at = from;
  while (at < end) {
    const word = bits[at >>> 5]! >>> (at & 31);
    if (word !== 0) return Math.min(end, at + 31 - Math.clz32(word & -word));
    at = (at | 31) + 1;
  }
  return end;
}
