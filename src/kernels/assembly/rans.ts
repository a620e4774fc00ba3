// The interleaved rANS coder of tokens and maps: eight states in [2^15, 2^31) that shed and take in 16 bits at a time,
// frequencies out of 4096 from the table of each symbol's context. Symbol i is coded by state i mod 8.
//
// rANS is J. Duda's (arXiv:1311.2540), interleaved as in F. Giesen's "Interleaved entropy coders" (arXiv:1402.3392).

import { PLACES, RANGES, SLOT_COUNT, SLOTS, STREAM, STREAM_BYTES, TOKENS } from "./memory";
import { MAP_FREQUENCIES, RECIPROCAL_BITS } from "./tables";

const STATE_COUNT: usize = 8;
const STATE_MIN: i32 = 1 << 15;
const SCALE_BITS: u32 = 12;
const SLOT_MASK: u32 = SLOT_COUNT - 1;

/** The states while no pass holds them, u32. */
const STATES = memory.data(32, 16);
/** Where the next word is written or read. */
let wordAt: usize = 0;
let wordEnd: usize = 0;

/** Starts a stream, which is written from its last symbol to its first. */
export function streamBegin(): void {
  for (let state: usize = 0; state < STATE_COUNT; state++) store<u32>(STATES + (state << 2), STATE_MIN);
  wordAt = STREAM + STREAM_BYTES;
}

/** Writes the states; returns where the stream begins. It ends at streamEnd(). */
export function streamFinish(): usize {
  wordAt -= STATE_COUNT << 2;
  memory.copy(wordAt, STATES, STATE_COUNT << 2);
  return wordAt;
}

export function streamEnd(): usize {
  return STREAM + STREAM_BYTES;
}

/** All ones if the state must shed 16 bits before it takes this range; arithmetic, since a branch would be a coin toss. */
// @ts-ignore: decorator
@inline
function shedding(state: u32, range: usize): i32 {
  return (load<i32>(range, 8) - <i32>state) >> 31;
}

// @ts-ignore: decorator
@inline
function put(state: u32, range: usize): u32 {
  const quotient = <u32>((<u64>state * load<u64>(range)) >> RECIPROCAL_BITS);
  return state + load<u32>(range, 12) + quotient * load<u32>(range, 16);
}

// @ts-ignore: decorator
@inline
function rangeAt(place: u64): usize {
  return RANGES + (<usize>(place & 0xffff) << 5);
}

/** Writes the first `count` symbols, whose ranges PLACES tells, last to first; `count` is a multiple of 8. */
export function tokensEncode(count: usize): void {
  let x0 = load<u32>(STATES, 0);
  let x1 = load<u32>(STATES, 4);
  let x2 = load<u32>(STATES, 8);
  let x3 = load<u32>(STATES, 12);
  let x4 = load<u32>(STATES, 16);
  let x5 = load<u32>(STATES, 20);
  let x6 = load<u32>(STATES, 24);
  let x7 = load<u32>(STATES, 28);
  let out = wordAt;
  for (let i = count; i > 0; ) {
    i -= 8;
    const high = load<u64>(PLACES + (i << 1), 8), low = load<u64>(PLACES + (i << 1));
    const r7 = rangeAt(high >> 48), n7 = shedding(x7, r7);
    store<u16>(out - 2, x7);
    out += <usize>(n7 + n7);
    x7 = put(x7 >>> (n7 & 16), r7);
    const r6 = rangeAt(high >> 32), n6 = shedding(x6, r6);
    store<u16>(out - 2, x6);
    out += <usize>(n6 + n6);
    x6 = put(x6 >>> (n6 & 16), r6);
    const r5 = rangeAt(high >> 16), n5 = shedding(x5, r5);
    store<u16>(out - 2, x5);
    out += <usize>(n5 + n5);
    x5 = put(x5 >>> (n5 & 16), r5);
    const r4 = rangeAt(high), n4 = shedding(x4, r4);
    store<u16>(out - 2, x4);
    out += <usize>(n4 + n4);
    x4 = put(x4 >>> (n4 & 16), r4);
    const r3 = rangeAt(low >> 48), n3 = shedding(x3, r3);
    store<u16>(out - 2, x3);
    out += <usize>(n3 + n3);
    x3 = put(x3 >>> (n3 & 16), r3);
    const r2 = rangeAt(low >> 32), n2 = shedding(x2, r2);
    store<u16>(out - 2, x2);
    out += <usize>(n2 + n2);
    x2 = put(x2 >>> (n2 & 16), r2);
    const r1 = rangeAt(low >> 16), n1 = shedding(x1, r1);
    store<u16>(out - 2, x1);
    out += <usize>(n1 + n1);
    x1 = put(x1 >>> (n1 & 16), r1);
    const r0 = rangeAt(low), n0 = shedding(x0, r0);
    store<u16>(out - 2, x0);
    out += <usize>(n0 + n0);
    x0 = put(x0 >>> (n0 & 16), r0);
  }
  store<u32>(STATES, x0, 0);
  store<u32>(STATES, x1, 4);
  store<u32>(STATES, x2, 8);
  store<u32>(STATES, x3, 12);
  store<u32>(STATES, x4, 16);
  store<u32>(STATES, x5, 20);
  store<u32>(STATES, x6, 24);
  store<u32>(STATES, x7, 28);
  wordAt = out;
}

