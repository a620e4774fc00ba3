// Rows from their bins, block by block: values, what predicts them added, and numbers of the column's type made of them,
// each while the block lies in the nearest cache.

import { columnValues } from "./columns-bins";
import { columnFromDecimal, columnNarrow } from "./columns-lattice";
import { BLOCK, BLOCK_INTEGERS, BLOCK_REFERENCE, ROWS_STATE } from "./columns-memory";
import { columnRestore, columnScale } from "./columns-predict";

// At ROWS_STATE: x[-1] i64, the step to it i64; what raw bits are multiplied by, i64; the other column's multiplier i64,
// divisor f64 and origin i64; the decimals' scale f64.
const BEFORE: usize = ROWS_STATE, STEP: usize = ROWS_STATE + 8, MULTIPLIER: usize = ROWS_STATE + 16;
const Y_MULTIPLIER: usize = ROWS_STATE + 24, Y_DIVISOR: usize = ROWS_STATE + 32, Y_ORIGIN: usize = ROWS_STATE + 40;
const SCALE: usize = ROWS_STATE + 48;

const DELTA: u32 = 1, DELTA_OF_DELTA: u32 = 2, REFERENCE_DELTA: u32 = 4;

/** What numbers are made of integers: none, decimals of SCALE, or those of a type (its number plus MADE_OF_TYPE). */
const MADE_NONE: u32 = 0, MADE_DECIMAL: u32 = 1, MADE_DECIMAL_SINGLE: u32 = 2, MADE_OF_TYPE: u32 = 16;

/** Numbers of `count` integers; `made` as above, not none. */
export function columnMake(from: usize, to: usize, count: usize, made: u32): void {
  if (made == MADE_DECIMAL || made == MADE_DECIMAL_SINGLE) {
    columnFromDecimal(from, to, count, load<f64>(SCALE), made == MADE_DECIMAL_SINGLE);
  } else columnNarrow(from, to, count, made - MADE_OF_TYPE);
}

/**
 * Restores `count` rows whose bins stand at `tokens` and whose raw bits go on at bit `bit` of `raw`; returns the bit after the
 * last. `y`: the other column's integers for these rows, 0 without one; `first`: whether no row lies before them. Integers
 * are kept at `keep` unless it is 0. Numbers, each of `width` bytes, go to `to` unless that is 0; without any to be made,
 * integers. State is left for the rows that follow, except after a part of a block.
 */
export function columnRows(
  kind: u32, tokens: usize, count: usize, raw: usize, bit: usize, widest: u32, y: usize, first: bool, keep: usize, made: u32,
  width: usize, to: usize,
): usize {
  const isScaled = load<i64>(Y_MULTIPLIER) != 1 || load<f64>(Y_DIVISOR) != 0;
  for (let done: usize = 0; done < count; done += BLOCK) {
    const rows = min(BLOCK, count - done);
    const target = keep != 0 ? keep : made == MADE_NONE ? to : BLOCK_INTEGERS;
    const before = load<i64>(BEFORE);
    bit = columnValues(tokens + done, rows, raw, bit, load<i64>(MULTIPLIER), widest, kind == DELTA, before, target);
    if (kind > DELTA) {
      const reference = isScaled && y != 0 ? scaled(y, rows, first) : y;
      columnRestore(kind, target, reference, target, rows, before, load<i64>(STEP), first);
      if (kind == REFERENCE_DELTA) {
        const at = (rows - 1) << 3;
        store<i64>(BEFORE, load<i64>(target + at) - load<i64>(reference + at));
      }
    }
    if (kind == DELTA || kind == DELTA_OF_DELTA) {
      const last = load<i64>(target + ((rows - 1) << 3));
      store<i64>(BEFORE, last);
      if (rows > 1) store<i64>(STEP, last - load<i64>(target + ((rows - 2) << 3)));
    }
    if (made != MADE_NONE && to != 0) columnMake(target, to, rows, made);
    first = false;
    if (keep != 0) keep += rows << 3;
    if (to != 0) to += rows * width;
    if (y != 0) y += rows << 3;
  }
  return bit;
}

/** The other column's integers in this one's units, and that of the row before. */
function scaled(y: usize, rows: usize, first: bool): usize {
  const at = BLOCK_REFERENCE + 16;
  const back: usize = first ? 0 : 8;
  columnScale(
    y - back, at - back, rows + (back >> 3), load<i64>(Y_MULTIPLIER), load<f64>(Y_DIVISOR), load<i64>(Y_ORIGIN),
  );
  return at;
}
