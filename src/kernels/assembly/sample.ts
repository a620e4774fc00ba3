// Estimates what parameters cost from a sample of a chunk, without coding it.

import { countTokens, ROW, rowBits, rowTokens, rowTotal } from "./entropy";
import { mapAll, mapChanged, mapThin } from "./map";
import { COUNTS, LANE_LEVELS } from "./memory";
import { rawsCost } from "./raw-bits";
import { levelsUsed } from "./coder";
import { hasDrift, residualPrepare } from "./residual";
import { residualAt, tokensFind } from "./tokens";

/** Lanes of a sample, about at most. */
const SAMPLE_MAX: usize = 4096;

/**
 * A sample knows its own frequencies too well: by half a nat for each token of a context, of every time the sample
 * stands for the chunk. And contexts and their share of a table must be told.
 */
const KNOWN_TOKEN: f64 = 0.72;
const TOLD_TOKEN: f64 = 2;
const TOLD_CONTEXT: f64 = 4;

let share: f64 = 1;
let sampled: usize = 0;

/** Marks every so-many-th group of those that a map would keep, so that about `most` lanes (up to 4,096) are left. */
export function sampleMark(count: usize, width: usize, mapped: bool, most: usize): void {
  let lanes = count;
  if (mapped) lanes = mapChanged(count, width) << 4;
  else mapAll(count);
  most = min(most, SAMPLE_MAX);
  const stride = max<usize>((lanes + most - 1) / most, 1);
  mapThin(count, stride);
  share = <f64>stride;
}

/** Fills RESIDUALS and CONTEXTS of the sample: again after what the lanes are has changed, not for other shifts. */
export function samplePrepare(count: usize, width: usize): void {
  sampled = residualPrepare(count, width, true);
}

/**
 * Bits that the whole chunk would take: the entropy of the sample's tokens, its raw bits, and telling the tables.
 * With drift the shifts are part of the contexts: prepare first.
 */
export function sampleCost(width: usize): f64 {
  const lanes = sampled;
  tokensFind(lanes, width, false);
  const contexts = levelsUsed(lanes) << 3;
  countTokens(lanes, contexts);
  let bits = <f64>rawsCost(lanes, width) * share;
  for (let context: u32 = 0; context < contexts; context += hasDrift ? 1 : 8) {
    const entropy = <f64>rowBits(COUNTS + <usize>context * ROW);
    if (rowTotal == 0) continue;
    bits += entropy * share + TOLD_CONTEXT + <f64>(rowTokens - 1) * (KNOWN_TOKEN * share + TOLD_TOKEN);
  }
  return bits;
}

const SIZES = memory.data(256 * 4);

/** The threshold by which about nine of ten changed lanes of the sample have tokens of their own. */
export function sampleThreshold(width: usize, relative: bool): i32 {
  const lanes = sampled;
  memory.fill(SIZES, 0, 1024);
  let changed: u32 = 0;
  for (let i: usize = 0; i < lanes; i++) {
    const r = residualAt(i, width);
    if (r == 0) continue;
    const level = relative ? 0 : <i32>load<u8>(LANE_LEVELS + i);
    const slot = SIZES + (<usize>(<i32>(64 - clz(<u64>(r < 0 ? -r : r))) - level + 128) << 2);
    store<u32>(slot, load<u32>(slot) + 1);
    changed++;
  }
  let within: u32 = 0;
  for (let size: i32 = -128; size < 128; size++) {
    within += load<u32>(SIZES + (<usize>(size + 128) << 2));
    if (within * 10 >= changed * 9) return 3 - size;
  }
  return 0;
}
