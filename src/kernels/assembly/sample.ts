// Estimates what parameters cost from a sample of a chunk, without coding it.

import { binsBeyondCost, binsSymbols, binsUnchanged, residualAt } from "./bins";
import { mapAll, mapChanged, mapThin } from "./map";
import { CONTEXTS, SYMBOLS } from "./memory";
import { LEVELS, residualPrepare, SHIFTS } from "./residual";

/** Lanes of a sample, about at most; LOGS, which their counts index, has room for a few groups more. */
const SAMPLE_MAX: usize = 4096;
const LOGS_MAX: usize = SAMPLE_MAX + 512;
const CONTEXT_COUNT: u32 = LEVELS * 8;

const COUNTS = memory.data(192 * 16 * 4);
/** n * log2(n), f64. */
const LOGS = memory.data((4096 + 512 + 1) * 8);
let logsFilled = false;

/** Bits that a model costs until it knows its context: some for itself, and some for every symbol it meets. */
const LEARN_CONTEXT: f64 = 20;
const LEARN_SYMBOL: f64 = 20;

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

/** Fills RESIDUALS and CONTEXTS of the sample: again after what the lanes are has changed, not for other bins. */
export function samplePrepare(count: usize, width: usize): void {
  sampled = residualPrepare(count, width, true);
}

/**
 * Bits that the whole chunk would take: the entropy of the sample's symbols, its raw bits, and learning the models.
 * With drift the bins are part of the contexts: prepare first.
 */
export function sampleCost(width: usize): f64 {
  if (!logsFilled) {
    for (let n: usize = 1; n <= LOGS_MAX; n++) store<f64>(LOGS + (n << 3), <f64>n * Math.log2(<f64>n));
    logsFilled = true;
  }
  const lanes = sampled;
  binsSymbols(lanes, width);
  memory.fill(COUNTS, 0, CONTEXT_COUNT * 64);
  for (let i: usize = 0; i < lanes; i++) {
    const at = COUNTS + (((<usize>load<u16>(CONTEXTS + (i << 1)) << 4) + <usize>load<u8>(SYMBOLS + i)) << 2);
    store<u32>(at, load<u32>(at) + 1);
  }
  let entropy: f64 = 0, learning: f64 = 0, raw: u64 = binsBeyondCost(lanes, width);
  for (let context: u32 = 0; context < CONTEXT_COUNT; context++) {
    const at = COUNTS + (<usize>context << 6);
    let total: u32 = 0;
    for (let symbol = 0; symbol < 16; symbol++) {
      const n = load<u32>(at + (symbol << 2));
      if (n == 0) continue;
      total += n;
      entropy -= load<f64>(LOGS + (<usize>n << 3));
      learning += LEARN_SYMBOL;
    }
    if (total == 0) continue;
    raw += <u64>(total - binsUnchanged(at)) * <u64>load<u8>(SHIFTS + (context >> 3));
    entropy += load<f64>(LOGS + (<usize>total << 3));
    learning += LEARN_CONTEXT;
  }
  return (entropy + <f64>raw) * share + learning;
}

const SIZES = memory.data(256 * 4);

/** The threshold by which about nine of ten changed lanes of the sample lie within the bins. */
export function sampleThreshold(width: usize, relative: bool): i32 {
  const lanes = sampled;
  memory.fill(SIZES, 0, 1024);
  let changed: u32 = 0;
  for (let i: usize = 0; i < lanes; i++) {
    const r = residualAt(i, width);
    if (r == 0) continue;
    const level = relative ? 0 : <i32>load<u16>(CONTEXTS + (i << 1)) >> 3;
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
