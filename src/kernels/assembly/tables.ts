// Tables of token frequencies, one a cluster of contexts, as they are stored, bits from the least significant one on:
//
//   mapped only: how often a group changed, 1-4095 of 4096, in each of the map's eight contexts      12 bits each
//   levels - 1 (4), tables - 1 (4)
//   for each context of these levels (of every level one alone without drift): 0, if its table is that of the same drift
//     one level higher (of level 0: of the context before; of the first: table 0); else 1 and which table (4)
//   for each table: first and last token of 0-29 (5 each; 31 and 0 if none), whether far and unchanged occur (1 each),
//     then the weight of each token from the first to the last, of far, of unchanged, if there:
//     the zigzag of its difference from the weight before (at first: from 24), z: z >> 2 ones, a zero, and z & 3 (2)
//
// A weight of 0 is a token that does not occur, w one whose frequency is proportional to 2^(w / 4). Frequencies are
// out of 4096 and at least 1; what rounding leaves over is the most frequent token's.

import { CLUSTER_OF, clusterCount, clusterRow, OCCURS } from "./clusters";
import { CONTEXT_COUNT, CONTEXTS, PLACES, RANGES, SLOT_COUNT, SLOTS, TABLES, TOKEN_COUNT, TOKENS } from "./memory";
import { BYTES_16 } from "./vectors";

const MAP_CONTEXT_COUNT: u32 = 8;
const WEIGHT_MAX: u32 = 48;
const WEIGHT_FIRST: i32 = 24;
const PLAIN_TOKENS: u32 = 30;
const NO_TOKEN: u32 = 31;
/** 2^43 / f rounded up gives every quotient of a state below f * 2^19 exactly, within 64 bits. */
export const RECIPROCAL_BITS: u64 = 43;

/** Frequencies of the table at hand, u32, and their weights, u8. */
const FREQUENCIES = memory.data(32 * 4, 16);
const WEIGHTS = memory.data(32);
/** By map context, u32: how often a group changed, of 4096. */
export const MAP_FREQUENCIES = memory.data(8 * 4);

let bitsAt: usize = 0;
let bitsFill: u32 = 0;
let bitsEnd: usize = 0;

// @ts-ignore: decorator
@inline
function put(value: u32, bits: u32): void {
  store<u32>(bitsAt, load<u8>(bitsAt) | (value << bitsFill));
  bitsFill += bits;
  bitsAt += bitsFill >> 3;
  bitsFill &= 7;
}

// @ts-ignore: decorator
@inline
function take(bits: u32): u32 {
  const value = (load<u32>(bitsAt) >> bitsFill) & ((1 << bits) - 1);
  bitsFill += bits;
  bitsAt += bitsFill >> 3;
  bitsFill &= 7;
  return value;
}

/** How many levels have contexts that occur, and how many of a level's eight contexts can. */
export function contextsSetup(levels: u32, drift: bool): void {
  levelCount = levels;
  contextStep = drift ? 1 : 8;
}
let levelCount: u32 = 1;
let contextStep: u32 = 1;

/** The table that a context is taken to have unless told. */
// @ts-ignore: decorator
@inline
function expectedTable(context: u32): u32 {
  return context == 0 ? 0 : <u32>load<u8>(CLUSTER_OF + (context < 8 ? context - 1 : context - 8));
}

/** Writes the tables of the clusters to TABLES and makes RANGES of them; returns how many bytes they take. */
export function tablesWrite(mapped: bool): usize {
  bitsAt = TABLES;
  bitsFill = 0;
  store<u32>(TABLES, 0);
  if (mapped) for (let i: u32 = 0; i < MAP_CONTEXT_COUNT; i++) put(load<u32>(MAP_FREQUENCIES + (i << 2)), 12);
  put(levelCount - 1, 4);
  const tables = max<u32>(clusterCount, 1);
  put(tables - 1, 4);
  for (let context: u32 = 0; context < levelCount << 3; context += contextStep) {
    const expected = expectedTable(context);
    if (clusterCount == 0 || !load<u8>(OCCURS + context)) store<u8>(CLUSTER_OF + context, <u8>expected);
    const table = <u32>load<u8>(CLUSTER_OF + context);
    put(u32(table != expected), 1);
    if (table != expected) put(table, 4);
  }
  for (let table: u32 = 0; table < tables; table++) {
    weigh(clusterCount == 0 ? 0 : clusterRow(table));
    writeWeights();
    normalize();
    fillRanges(RANGES + (<usize>table << 10));
  }
  return bitsAt - TABLES + usize(bitsFill != 0);
}

