// Bins by rANS with static frequencies, one table a context. Lanes each code a stretch's rows in a run of their own, so that a
// context may hang on the bin before, and the lanes still wait for nothing but themselves; four of them are a vector.
// J. Duda, arXiv:1311.2540; interleaving and vectors after F. Giesen, arXiv:1402.3392.

import { BINS, CLASSES, CONTEXT, FREQUENCIES, REFILLS, SLOTS, STARTS, TOKENS } from "./columns-memory";

/** States stay in [2^15, 2^31) and shed 16 bits at a time. */
const STATE_MIN: u32 = 1 << 15;
/** Lanes, and how many of them a stream has that codes fewer rows than LANED_ROWS_MIN: states take room. */
const LANES: usize = 16, LANES_FEW: usize = 4;
const LANED_ROWS_MIN: usize = 4096;
/** Rows that lanes divide before they go on to the next: farther apart, their bins would want the same lines of the cache. */
const STRETCH: usize = 16384;
/** The lanes' states, u32 each. */
const STATES = memory.data(64);

// @ts-ignore: decorator
@inline
function lanesOf(count: usize): usize {
  return count < LANED_ROWS_MIN ? LANES_FEW : LANES;
}

/** Where a slot has its bin's frequency less 1. Up to 10 bits leave room for the bin's class as well, from bit 28 on. */
const SMALL_BITS: u32 = 10;
// @ts-ignore: decorator
@inline
function frequencyAt(bits: u32): u32 {
  return bits <= SMALL_BITS ? 18 : 20;
}

/** Makes the tables of `contexts` from FREQUENCIES; false unless each adds up to 2^bits. */
export function columnTables(contexts: u32, bins: u32, bits: u32, decoding: bool): bool {
  for (let c: u32 = 0; c < contexts; c++) {
    let start: u32 = 0;
    const slots = SLOTS + (<usize>(c << bits) << 2);
    for (let b: u32 = 0; b < bins; b++) {
      const at = <usize>((c << 8) | b) << 1;
      const frequency = <u32>load<u16>(FREQUENCIES + at);
      if (start + frequency > <u32>1 << bits) return false;
      store<u16>(STARTS + at, start);
      if (decoding && frequency != 0) {
        let slot = b | ((frequency - 1) << frequencyAt(bits));
        if (bits <= SMALL_BITS) slot |= <u32>load<u8>(<usize>b << 5, BINS + 17) << 28;
        fillSlots(slots + (<usize>start << 2), frequency, slot);
      }
      start += frequency;
    }
    if (start != <u32>1 << bits) return false;
  }
  if (decoding) {
    for (let b: usize = 0; b < <usize>bins; b++) store<u8>(CLASSES + b, load<u8>(b << 5, BINS + 17));
    for (let lanes: usize = 0; lanes < 16; lanes++) layRefill(lanes);
  }
  return true;
}

/** Which bytes go to which lanes when these, a bit each, take in a word; 128 for none. */
function layRefill(lanes: usize): void {
  let byte: u32 = 0;
  for (let lane: usize = 0; lane < 4; lane++) {
    const takes = (lanes >> lane) & 1;
    store<u32>((lanes << 4) + (lane << 2), takes ? 0x80800000 | ((byte + 1) << 8) | byte : 0x80808080, REFILLS);
    byte += <u32>takes << 1;
  }
}

/** A bin's slots, four at a time: what is written past them belongs to slots that are filled later, or to nobody. */
// @ts-ignore: decorator
@inline
function fillSlots(at: usize, frequency: u32, slot: u32): void {
  const end = at + (<usize>frequency << 2);
  let four = v128.add<i32>(i32x4.splat(slot), i32x4(0, 1 << 8, 2 << 8, 3 << 8));
  const step = i32x4.splat(4 << 8);
  for (; at < end; at += 16) {
    v128.store(at, four);
    four = v128.add<i32>(four, step);
  }
}

// @ts-ignore: decorator
@inline
function contextOf(tokens: usize, context: usize, row: usize, lane: usize, byClass: bool): u32 {
  let c = <u32>load<u8>(context + row);
  if (byClass && row != lane) c += <u32>load<u8>(<usize>load<u8>(tokens + row - 1) << 5, BINS + 17);
  return c;
}

