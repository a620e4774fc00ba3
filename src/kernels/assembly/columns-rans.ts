// Bins by rANS with static frequencies, one table a context. Four lanes each code a quarter of the rows, so that a
// context may hang on the bin before, and the lanes still wait for nothing but themselves. J. Duda, arXiv:1311.2540;
// interleaving after F. Giesen, arXiv:1402.3392.

import { BINS, CLASSES, CONTEXT, FREQUENCIES, SLOTS, STARTS, TOKENS } from "./columns-memory";

/** States stay in [2^15, 2^31) and shed 16 bits at a time. */
const STATE_MIN: u32 = 1 << 15;
/** Where lanes are left off: their states u32, and the address of the next word. */
const LEFT_OFF = memory.data(32);

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
      if (decoding && frequency != 0) fillSlots(slots + (<usize>start << 2), frequency, b | ((frequency - 1) << 20));
      start += frequency;
    }
    if (start != <u32>1 << bits) return false;
  }
  if (decoding) {
    for (let b: usize = 0; b < <usize>bins; b++) store<u8>(CLASSES + b, load<u8>(b << 5, BINS + 17));
  }
  return true;
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

/** Codes `count` bins; the stream ends at `end` and its address is returned: four states u32, then words u16. */
export function columnEncode(tokens: usize, context: usize, count: usize, bits: u32, byClass: bool, end: usize): usize {
  const quarter = (count + 3) >> 2;
  let out = end;
  let x0 = STATE_MIN, x1 = STATE_MIN, x2 = STATE_MIN, x3 = STATE_MIN;
  for (let i = <isize>quarter - 1; i >= 0; i--) {
    for (let lane: i32 = 3; lane >= 0; lane--) {
      const row = <usize>lane * quarter + <usize>i;
      if (row >= count) continue;
      const c = contextOf(tokens, context, row, <usize>lane * quarter, byClass);
      const at = <usize>((c << 8) | <u32>load<u8>(tokens + row)) << 1;
      const frequency = <u32>load<u16>(FREQUENCIES + at), start = <u32>load<u16>(STARTS + at);
      let x = lane == 0 ? x0 : lane == 1 ? x1 : lane == 2 ? x2 : x3;
      if ((x >>> (31 - bits)) >= frequency) {
        out -= 2;
        store<u16>(out, x);
        x >>>= 16;
      }
      const quotient = x / frequency;
      x = (quotient << bits) + (x - quotient * frequency) + start;
      if (lane == 0) x0 = x;
      else if (lane == 1) x1 = x;
      else if (lane == 2) x2 = x;
      else x3 = x;
    }
  }
  out -= 16;
  store<u32>(out, x0);
  store<u32>(out, x1, 4);
  store<u32>(out, x2, 8);
  store<u32>(out, x3, 12);
  return out;
}

/** Which contexts hang on other columns, and which on the bin before; as the caller of `columnDecode` says. */
const BOTH: u32 = 0, PLAIN: u32 = 1, CLASS_ALONE: u32 = 2, OTHERS_ALONE: u32 = 3;

/** Where a row's slots begin, in bytes. */
// @ts-ignore: decorator
@inline
function slotsOf(row: usize, own: u32, bits: u32, mode: u32): usize {
  if (mode == PLAIN) return 0;
  if (mode == CLASS_ALONE) return <usize>(own << (bits + 2));
  const other = <u32>load<u8>(row, CONTEXT);
  return <usize>((mode == BOTH ? other + own : other) << (bits + 2));
}

// @ts-ignore: decorator
@inline
function classOf(slot: u32, mode: u32): u32 {
  return mode == BOTH || mode == CLASS_ALONE ? <u32>load<u8>(<usize>(slot & 255), CLASSES) : 0;
}

/** A state past the bin of its slot. */
// @ts-ignore: decorator
@inline
function advance(x: u32, slot: u32, bits: u32): u32 {
  // frequency * (x >>> bits) + (slot - start), the frequency less 1 being what waits for the table longest.
  const quotient = x >>> bits;
  return (slot >>> 20) * quotient + (((slot >>> 8) & 4095) + quotient);
}

/** The first `whole` rows of all four lanes. Inlined where `bits` and `mode` are constants: nothing is asked in the loop. */
// @ts-ignore: decorator
@inline
function decodeLanes(whole: usize, quarter: usize, bits: u32, mode: u32, at: usize): void {
  const mask: u32 = ((<u32>1 << bits) - 1) << 2;
  let x0 = load<u32>(at), x1 = load<u32>(at, 4), x2 = load<u32>(at, 8), x3 = load<u32>(at, 12);
  let k0: u32 = 0, k1: u32 = 0, k2: u32 = 0, k3: u32 = 0;
  at += 16;
  for (let i: usize = 0; i < whole; i++) {
    const row1 = i + quarter, row2 = row1 + quarter, row3 = row2 + quarter;
    const s0 = load<u32>(slotsOf(i, k0, bits, mode) + <usize>((x0 << 2) & mask), SLOTS);
    store<u8>(i, s0, TOKENS);
    k0 = classOf(s0, mode);
    x0 = advance(x0, s0, bits);
    const n0 = (x0 - STATE_MIN) >>> 31;
    x0 = select<u32>((x0 << 16) | <u32>load<u16>(at), x0, x0 < STATE_MIN);
    at += <usize>n0 << 1;
    const s1 = load<u32>(slotsOf(row1, k1, bits, mode) + <usize>((x1 << 2) & mask), SLOTS);
    store<u8>(row1, s1, TOKENS);
    k1 = classOf(s1, mode);
    x1 = advance(x1, s1, bits);
    const n1 = (x1 - STATE_MIN) >>> 31;
    x1 = select<u32>((x1 << 16) | <u32>load<u16>(at), x1, x1 < STATE_MIN);
    at += <usize>n1 << 1;
    const s2 = load<u32>(slotsOf(row2, k2, bits, mode) + <usize>((x2 << 2) & mask), SLOTS);
    store<u8>(row2, s2, TOKENS);
    k2 = classOf(s2, mode);
    x2 = advance(x2, s2, bits);
    const n2 = (x2 - STATE_MIN) >>> 31;
    x2 = select<u32>((x2 << 16) | <u32>load<u16>(at), x2, x2 < STATE_MIN);
    at += <usize>n2 << 1;
    const s3 = load<u32>(slotsOf(row3, k3, bits, mode) + <usize>((x3 << 2) & mask), SLOTS);
    store<u8>(row3, s3, TOKENS);
    k3 = classOf(s3, mode);
    x3 = advance(x3, s3, bits);
    const n3 = (x3 - STATE_MIN) >>> 31;
    x3 = select<u32>((x3 << 16) | <u32>load<u16>(at), x3, x3 < STATE_MIN);
    at += <usize>n3 << 1;
  }
  store<u32>(LEFT_OFF, x0);
  store<u32>(LEFT_OFF, x1, 4);
  store<u32>(LEFT_OFF, x2, 8);
  store<u32>(LEFT_OFF, x3, 12);
  store<u32>(LEFT_OFF, <u32>at, 16);
}