/** Starts reading the stream of `sizeBytes` at `at`; false if it is too short to be one or no encoder's. */
export function streamOpen(at: usize, sizeBytes: usize): bool {
  if (sizeBytes < STATE_COUNT << 2) return false;
  memory.copy(STATES, at, STATE_COUNT << 2);
  wordAt = at + (STATE_COUNT << 2);
  wordEnd = at + sizeBytes;
  for (let state: usize = 0; state < STATE_COUNT; state++) if (load<i32>(STATES + (state << 2)) < STATE_MIN) return false;
  return true;
}

/** Whether the stream was read exactly to its end and its states are what an encoder starts from. */
export function streamClosed(): bool {
  let closed = wordAt == wordEnd;
  for (let state: usize = 0; state < STATE_COUNT; state++) closed = closed && load<i32>(STATES + (state << 2)) == STATE_MIN;
  return closed;
}

// @ts-ignore: decorator
@inline
function slotAt(place: u64, state: u32): u32 {
  return load<u32>(SLOTS + (<usize>((<u32>place & 0xffff) | (state & SLOT_MASK)) << 2));
}

// @ts-ignore: decorator
@inline
function advance(state: u32, slot: u32): u32 {
  return (slot >>> 19) * (state >>> SCALE_BITS) + ((slot >>> 7) & SLOT_MASK);
}

/** All ones if the state must take in a word. */
// @ts-ignore: decorator
@inline
function lacking(state: u32): i32 {
  return (<i32>state - STATE_MIN) >> 31;
}

// @ts-ignore: decorator
@inline
function refill(state: u32, lacks: i32, at: usize): u32 {
  return (state << (lacks & 16)) | (<u32>load<u16>(at) & lacks);
}

/**
 * Fills the first `count` TOKENS, of which the upper three bits are whatever, from the tables that PLACES tells; `count`
 * is a multiple of 8. No state takes in more than one word a symbol: reading past a stream that is cut short stays in
 * this memory.
 */