/** Reads tables from `at` on and makes SLOTS of them; returns where they end, or 0 if they are not within `sizeBytes`. */
export function tablesRead(at: usize, sizeBytes: usize, mapped: bool, drift: bool): usize {
  bitsAt = at;
  bitsFill = 0;
  bitsEnd = at + sizeBytes;
  if (mapped) {
    for (let i: u32 = 0; i < MAP_CONTEXT_COUNT; i++) store<u32>(MAP_FREQUENCIES + (i << 2), max<u32>(take(12), 1));
  }
  const levels = take(4) + 1;
  contextsSetup(levels, drift);
  const tables = take(4) + 1;
  for (let context: u32 = 0; context < levels << 3; context += contextStep) {
    const table = take(1) ? take(4) : expectedTable(context);
    if (table >= tables) return 0;
    store<u8>(CLUSTER_OF + context, <u8>table);
  }
  for (let table: u32 = 0; table < tables; table++) {
    if (!readWeights()) return 0;
    normalize();
    fillSlots(SLOTS + (<usize>table << 14));
  }
  const end = bitsAt + usize(bitsFill != 0);
  return end <= bitsEnd ? end : 0;
}

/**
 * Fills PLACES of `count` lanes, a multiple of 16: which range of RANGES, when encoding; else the first slot of the table.
 * Contexts past those that were named never occur in what an encoder writes: theirs is table 0.
 */
export function placesFind(count: usize, encoding: bool): void {
  const named = levelCount << 3;
  memory.fill(CLUSTER_OF + named, 0, CONTEXT_COUNT - named);
  const byLevel = levelTables();
  for (let i: usize = 0; i < count; i += 16) {
    const contexts = v128.load(CONTEXTS + i);
    const tables = contextStep == 8 ? v128.swizzle(byLevel, v128.shr<u16>(contexts, 3)) : tablesOf(contexts, named);
    let low = i16x8.extend_low_i8x16_u(tables), high = i16x8.extend_high_i8x16_u(tables);
    if (encoding) {
      const tokens = v128.load(TOKENS + i);
      low = v128.or(v128.shl<i16>(low, 5), i16x8.extend_low_i8x16_u(tokens));
      high = v128.or(v128.shl<i16>(high, 5), i16x8.extend_high_i8x16_u(tokens));
    } else {
      low = v128.shl<i16>(low, 12);
      high = v128.shl<i16>(high, 12);
    }
    v128.store(PLACES + (i << 1), low);
    v128.store(PLACES + (i << 1), high, 16);
  }
}

/** CLUSTER_OF every eighth context. Without drift these are all: shifted right as u16, no bit enters a byte from another. */
function levelTables(): v128 {
  let tables = i8x16.splat(0);
  for (let level: i32 = 15; level >= 0; level--) {
    tables = v128.shuffle<i8>(tables, tables, 15, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14);
    tables = i8x16.replace_lane(tables, 0, load<i8>(CLUSTER_OF + (level << 3)));
  }
  return tables;
}

/** CLUSTER_OF of sixteen contexts, sixteen entries at a time. */
// @ts-ignore: decorator
@inline
function tablesOf(contexts: v128, named: u32): v128 {
  let index = contexts;
  let found = v128.swizzle(v128.load(CLUSTER_OF), index);
  for (let from: u32 = 16; from < named; from += 16) {
    index = v128.sub<i8>(index, v128.load(BYTES_16));
    found = v128.or(found, v128.swizzle(v128.load(CLUSTER_OF + from), index));
  }
  return found;
}

/** Weights of the counts at `row`; without any, of one token. */
function weigh(row: usize): void {
  memory.fill(WEIGHTS, 0, TOKEN_COUNT);
  let most: u32 = 0;
  if (row != 0) for (let token: usize = 0; token < TOKEN_COUNT; token++) most = max(most, load<u32>(row + (token << 2)));
  if (most == 0) {
    store<u8>(WEIGHTS + 15, WEIGHT_MAX);
    return;
  }
  for (let token: usize = 0; token < TOKEN_COUNT; token++) {
    const n = load<u32>(row + (token << 2));
    if (n == 0) continue;
    const below = quarterOctaves(most, n);
    store<u8>(WEIGHTS + token, <u8>(below >= WEIGHT_MAX - 1 ? 1 : WEIGHT_MAX - below));
  }
}

/** How many quarters of an octave lie between n and the larger one, to the nearest. */
function quarterOctaves(larger: u32, n: u32): u32 {
  // 2^(1/8), 2^(3/8), 2^(5/8), 2^(7/8) part the quarters.
  let whole: u32 = 0;
  const ratio = <f32>larger / <f32>n;
  const bits = reinterpret<u32>(ratio);
  whole = ((bits >>> 23) - 127) << 2;
  const mantissa = reinterpret<f32>((bits & 0x7fffff) | 0x3f800000);
  if (mantissa >= 1.8340080864) return whole + 4;
  if (mantissa >= 1.5422108254) return whole + 3;
  if (mantissa >= 1.2968395547) return whole + 2;
  if (mantissa >= 1.0905077327) return whole + 1;
  return whole;
}

