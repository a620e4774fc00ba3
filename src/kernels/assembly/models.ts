// Adaptive models of 16 symbols and the interleaved rANS coder over them.
//
// A model is 64 bytes:  c[0..15] u16 | c[16] = 32768 u16 | age u16 | unused
// c is the cumulative frequency in 1/32768; symbol s has [c[s], c[s+1]). After each symbol every c[i] moves towards 0
// (i <= s) or 32768 (i > s) by 1/2^rate of the way, where rate = floor(log2(age)) and the age stops at 256: fast at
// first, slow once there is something to lose. Passes take four symbols at a time: all four see the models as they were
// before, and of those that share a model only the last one moves it, which leaves no chain from symbol to symbol. The
// targets keep one apart from each other, so no frequency reaches 0.
// Moving whole distributions with SIMD is the idea of "LZNA" as described by F. Giesen (fgiesen.wordpress.com, 2015);
// rANS itself is J. Duda's (arXiv:1311.2540), interleaved as in F. Giesen's "Interleaved entropy coders"
// (arXiv:1402.3392).

import { END, MODELS, RECIPROCALS, STEPS, STREAM, STREAM_BYTES, TARGETS } from "./memory";

const PROBABILITY_BITS: u32 = 15;
const SLOT_MASK: u32 = (1 << PROBABILITY_BITS) - 1;
/** States stay in [2^16, 2^32) and shed 16 bits at a time: one renormalization a symbol is always enough. */
const STATE_MIN: u32 = 1 << 16;
/** What pads a pass to whole groups of four: a symbol of certainty, which changes no state. */
const NO_STEP: u32 = 1 << PROBABILITY_BITS;

const RECIPROCAL_BITS: u64 = 47;

const AGE_OFFSET: usize = 34;
const AGE_MAX: u32 = 256;
const LAST_WORD: usize = END - 64;

let tablesFilled = false;

/** Fills the tables that never change, once. */
export function fillTables(): void {
  if (tablesFilled) return;
  tablesFilled = true;
  for (let s: i32 = 0; s < 16; s++) {
    for (let i: i32 = 0; i < 16; i++) {
      store<u16>(TARGETS + s * 32 + i * 2, <u16>(i <= s ? i : 32768 - 16 + i));
    }
  }
  // A little above the true reciprocal: x * r >> 47 is floor(x / f) for every x < f * 2^17, f <= 2^15, within 64 bits.
  for (let f: u64 = 1; f <= 32768; f++) store<u64>(RECIPROCALS + (<usize>f << 3), (((<u64>1) << RECIPROCAL_BITS) + f - 1) / f);
}

let stepCount: usize = 0;

/** Forgets everything learnt: models [0, binaryFrom) are uniform over 16 symbols, [binaryFrom, count) over 0 and 1. */
export function modelsReset(binaryFrom: u32, count: u32): void {
  fillTables();
  stepCount = 0;
  const low = i16x8(0, 2048, 4096, 6144, 8192, 10240, 12288, 14336);
  const high = v128.add<i16>(low, i16x8.splat(16384));
  const ceiling = i16x8(32752, 32753, 32754, 32755, 32756, 32757, 32758, 32759);
  for (let i: u32 = 0; i < count; i++) {
    const model = MODELS + (<usize>i << 6);
    v128.store(model, i < binaryFrom ? low : i16x8.replace_lane(i16x8.replace_lane(ceiling, 0, 0), 1, 16384));
    v128.store(model, i < binaryFrom ? high : v128.add<i16>(ceiling, i16x8.splat(8)), 16);
    store<u16>(model, 32768, 32);
    store<u16>(model, 2, AGE_OFFSET);
  }
}

// @ts-ignore: decorator
@inline
function rateOf(model: usize): i32 {
  return <i32>(31 - clz(<u32>load<u16>(model, AGE_OFFSET)));
}

/** Eight cumulative frequencies on their way to `target`. */
// @ts-ignore: decorator
@inline
function moved(from: v128, target: v128, rate: i32): v128 {
  return v128.add<i16>(from, v128.shr<i16>(v128.sub<i16>(target, from), rate));
}

// @ts-ignore: decorator
@inline
function keep(model: usize, low: v128, high: v128, age: u32): void {
  v128.store(model, low);
  v128.store(model, high, 16);
  store<u16>(model, age, AGE_OFFSET);
}

// @ts-ignore: decorator
@inline
function older(model: usize): u32 {
  return min<u32>(<u32>load<u16>(model, AGE_OFFSET) + 1, AGE_MAX);
}

// @ts-ignore: decorator
@inline
function modelAt(contexts: usize): usize {
  return MODELS + (<usize>load<u16>(contexts) << 6);
}