export function tokensDecode(count: usize): void {
  let x0 = load<u32>(STATES, 0);
  let x1 = load<u32>(STATES, 4);
  let x2 = load<u32>(STATES, 8);
  let x3 = load<u32>(STATES, 12);
  let x4 = load<u32>(STATES, 16);
  let x5 = load<u32>(STATES, 20);
  let x6 = load<u32>(STATES, 24);
  let x7 = load<u32>(STATES, 28);
  let at = wordAt;
  for (let i: usize = 0; i < count; i += 8) {
    const low = load<u64>(PLACES + (i << 1)), high = load<u64>(PLACES + (i << 1), 8);
    const s0 = slotAt(low, x0);
    store<u8>(TOKENS + i, s0);
    x0 = advance(x0, s0);
    const s1 = slotAt(low >> 16, x1);
    store<u8>(TOKENS + i, s1, 1);
    x1 = advance(x1, s1);
    const s2 = slotAt(low >> 32, x2);
    store<u8>(TOKENS + i, s2, 2);
    x2 = advance(x2, s2);
    const s3 = slotAt(low >> 48, x3);
    store<u8>(TOKENS + i, s3, 3);
    x3 = advance(x3, s3);
    const s4 = slotAt(high, x4);
    store<u8>(TOKENS + i, s4, 4);
    x4 = advance(x4, s4);
    const s5 = slotAt(high >> 16, x5);
    store<u8>(TOKENS + i, s5, 5);
    x5 = advance(x5, s5);
    const s6 = slotAt(high >> 32, x6);
    store<u8>(TOKENS + i, s6, 6);
    x6 = advance(x6, s6);
    const s7 = slotAt(high >> 48, x7);
    store<u8>(TOKENS + i, s7, 7);
    x7 = advance(x7, s7);
    const n0 = lacking(x0);
    x0 = refill(x0, n0, at);
    at -= <usize>(n0 + n0);
    const n1 = lacking(x1);
    x1 = refill(x1, n1, at);
    at -= <usize>(n1 + n1);
    const n2 = lacking(x2);
    x2 = refill(x2, n2, at);
    at -= <usize>(n2 + n2);
    const n3 = lacking(x3);
    x3 = refill(x3, n3, at);
    at -= <usize>(n3 + n3);
    const n4 = lacking(x4);
    x4 = refill(x4, n4, at);
    at -= <usize>(n4 + n4);
    const n5 = lacking(x5);
    x5 = refill(x5, n5, at);
    at -= <usize>(n5 + n5);
    const n6 = lacking(x6);
    x6 = refill(x6, n6, at);
    at -= <usize>(n6 + n6);
    const n7 = lacking(x7);
    x7 = refill(x7, n7, at);
    at -= <usize>(n7 + n7);
  }
  store<u32>(STATES, x0, 0);
  store<u32>(STATES, x1, 4);
  store<u32>(STATES, x2, 8);
  store<u32>(STATES, x3, 12);
  store<u32>(STATES, x4, 16);
  store<u32>(STATES, x5, 20);
  store<u32>(STATES, x6, 24);
  store<u32>(STATES, x7, 28);
  wordAt = at;
}

/** Writes whether something changed, with a state of choice: slots of what changed come last. */
export function bitEncode(state: usize, context: usize, changed: u32): void {
  const ones = load<u32>(MAP_FREQUENCIES + (context << 2));
  const frequency = changed ? ones : SLOT_COUNT - ones;
  let x = load<u32>(STATES + (state << 2));
  if (x >>> 19 >= frequency) {
    wordAt -= 2;
    store<u16>(wordAt, x);
    x >>>= 16;
  }
  x += (changed ? SLOT_COUNT - ones : 0) + (x / frequency) * (SLOT_COUNT - frequency);
  store<u32>(STATES + (state << 2), x);
}

export function bitDecode(state: usize, context: usize): u32 {
  const zeros = SLOT_COUNT - load<u32>(MAP_FREQUENCIES + (context << 2));
  let x = load<u32>(STATES + (state << 2));
  const slot = x & SLOT_MASK;
  const changed = u32(slot >= zeros);
  const frequency = changed ? SLOT_COUNT - zeros : zeros;
  x = frequency * (x >>> SCALE_BITS) + slot - (changed ? zeros : 0);
  const lacks = lacking(x);
  store<u32>(STATES + (state << 2), refill(x, lacks, wordAt));
  wordAt -= <usize>(lacks + lacks);
  return changed;
}