/** Codes `count` bins; the stream ends at `end` and its address is returned: the lanes' states u32, then words u16. */
export function columnEncode(tokens: usize, context: usize, count: usize, bits: u32, byClass: bool, end: usize): usize {
  const lanes = lanesOf(count);
  let out = end;
  for (let lane: usize = 0; lane < lanes; lane++) store<u32>(STATES + (lane << 2), STATE_MIN);
  for (let past = (count + STRETCH - 1) & ~(STRETCH - 1); past > 0; past -= STRETCH) {
    const first = past - STRETCH;
    const rows = min(STRETCH, count - first), length = (rows + lanes - 1) / lanes;
    for (let step = length * lanes; step > 0; step--) {
      const lane = (step - 1) & (lanes - 1);
      const row = lane * length + (step - 1) / lanes;
      if (row >= rows) continue;
      const c = contextOf(tokens + first, context + first, row, lane * length, byClass);
      const at = <usize>((c << 8) | <u32>load<u8>(tokens + first + row)) << 1;
      const frequency = <u32>load<u16>(FREQUENCIES + at), start = <u32>load<u16>(STARTS + at);
      let x = load<u32>(STATES + (lane << 2));
      if ((x >>> (31 - bits)) >= frequency) {
        out -= 2;
        store<u16>(out, x);
        x >>>= 16;
      }
      const quotient = x / frequency;
      store<u32>(STATES + (lane << 2), (quotient << bits) + (x - quotient * frequency) + start);
    }
  }
  out -= lanes << 2;
  memory.copy(out, STATES, lanes << 2);
  return out;
}

/** Which contexts hang on other columns, and which on the bin before; as the caller of `columnDecode` says. */
const BOTH: u32 = 0, PLAIN: u32 = 1, CLASS_ALONE: u32 = 2, OTHERS_ALONE: u32 = 3;

// @ts-ignore: decorator
@inline
function hasClass(mode: u32): bool {
  return mode == BOTH || mode == CLASS_ALONE;
}

// @ts-ignore: decorator
@inline
function hasOthers(mode: u32): bool {
  return mode == BOTH || mode == OTHERS_ALONE;
}

/** Where the slots of a row's context begin, in bytes; but for a class that stands in the slot before. */
// @ts-ignore: decorator
@inline
function slotsOf(row: usize, bits: u32, mode: u32, inSlots: bool): usize {
  let c: u32 = 0;
  if (hasOthers(mode)) c = <u32>load<u8>(row, CONTEXT);
  if (hasClass(mode) && !inSlots) c += <u32>load<u8>(<usize>load<u8>(row - 1, TOKENS), CLASSES);
  return <usize>(c << (bits + 2));
}

/** The slots of four lanes' states, `length` rows apart; their bins go to TOKENS. `before`: the slots of the rows before. */
// @ts-ignore: decorator
@inline
function slotsOfFour(x: v128, before: v128, row: usize, length: usize, bits: u32, mode: u32, inSlots: bool): v128 {
  let from = v128.and(v128.shl<i32>(x, 2), i32x4.splat(((1 << bits) - 1) << 2));
  if (hasClass(mode) && inSlots) from = v128.add<i32>(from, v128.shl<i32>(v128.shr<u32>(before, 28), bits + 2));
  const row1 = row + length, row2 = row1 + length, row3 = row2 + length;
  const at0 = <usize>i32x4.extract_lane(from, 0) + slotsOf(row, bits, mode, inSlots);
  const at1 = <usize>i32x4.extract_lane(from, 1) + slotsOf(row1, bits, mode, inSlots);
  const at2 = <usize>i32x4.extract_lane(from, 2) + slotsOf(row2, bits, mode, inSlots);
  const at3 = <usize>i32x4.extract_lane(from, 3) + slotsOf(row3, bits, mode, inSlots);
  let slots = v128.load32_zero(at0, SLOTS);
  slots = v128.load_lane<i32>(at1, slots, 1, SLOTS);
  slots = v128.load_lane<i32>(at2, slots, 2, SLOTS);
  slots = v128.load_lane<i32>(at3, slots, 3, SLOTS);
  v128.store_lane<i8>(row, slots, 0, TOKENS);
  v128.store_lane<i8>(row1, slots, 4, TOKENS);
  v128.store_lane<i8>(row2, slots, 8, TOKENS);
  v128.store_lane<i8>(row3, slots, 12, TOKENS);
  return slots;
}

/** Four states past the bins of their slots: frequency * (x >>> bits) + (slot - start). */
// @ts-ignore: decorator
@inline
function advanceFour(x: v128, slots: v128, bits: u32): v128 {
  const quotients = v128.shr<u32>(x, bits);
  const frequencies = v128.and(v128.shr<u32>(slots, frequencyAt(bits)), i32x4.splat(4095 >> (20 - frequencyAt(bits))));
  const offsets = v128.and(v128.shr<u32>(slots, 8), i32x4.splat(4095 >> (20 - frequencyAt(bits))));
  return v128.add<i32>(v128.mul<i32>(frequencies, quotients), v128.add<i32>(offsets, quotients));
}

