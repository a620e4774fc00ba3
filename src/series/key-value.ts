import type { Column } from "./schema.ts";
import { unitNs } from "./schema.ts";

/**
 * A 64-bit signed integer as its two halves, `hi * 2^32 + lo`: what a feed handler has in hand without making a
 * bigint for every row. `lo` counts as unsigned, `hi` as signed.
 */
export interface Pair {
  hi: number;
  lo: number;
}

/** -1, 0 or 1, comparing 64-bit integers by their halves; `lo` may be given signed or unsigned. */
export function comparePairs(aHi: number, aLo: number, bHi: number, bLo: number): number {
  if (aHi !== bHi) return aHi < bHi ? -1 : 1;
  const a = aLo >>> 0;
  const b = bLo >>> 0;
  return a === b ? 0 : a < b ? -1 : 1;
}

export function pairToBigInt(hi: number, lo: number): bigint {
  return (BigInt(hi) << 32n) | BigInt(lo >>> 0);
}

/** What a scan of a key column learns: its bounds, and whether it never falls. */
export class KeyBounds {
  rows = 0;
  sorted = true;
  minHi = 0;
  minLo = 0;
  maxHi = 0;
  maxLo = 0;
  lastHi = 0;
  lastLo = 0;

  add(hi: number, lo: number): void {
    if (this.rows++ === 0) {
      this.minHi = this.maxHi = hi;
      this.minLo = this.maxLo = lo;
    } else {
      if (this.sorted && comparePairs(hi, lo, this.lastHi, this.lastLo) < 0) this.sorted = false;
      if (comparePairs(hi, lo, this.maxHi, this.maxLo) > 0) {
        this.maxHi = hi;
        this.maxLo = lo;
      } else if (comparePairs(hi, lo, this.minHi, this.minLo) < 0) {
        this.minHi = hi;
        this.minLo = lo;
      }
    }
    this.lastHi = hi;
    this.lastLo = lo;
  }

  get min(): bigint {
    return pairToBigInt(this.minHi, this.minLo);
  }

  get max(): bigint {
    return pairToBigInt(this.maxHi, this.maxLo);
  }
}

/** The smallest key at or after a time (`up`), or the largest at or before it, in the column's own unit. */
export function keyFromNs(column: Column, tsNs: bigint, up: boolean): bigint {
  const unit = unitNs(column.type);
  if (unit === undefined || unit === 1n) return tsNs;
  const floor = tsNs >= 0n ? tsNs / unit : -((-tsNs + unit - 1n) / unit);
  return up && floor * unit !== tsNs ? floor + 1n : floor;
}

/** A key as nanoseconds; a counter stays what it is. */
export function keyToNs(column: Column, key: bigint): bigint {
  return key * (unitNs(column.type) ?? 1n);
}