/** Two loads of 16 bits: one of 32 could straddle the two halves just stored, and would have to wait for both. */
// @ts-ignore: decorator
@inline
function stepOf(model: usize, symbol: usize): u32 {
  const start = <u32>load<u16>(model + (symbol << 1));
  return (start << 16) | (<u32>load<u16>(model + (symbol << 1), 2) - start);
}

/** Appends the step of one symbol, which the next one's model already knows of. */
// @ts-ignore: decorator
@inline
function encodeOne(step: usize, model: usize, symbol: usize): void {
  store<u32>(step, stepOf(model, symbol));
  const rate = rateOf(model);
  const target = TARGETS + (symbol << 5);
  const low = moved(v128.load(model), v128.load(target), rate);
  const high = moved(v128.load(model, 16), v128.load(target, 16), rate);
  keep(model, low, high, older(model));
}

/** Appends the steps of `count` symbols (u8) in contexts (u16) one by one, and fills up to a multiple of four. */
export function encodeSerial(symbols: usize, contexts: usize, count: usize): void {
  let step = STEPS + (stepCount << 2);
  for (let i: usize = 0; i < count; i++) {
    encodeOne(step, modelAt(contexts + (i << 1)), load<u8>(symbols + i));
    step += 4;
  }
  for (let i = count; (i & 3) !== 0; i++) {
    store<u32>(step, NO_STEP);
    step += 4;
  }
  stepCount = (step - STEPS) >> 2;
}

/** The same, four symbols at a time. */
export function encodePass(symbols: usize, contexts: usize, count: usize): void {
  const whole = count & ~3;
  let step = STEPS + (stepCount << 2);
  for (let i: usize = 0; i < whole; i += 4) {
    const four = load<u64>(contexts + (i << 1));
    const m0 = MODELS + ((<usize>four & 0xffff) << 6), m1 = MODELS + ((<usize>(four >> 16) & 0xffff) << 6);
    const m2 = MODELS + ((<usize>(four >> 32) & 0xffff) << 6), m3 = MODELS + (<usize>(four >> 48) << 6);
    const s0 = <usize>load<u8>(symbols + i), s1 = <usize>load<u8>(symbols + i, 1);
    const s2 = <usize>load<u8>(symbols + i, 2), s3 = <usize>load<u8>(symbols + i, 3);
    store<u32>(step, stepOf(m0, s0));
    store<u32>(step, stepOf(m1, s1), 4);
    store<u32>(step, stepOf(m2, s2), 8);
    store<u32>(step, stepOf(m3, s3), 12);
    step += 16;
    const r0 = rateOf(m0), r1 = rateOf(m1), r2 = rateOf(m2), r3 = rateOf(m3);
    const a0 = older(m0), a1 = older(m1), a2 = older(m2), a3 = older(m3);
    const l0 = moved(v128.load(m0), v128.load(TARGETS + (s0 << 5)), r0);
    const h0 = moved(v128.load(m0, 16), v128.load(TARGETS + (s0 << 5), 16), r0);
    const l1 = moved(v128.load(m1), v128.load(TARGETS + (s1 << 5)), r1);
    const h1 = moved(v128.load(m1, 16), v128.load(TARGETS + (s1 << 5), 16), r1);
    const l2 = moved(v128.load(m2), v128.load(TARGETS + (s2 << 5)), r2);
    const h2 = moved(v128.load(m2, 16), v128.load(TARGETS + (s2 << 5), 16), r2);
    const l3 = moved(v128.load(m3), v128.load(TARGETS + (s3 << 5)), r3);
    const h3 = moved(v128.load(m3, 16), v128.load(TARGETS + (s3 << 5), 16), r3);
    keep(m0, l0, h0, a0);
    keep(m1, l1, h1, a1);
    keep(m2, l2, h2, a2);
    keep(m3, l3, h3, a3);
  }
  stepCount = (step - STEPS) >> 2;
  encodeSerial(symbols + whole, contexts + (whole << 1), count - whole);
}

// @ts-ignore: decorator
@inline
function put(state: u32, step: u32): u32 {
  const frequency = step & 0xffff;
  const quotient = <u32>((<u64>state * load<u64>(RECIPROCALS + (<usize>frequency << 3))) >> RECIPROCAL_BITS);
  return state + (step >>> 16) + quotient * ((1 << PROBABILITY_BITS) - frequency);
}

/** 1 if the state must shed 16 bits before it takes this step; arithmetic, since a branch would be a coin toss. */
// @ts-ignore: decorator
@inline
function sheds(state: u32, step: u32): u32 {
  return u32((state >>> 17) >= (step & 0xffff));
}