/** Those of four states that `low` says, the same as bits in `lanes`, take in a word each, in their order. */
// @ts-ignore: decorator
@inline
function refillFour(x: v128, low: v128, lanes: i32, at: usize): v128 {
  const words = v128.swizzle(v128.load64_zero(at), v128.load(<usize>lanes << 4, REFILLS));
  return v128.bitselect(v128.or(v128.shl<i32>(x, 16), words), x, low);
}

/**
 * Decodes all lanes' rows [from, to) of the stretch that begins at row `first`, from the words at `at`; returns where the
 * next ones are. Inlined where the last four are constants: nothing is asked in the loop.
 */
// @ts-ignore: decorator
@inline
function decodeLanes(
  first: usize, from: usize, to: usize, length: usize, at: usize, bits: u32, mode: u32, inSlots: bool, few: bool,
): usize {
  const least = i32x4.splat(STATE_MIN);
  let x0 = v128.load(STATES), x1 = v128.load(STATES, 16), x2 = v128.load(STATES, 32), x3 = v128.load(STATES, 48);
  let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (let row = first + from; row < first + to; row++) {
    s0 = slotsOfFour(x0, s0, row, length, bits, mode, inSlots);
    if (!few) {
      s1 = slotsOfFour(x1, s1, row + length * 4, length, bits, mode, inSlots);
      s2 = slotsOfFour(x2, s2, row + length * 8, length, bits, mode, inSlots);
      s3 = slotsOfFour(x3, s3, row + length * 12, length, bits, mode, inSlots);
    }
    x0 = advanceFour(x0, s0, bits);
    const low0 = v128.lt<i32>(x0, least), lanes0 = v128.bitmask<i32>(low0);
    x0 = refillFour(x0, low0, lanes0, at);
    at += <usize>popcnt(lanes0) << 1;
    if (few) continue;
    x1 = advanceFour(x1, s1, bits);
    const low1 = v128.lt<i32>(x1, least), lanes1 = v128.bitmask<i32>(low1);
    x1 = refillFour(x1, low1, lanes1, at);
    at += <usize>popcnt(lanes1) << 1;
    x2 = advanceFour(x2, s2, bits);
    const low2 = v128.lt<i32>(x2, least), lanes2 = v128.bitmask<i32>(low2);
    x2 = refillFour(x2, low2, lanes2, at);
    at += <usize>popcnt(lanes2) << 1;
    x3 = advanceFour(x3, s3, bits);
    const low3 = v128.lt<i32>(x3, least), lanes3 = v128.bitmask<i32>(low3);
    x3 = refillFour(x3, low3, lanes3, at);
    at += <usize>popcnt(lanes3) << 1;
  }
  v128.store(STATES, x0);
  v128.store(STATES, x1, 16);
  v128.store(STATES, x2, 32);
  v128.store(STATES, x3, 48);
  return at;
}

// What encoders write; everything else goes the general way.
function decodePlain10(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 10, PLAIN, true, false);
}
function decodeClass10(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 10, CLASS_ALONE, true, false);
}
function decodeOthers10(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 10, OTHERS_ALONE, true, false);
}
function decodeBoth10(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 10, BOTH, true, false);
}
function decodeClass11(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 11, CLASS_ALONE, false, false);
}
function decodeOthers11(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 11, OTHERS_ALONE, false, false);
}
function decodeBoth11(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 11, BOTH, false, false);
}
function decodePlain12(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 12, PLAIN, false, false);
}
function decodeClass12(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 12, CLASS_ALONE, false, false);
}
function decodeOthers12(first: usize, from: usize, to: usize, length: usize, at: usize): usize {
  return decodeLanes(first, from, to, length, at, 12, OTHERS_ALONE, false, false);
}
function decodeAny(first: usize, from: usize, to: usize, length: usize, at: usize, bits: u32): usize {
  return decodeLanes(first, from, to, length, at, bits, BOTH, false, false);
}
function decodeFew(first: usize, from: usize, to: usize, length: usize, at: usize, bits: u32): usize {
  return decodeLanes(first, from, to, length, at, bits, BOTH, false, true);
}