function writeWeights(): void {
  let first: u32 = NO_TOKEN, last: u32 = 0;
  for (let token: u32 = 0; token < PLAIN_TOKENS; token++) {
    if (load<u8>(WEIGHTS + token) == 0) continue;
    if (first == NO_TOKEN) first = token;
    last = token;
  }
  put(first, 5);
  put(last, 5);
  for (let token = PLAIN_TOKENS; token < TOKEN_COUNT; token++) put(u32(load<u8>(WEIGHTS + token) != 0), 1);
  let before = WEIGHT_FIRST;
  for (let token = first == NO_TOKEN ? PLAIN_TOKENS : first; token < TOKEN_COUNT; token++) {
    const weight = <i32>load<u8>(WEIGHTS + token);
    if (token > last && weight == 0) continue;
    const difference = weight - before;
    const z = <u32>((difference << 1) ^ (difference >> 31));
    const ones = z >> 2;
    for (let i: u32 = 0; i < ones; i++) put(1, 1);
    put((z & 3) << 1, 3);
    before = weight;
  }
}

/** Fills WEIGHTS; false for what no encoder writes. */
function readWeights(): bool {
  memory.fill(WEIGHTS, 0, TOKEN_COUNT);
  const first = take(5), last = take(5), rare = take(2);
  if (first > last ? first != NO_TOKEN || last != 0 : last >= PLAIN_TOKENS) return false;
  let before = WEIGHT_FIRST;
  let any = false;
  for (let token = first > last ? PLAIN_TOKENS : first; token < TOKEN_COUNT; token++) {
    if (token > last || first > last) {
      if (token < PLAIN_TOKENS || ((rare >> (token - PLAIN_TOKENS)) & 1) == 0) continue;
    }
    let ones: u32 = 0;
    while (take(1)) if (++ones > 31) return false;
    const z = (ones << 2) | take(2);
    before += <i32>(z >> 1) ^ -<i32>(z & 1);
    if (before < 0 || before > <i32>WEIGHT_MAX) return false;
    store<u8>(WEIGHTS + token, <u8>before);
    any = any || before > 0;
  }
  return any;
}

/** FREQUENCIES from WEIGHTS. */
function normalize(): void {
  let sum: u64 = 0;
  for (let token: usize = 0; token < TOKEN_COUNT; token++) sum += valueOf(load<u8>(WEIGHTS + token));
  const scale = ((<u64>1) << 44) / sum;
  let left = <i32>SLOT_COUNT;
  let most: u32 = 0;
  let mostToken: usize = 0;
  for (let token: usize = 0; token < TOKEN_COUNT; token++) {
    const weight = load<u8>(WEIGHTS + token);
    const frequency: u32 = weight == 0 ? 0 : max<u32>(<u32>((valueOf(weight) * scale) >> 32), 1);
    store<u32>(FREQUENCIES + (token << 2), frequency);
    left -= <i32>frequency;
    if (frequency > most) {
      most = frequency;
      mostToken = token;
    }
  }
  store<u32>(FREQUENCIES + (mostToken << 2), most + left);
}

/** 2^(weight / 4) * 2^14, about; 0 for 0. */
// @ts-ignore: decorator
@inline
function valueOf(weight: u8): u64 {
  if (weight == 0) return 0;
  return <u64>load<u16>(QUARTERS + (<usize>(weight & 3) << 1)) << <u64>(weight >> 2);
}
const QUARTERS = memory.data<u16>([16384, 19484, 23170, 27554]);

/** By token: reciprocal of its frequency u64, largest state that need not shed u32, start u32, 4096 - frequency u32. */
function fillRanges(table: usize): void {
  let start: u32 = 0;
  for (let token: usize = 0; token < TOKEN_COUNT; token++) {
    const frequency = load<u32>(FREQUENCIES + (token << 2));
    const range = table + (token << 5);
    if (frequency > 0) store<u64>(range, (((<u64>1) << RECIPROCAL_BITS) + frequency - 1) / frequency);
    store<u32>(range, (frequency << 19) - 1, 8);
    store<u32>(range, start, 12);
    store<u32>(range, SLOT_COUNT - frequency, 16);
    start += frequency;
  }
}

/** By slot: token | (slot - start) << 7 | frequency << 19. May write up to three slots more. */
function fillSlots(table: usize): void {
  let at = table;
  for (let token: u32 = 0; token < TOKEN_COUNT; token++) {
    const frequency = load<u32>(FREQUENCIES + (token << 2));
    const end = at + (<usize>frequency << 2);
    let slots = v128.add<i32>(i32x4.splat(token | (frequency << 19)), i32x4(0, 128, 256, 384));
    for (; at < end; at += 16) {
      v128.store(at, slots);
      slots = v128.add<i32>(slots, i32x4.splat(512));
    }
    at = end;
  }
}
