// Which contexts share a table. Contexts differ in how far their residuals spread, so they are put in that order, and
// neighbours are joined, the cheapest pair first, while a table of their own costs more than it saves, and until there
// are no more clusters than tables. The counts of a cluster are those of its contexts together, in the first one's row.

import { CONTEXT_COUNT, COUNTS, TABLES_MAX } from "./memory";
import { ROW, rowBits, rowTokens, rowTotal } from "./entropy";

/** Bits that a table takes, about: for itself and for every token it has. */
const TABLE_BITS: f32 = 14;
const TABLE_TOKEN_BITS: f32 = 5;

/** Contexts that occur, from the narrowest to the widest, u8; and of those the first of each cluster. */
const SORTED = memory.data(128);
const ORDER = memory.data(128);
/** By place in that order: spread, bits, and what joining with the next one costs, f32. */
const SPREAD = memory.data(128 * 4);
const COST = memory.data(128 * 4);
const JOIN = memory.data(128 * 4);
/** By context, u8: whether it occurs; whether it is the first of its cluster; and the cluster it belongs to. */
export const OCCURS = memory.data(128);
const LEADS = memory.data(128);
export const CLUSTER_OF = memory.data(128);
/** By cluster: the address of its counts. */
const ROWS = memory.data(16 * 4);
/** Counts of a pair together. */
const PAIR = memory.data(128, 16);

export let clusterCount: u32 = 0;

// @ts-ignore: decorator
@inline
function rowOf(place: u32): usize {
  return COUNTS + <usize>load<u8>(ORDER + place) * ROW;
}

// @ts-ignore: decorator
@inline
function costAt(place: u32): f32 {
  return load<f32>(COST + (<usize>place << 2));
}

export function clusterRow(cluster: u32): usize {
  return load<u32>(ROWS + (<usize>cluster << 2));
}

/** Bits of a row's tokens and of their table. */
function costOf(row: usize): f32 {
  const bits = rowBits(row);
  return bits + TABLE_BITS + <f32>rowTokens * TABLE_TOKEN_BITS;
}

/** How far a row's tokens lie from the middle, on average; tokens for far and unchanged count as one end and the other. */
function spreadOf(row: usize, total: u32): f32 {
  let sum: u32 = load<u32>(row, 30 * 4) * 15;
  for (let token: u32 = 0; token < 15; token++) {
    sum += (load<u32>(row + (<usize>token << 2)) + load<u32>(row + (<usize>(29 - token) << 2))) * (15 - token);
  }
  return <f32>sum / <f32>total;
}

/** Puts the contexts that occur in order; returns how many there are. */
function sortContexts(contexts: u32, step: u32): u32 {
  let used: u32 = 0;
  for (let context: u32 = 0; context < contexts; context += step) {
    const row = COUNTS + <usize>context * ROW;
    const cost = costOf(row);
    store<u8>(OCCURS + context, u8(rowTotal != 0));
    if (rowTotal == 0) continue;
    const spread = spreadOf(row, rowTotal);
    let place = used++;
    for (; place > 0 && load<f32>(SPREAD + (<usize>(place - 1) << 2)) > spread; place--) {
      const to = <usize>place << 2;
      store<f32>(SPREAD + to, load<f32>(SPREAD + to - 4));
      store<f32>(COST + to, load<f32>(COST + to - 4));
      store<u8>(SORTED + place, load<u8>(SORTED + place - 1));
    }
    store<f32>(SPREAD + (<usize>place << 2), spread);
    store<f32>(COST + (<usize>place << 2), cost);
    store<u8>(SORTED + place, context);
    store<u8>(LEADS + context, 1);
  }
  memory.copy(ORDER, SORTED, used);
  return used;
}

function sumRows(target: usize, a: usize, b: usize): void {
  for (let at: usize = 0; at < ROW; at += 16) v128.store(target + at, v128.add<i32>(v128.load(a + at), v128.load(b + at)));
}

/** What joining the cluster at `place` with the next one adds to the bits; negative where it saves. */
function considerJoining(place: u32): void {
  sumRows(PAIR, rowOf(place), rowOf(place + 1));
  store<f32>(JOIN + (<usize>place << 2), costOf(PAIR) - costAt(place) - costAt(place + 1));
}

/** Joins the cluster at `place` with the next one, of `clusters`. */
function joinAt(place: u32, clusters: u32): void {
  const at = <usize>place;
  store<u8>(LEADS + load<u8>(ORDER + at, 1), 0);
  sumRows(rowOf(place), rowOf(place), rowOf(place + 1));
  store<f32>(COST + (at << 2), costAt(place) + costAt(place + 1) + load<f32>(JOIN + (at << 2)));
  const moved = <usize>clusters - at - 2;
  memory.copy(ORDER + at + 1, ORDER + at + 2, moved);
  memory.copy(COST + (at << 2) + 4, COST + (at << 2) + 8, moved << 2);
  memory.copy(JOIN + (at << 2), JOIN + (at << 2) + 4, moved << 2);
}

/** Clusters every `step`-th of the first `contexts` contexts by their COUNTS. */
export function clustersFind(contexts: u32, step: u32): void {
  let clusters = sortContexts(contexts, step);
  const used = clusters;
  for (let place: u32 = 0; place + 1 < clusters; place++) considerJoining(place);
  while (clusters > 1) {
    let best: u32 = 0;
    for (let place: u32 = 1; place + 1 < clusters; place++) {
      if (load<f32>(JOIN + (<usize>place << 2)) < load<f32>(JOIN + (<usize>best << 2))) best = place;
    }
    if (clusters <= TABLES_MAX && load<f32>(JOIN + (<usize>best << 2)) >= 0) break;
    joinAt(best, clusters);
    clusters--;
    if (best > 0) considerJoining(best - 1);
    if (best + 1 < clusters) considerJoining(best);
  }
  clusterCount = clusters;
  let cluster: u32 = 0;
  for (let i: u32 = 0; i < used; i++) {
    const context = <u32>load<u8>(SORTED + i);
    if (load<u8>(LEADS + context)) {
      store<u32>(ROWS + (<usize>cluster << 2), <u32>(COUNTS + <usize>context * ROW));
      cluster++;
    }
    store<u8>(CLUSTER_OF + context, <u8>(cluster - 1));
  }
}