/** The rows [from, to) of a stretch, of which each lane has one but the last ones, by the loop made for them. */
function decodeWhole(first: usize, from: usize, to: usize, length: usize, at: usize, bits: u32, mode: u32): usize {
  switch ((bits << 2) | mode) {
    case (10 << 2) | PLAIN: return decodePlain10(first, from, to, length, at);
    case (10 << 2) | CLASS_ALONE: return decodeClass10(first, from, to, length, at);
    case (10 << 2) | OTHERS_ALONE: return decodeOthers10(first, from, to, length, at);
    case (10 << 2) | BOTH: return decodeBoth10(first, from, to, length, at);
    case (11 << 2) | CLASS_ALONE: return decodeClass11(first, from, to, length, at);
    case (11 << 2) | OTHERS_ALONE: return decodeOthers11(first, from, to, length, at);
    case (11 << 2) | BOTH: return decodeBoth11(first, from, to, length, at);
    case (12 << 2) | PLAIN: return decodePlain12(first, from, to, length, at);
    case (12 << 2) | CLASS_ALONE: return decodeClass12(first, from, to, length, at);
    case (12 << 2) | OTHERS_ALONE: return decodeOthers12(first, from, to, length, at);
    default: return decodeAny(first, from, to, length, at, bits);
  }
}

/** The rows [from, to) of a stretch one by one: those that a loop cannot begin with, and those that some lanes do not have. */
function decodeEach(
  first: usize, from: usize, to: usize, length: usize, rows: usize, lanes: usize, at: usize, bits: u32, mode: u32,
): usize {
  const mask = (1 << frequencyAt(bits) - 8) - 1;
  for (let i = from; i < to; i++) {
    for (let lane: usize = 0; lane < lanes && lane * length + i < rows; lane++) {
      const row = first + lane * length + i;
      let x = load<u32>(STATES + (lane << 2));
      const slots = i == 0 ? slotsOf(row, bits, hasOthers(mode) ? OTHERS_ALONE : PLAIN, false) : slotsOf(row, bits, mode, false);
      const slot = load<u32>(slots + (<usize>(x & ((1 << bits) - 1)) << 2), SLOTS);
      store<u8>(row, slot, TOKENS);
      const quotient = x >>> bits;
      x = ((slot >>> frequencyAt(bits)) & mask) * quotient + (((slot >>> 8) & mask) + quotient);
      if (x < STATE_MIN) {
        x = (x << 16) | <u32>load<u16>(at);
        at += 2;
      }
      store<u32>(STATES + (lane << 2), x);
    }
  }
  return at;
}

/**
 * Decodes `count` bins from the stream [at, end) to TOKENS; false unless it is exactly what an encoder writes. `mode`: 0
 * contexts hang on CONTEXT and the bin before, 1 there is but one, 2 on the bin before alone, 3 on CONTEXT alone. A row takes in
 * at most a word: so far, and six bytes more, past `at` it may read.
 */
export function columnDecode(count: usize, bits: u32, mode: u32, at: usize, end: usize): bool {
  const lanes = lanesOf(count), few = lanes == LANES_FEW;
  if (end - at < lanes << 2) return false;
  memory.copy(STATES, at, lanes << 2);
  at += lanes << 2;
  const isGeneral = few || bits < 10 || (bits == 11 && mode == PLAIN) || (bits == 12 && mode == BOTH);
  if (isGeneral) {
    if (!hasOthers(mode)) memory.fill(CONTEXT, 0, count);
    if (!hasClass(mode)) memory.fill(CLASSES, 0, 256);
    mode = BOTH;
  }
  // A loop that looks for the bin before needs one.
  const begun: usize = hasClass(mode) && (isGeneral || bits > SMALL_BITS) ? 1 : 0;
  for (let first: usize = 0; first < count; first += STRETCH) {
    const rows = min(STRETCH, count - first), length = (rows + lanes - 1) / lanes;
    const others = (lanes - 1) * length;
    const whole = rows > others ? rows - others : 0;
    const from = min(begun, length);
    at = decodeEach(first, 0, from, length, rows, lanes, at, bits, mode);
    if (few) at = decodeFew(first, from, whole, length, at, bits);
    else if (isGeneral) at = decodeAny(first, from, whole, length, at, bits);
    else at = decodeWhole(first, from, whole, length, at, bits, mode);
    at = decodeEach(first, max(from, whole), length, length, rows, lanes, at, bits, mode);
  }
  for (let lane: usize = 0; lane < lanes; lane++) {
    if (load<u32>(STATES + (lane << 2)) != STATE_MIN) return false;
  }
  return at == end;
}