/** Codes all steps, last to first, into a stream: four states u32, then u16 words. Returns its address. */
export function streamEncode(): usize {
  let x0 = STATE_MIN, x1 = STATE_MIN, x2 = STATE_MIN, x3 = STATE_MIN;
  let out = STREAM + STREAM_BYTES;
  for (let step = STEPS + (stepCount << 2); step > STEPS; ) {
    step -= 16;
    const s3 = load<u32>(step, 12);
    store<u16>(out - 2, x3);
    const n3 = sheds(x3, s3);
    out -= <usize>n3 << 1;
    x3 = put(x3 >>> (n3 << 4), s3);
    const s2 = load<u32>(step, 8);
    store<u16>(out - 2, x2);
    const n2 = sheds(x2, s2);
    out -= <usize>n2 << 1;
    x2 = put(x2 >>> (n2 << 4), s2);
    const s1 = load<u32>(step, 4);
    store<u16>(out - 2, x1);
    const n1 = sheds(x1, s1);
    out -= <usize>n1 << 1;
    x1 = put(x1 >>> (n1 << 4), s1);
    const s0 = load<u32>(step);
    store<u16>(out - 2, x0);
    const n0 = sheds(x0, s0);
    out -= <usize>n0 << 1;
    x0 = put(x0 >>> (n0 << 4), s0);
  }
  out -= 16;
  store<u32>(out, x0);
  store<u32>(out, x1, 4);
  store<u32>(out, x2, 8);
  store<u32>(out, x3, 12);
  return out;
}

export function streamEnd(): usize {
  return STREAM + STREAM_BYTES;
}

let y0: u32 = 0, y1: u32 = 0, y2: u32 = 0, y3: u32 = 0;
let readAt: usize = 0;
let readEnd: usize = 0;

/** Starts decoding the stream of `sizeBytes` (at least 16) at `at`. */
export function streamOpen(at: usize, sizeBytes: usize): void {
  y0 = load<u32>(at);
  y1 = load<u32>(at, 4);
  y2 = load<u32>(at, 8);
  y3 = load<u32>(at, 12);
  readAt = at + 16;
  readEnd = at + sizeBytes;
}

/** Whether the stream was read exactly to its end and its states are what an encoder starts from. */
export function streamClosed(): bool {
  return readAt == readEnd && y0 == STATE_MIN && y1 == STATE_MIN && y2 == STATE_MIN && y3 == STATE_MIN;
}

// @ts-ignore: decorator
@inline
function advance(state: u32, step: u32): u32 {
  return (step & 0xffff) * (state >>> PROBABILITY_BITS) + (state & SLOT_MASK) - (step >>> 16);
}

// The lanes of a model whose cumulative frequency lies above the slot are those after the symbol's.

// @ts-ignore: decorator
@inline
function symbolOf(lowAbove: v128, highAbove: v128): usize {
  const above = <u32>v128.bitmask<i8>(i8x16.narrow_i16x8_s(lowAbove, highAbove));
  return <usize>(15 - popcnt(above));
}

/** The targets are made from the comparison: that is sooner than knowing the symbol. */
// @ts-ignore: decorator
@inline
function movedLow(from: v128, above: v128, rate: i32): v128 {
  const target = v128.add<i16>(i16x8(0, 1, 2, 3, 4, 5, 6, 7), v128.and(above, i16x8.splat(32752)));
  return moved(from, target, rate);
}

// @ts-ignore: decorator
@inline
function movedHigh(from: v128, above: v128, rate: i32): v128 {
  const target = v128.add<i16>(i16x8(8, 9, 10, 11, 12, 13, 14, 15), v128.and(above, i16x8.splat(32752)));
  return moved(from, target, rate);
}

// @ts-ignore: decorator
@inline
function splatSlot(state: u32): v128 {
  return i16x8.splat(<i16>(state & SLOT_MASK));
}

/**
 * Decodes `count` symbols into `symbols` (u8), given their contexts (u16). False once the stream has run out: what
 * was decoded past its end came from other bytes of this memory and is to be thrown away.
 */