// What encoders write; everything else goes the general way.
function decodePlain10(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 10, PLAIN, at);
}
function decodeClass10(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 10, CLASS_ALONE, at);
}
function decodeOthers10(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 10, OTHERS_ALONE, at);
}
function decodeBoth10(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 10, BOTH, at);
}
function decodeClass11(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 11, CLASS_ALONE, at);
}
function decodeOthers11(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 11, OTHERS_ALONE, at);
}
function decodeBoth11(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 11, BOTH, at);
}
function decodePlain12(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 12, PLAIN, at);
}
function decodeClass12(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 12, CLASS_ALONE, at);
}
function decodeOthers12(whole: usize, quarter: usize, at: usize): void {
  decodeLanes(whole, quarter, 12, OTHERS_ALONE, at);
}
function decodeAny(whole: usize, quarter: usize, bits: u32, at: usize): void {
  decodeLanes(whole, quarter, bits, BOTH, at);
}

/**
 * Decodes `count` bins from the stream [at, end) to TOKENS; false unless it is exactly what an encoder writes. `mode`: 0
 * contexts hang on CONTEXT and the bin before, 1 there is but one, 2 on the bin before alone, 3 on CONTEXT alone. A row takes in
 * at most a word: so far past `at` it may read.
 */
export function columnDecode(count: usize, bits: u32, mode: u32, at: usize, end: usize): bool {
  if (end - at < 16) return false;
  const quarter = (count + 3) >> 2;
  const whole = count > 3 * quarter ? count - 3 * quarter : 0;
  switch ((bits << 2) | mode) {
    case (10 << 2) | PLAIN: decodePlain10(whole, quarter, at); break;
    case (10 << 2) | CLASS_ALONE: decodeClass10(whole, quarter, at); break;
    case (10 << 2) | OTHERS_ALONE: decodeOthers10(whole, quarter, at); break;
    case (10 << 2) | BOTH: decodeBoth10(whole, quarter, at); break;
    case (11 << 2) | CLASS_ALONE: decodeClass11(whole, quarter, at); break;
    case (11 << 2) | OTHERS_ALONE: decodeOthers11(whole, quarter, at); break;
    case (11 << 2) | BOTH: decodeBoth11(whole, quarter, at); break;
    case (12 << 2) | PLAIN: decodePlain12(whole, quarter, at); break;
    case (12 << 2) | CLASS_ALONE: decodeClass12(whole, quarter, at); break;
    case (12 << 2) | OTHERS_ALONE: decodeOthers12(whole, quarter, at); break;
    default:
      if (mode == PLAIN || mode == CLASS_ALONE) memory.fill(CONTEXT, 0, count);
      if (mode == PLAIN || mode == OTHERS_ALONE) memory.fill(CLASSES, 0, 256);
      decodeAny(whole, quarter, bits, at);
  }
  at = <usize>load<u32>(LEFT_OFF, 16);
  const mask: u32 = ((<u32>1 << bits) - 1) << 2;
  for (let i = whole; i < quarter; i++) {
    for (let lane: usize = 0; lane < 4; lane++) {
      const row = lane * quarter + i;
      if (row >= count) break;
      const own: u32 = i == 0 ? 0 : <u32>load<u8>(<usize>load<u8>(row - 1, TOKENS), CLASSES);
      let c: u32 = mode == BOTH || mode == OTHERS_ALONE ? <u32>load<u8>(row, CONTEXT) : 0;
      if (mode == BOTH || mode == CLASS_ALONE) c += own;
      let x = load<u32>(LEFT_OFF + (lane << 2));
      const slot = load<u32>(<usize>(c << (bits + 2)) + <usize>((x << 2) & mask), SLOTS);
      store<u8>(row, slot, TOKENS);
      x = advance(x, slot, bits);
      if (x < STATE_MIN) {
        x = (x << 16) | <u32>load<u16>(at);
        at += 2;
      }
      store<u32>(LEFT_OFF + (lane << 2), x);
    }
  }
  const left = v128.load(LEFT_OFF);
  return at == end && v128.all_true<i32>(v128.eq<i32>(left, i32x4.splat(STATE_MIN)));
}