export function decodePass(symbols: usize, contexts: usize, count: usize): bool {
  let x0 = y0, x1 = y1, x2 = y2, x3 = y3;
  let at = readAt;
  const whole = count & ~3;
  for (let i: usize = 0; i < whole; i += 4) {
    const four = load<u64>(contexts + (i << 1));
    const m0 = MODELS + ((<usize>four & 0xffff) << 6), m1 = MODELS + ((<usize>(four >> 16) & 0xffff) << 6);
    const m2 = MODELS + ((<usize>(four >> 32) & 0xffff) << 6), m3 = MODELS + (<usize>(four >> 48) << 6);
    let low = v128.load(m0), high = v128.load(m0, 16), slot = splatSlot(x0), rate = rateOf(m0);
    let lowAbove = v128.gt<i16>(low, slot), highAbove = v128.gt<i16>(high, slot);
    let symbol = symbolOf(lowAbove, highAbove);
    store<u8>(symbols + i, symbol);
    const l0 = movedLow(low, lowAbove, rate), h0 = movedHigh(high, highAbove, rate), a0 = older(m0);
    x0 = advance(x0, stepOf(m0, symbol));

    low = v128.load(m1); high = v128.load(m1, 16); slot = splatSlot(x1); rate = rateOf(m1);
    lowAbove = v128.gt<i16>(low, slot); highAbove = v128.gt<i16>(high, slot);
    symbol = symbolOf(lowAbove, highAbove);
    store<u8>(symbols + i, symbol, 1);
    const l1 = movedLow(low, lowAbove, rate), h1 = movedHigh(high, highAbove, rate), a1 = older(m1);
    x1 = advance(x1, stepOf(m1, symbol));

    low = v128.load(m2); high = v128.load(m2, 16); slot = splatSlot(x2); rate = rateOf(m2);
    lowAbove = v128.gt<i16>(low, slot); highAbove = v128.gt<i16>(high, slot);
    symbol = symbolOf(lowAbove, highAbove);
    store<u8>(symbols + i, symbol, 2);
    const l2 = movedLow(low, lowAbove, rate), h2 = movedHigh(high, highAbove, rate), a2 = older(m2);
    x2 = advance(x2, stepOf(m2, symbol));

    low = v128.load(m3); high = v128.load(m3, 16); slot = splatSlot(x3); rate = rateOf(m3);
    lowAbove = v128.gt<i16>(low, slot); highAbove = v128.gt<i16>(high, slot);
    symbol = symbolOf(lowAbove, highAbove);
    store<u8>(symbols + i, symbol, 3);
    const l3 = movedLow(low, lowAbove, rate), h3 = movedHigh(high, highAbove, rate), a3 = older(m3);
    x3 = advance(x3, stepOf(m3, symbol));

    keep(m0, l0, h0, a0);
    keep(m1, l1, h1, a1);
    keep(m2, l2, h2, a2);
    keep(m3, l3, h3, a3);

    // Refill without branches: whether a state needs it is a coin toss.
    const n0 = u32(x0 < STATE_MIN);
    x0 = (x0 << (n0 << 4)) | (<u32>load<u16>(at) & (0 - n0));
    at += <usize>n0 << 1;
    const n1 = u32(x1 < STATE_MIN);
    x1 = (x1 << (n1 << 4)) | (<u32>load<u16>(at) & (0 - n1));
    at += <usize>n1 << 1;
    const n2 = u32(x2 < STATE_MIN);
    x2 = (x2 << (n2 << 4)) | (<u32>load<u16>(at) & (0 - n2));
    at += <usize>n2 << 1;
    const n3 = u32(x3 < STATE_MIN);
    x3 = (x3 << (n3 << 4)) | (<u32>load<u16>(at) & (0 - n3));
    at += <usize>n3 << 1;
    // The passes of a chunk cannot get here with a sound stream, nor past the end of memory with any.
    if (at > LAST_WORD) at = LAST_WORD;
  }
  y0 = x0;
  y1 = x1;
  y2 = x2;
  y3 = x3;
  readAt = at;
  for (let i = whole; i < count; i++) {
    store<u8>(symbols + i, decodeOne(i & 3, load<u16>(contexts + (i << 1))));
  }
  return readAt <= readEnd;
}

/** Decodes one symbol with state `lane`, for contexts that depend on the symbol before; see encodeSerial. */
export function decodeOne(lane: usize, context: u32): u32 {
  let x = lane == 0 ? y0 : lane == 1 ? y1 : lane == 2 ? y2 : y3;
  const model = MODELS + (<usize>context << 6);
  const low = v128.load(model), high = v128.load(model, 16), slot = splatSlot(x), rate = rateOf(model);
  const lowAbove = v128.gt<i16>(low, slot), highAbove = v128.gt<i16>(high, slot);
  const symbol = symbolOf(lowAbove, highAbove);
  x = advance(x, stepOf(model, symbol));
  keep(model, movedLow(low, lowAbove, rate), movedHigh(high, highAbove, rate), older(model));
  if (x < STATE_MIN) {
    x = (x << 16) | load<u16>(readAt);
    if (readAt < LAST_WORD) readAt += 2;
  }
  if (lane == 0) y0 = x;
  else if (lane == 1) y1 = x;
  else if (lane == 2) y2 = x;
  else y3 = x;
  return <u32>symbol;
}
