// Adaptive models of 16 symbols and the interleaved rANS coder over them.
//
// A model is 64 bytes:  c[0..15] u16 | c[16] = 32768 u16 | age u16 | unused
// c is the cumulative frequency in 1/32768; symbol s has [c[s], c[s+1]). After each symbol every c[i] moves towards 0
// (i <= s) or 32768 (i > s) by 1/2^rate of the way, where rate = floor(log2(age)) and the age stops at 256: fast at
// first, slow once there is something to lose. The targets keep one apart from each other, so no frequency reaches 0.
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

const AGE_OFFSET: usize = 34;

function fillTables(): void {
  for (let s: i32 = 0; s < 16; s++) {
    for (let i: i32 = 0; i < 16; i++) {
      store<u16>(TARGETS + s * 32 + i * 2, <u16>(i <= s ? i : 32768 - 16 + i));
    }
  }
  // A little above the true reciprocal: x * r then truncates to floor(x / f) for every x < 2^32, f <= 2^15.
  for (let f: usize = 1; f <= 32768; f++) store<f64>(RECIPROCALS + f * 8, (1.0 / <f64>f) * (1.0 + 8.8817841970012523e-16));
}
let tablesFilled = false;

let stepCount: usize = 0;

/** Forgets everything learnt: models [0, binaryFrom) are uniform over 16 symbols, [binaryFrom, count) over 0 and 1. */
export function modelsReset(binaryFrom: u32, count: u32): void {
  if (!tablesFilled) {
    fillTables();
    tablesFilled = true;
  }
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
function learn(model: usize, low: v128, high: v128, symbol: usize): void {
  const age = <u32>load<u16>(model, AGE_OFFSET);
  const rate = <i32>(31 - clz(age));
  const target = TARGETS + (symbol << 5);
  v128.store(model, v128.add<i16>(low, v128.shr<i16>(v128.sub<i16>(v128.load(target), low), rate)));
  v128.store(model, v128.add<i16>(high, v128.shr<i16>(v128.sub<i16>(v128.load(target, 16), high), rate)), 16);
  store<u16>(model, age + u32(age < 256), AGE_OFFSET);
}

/** Appends the steps of `count` symbols (u8) in contexts (u16), and fills up to a multiple of four. */
export function encodePass(symbols: usize, contexts: usize, count: usize): void {
  let step = STEPS + (stepCount << 2);
  for (let i: usize = 0; i < count; i++) {
    const symbol = <usize>load<u8>(symbols + i);
    const model = MODELS + (<usize>load<u16>(contexts + (i << 1)) << 6);
    // start in the low half, end in the high half
    const range = load<u32>(model + (symbol << 1));
    const start = range & 0xffff;
    store<u32>(step, (start << 16) | ((range >>> 16) - start));
    learn(model, v128.load(model), v128.load(model, 16), symbol);
    step += 4;
  }
  for (let i = count; (i & 3) !== 0; i++) {
    store<u32>(step, NO_STEP);
    step += 4;
  }
  stepCount = (step - STEPS) >> 2;
}

/** Sum of -log2(frequency / 32768) over the steps from `first` on, in bits. */
export function stepsCost(first: usize): f64 {
  let bits: f64 = 0;
  let product: f64 = 1;
  for (let i = first; i < stepCount; i++) {
    product *= <f64>(load<u32>(STEPS + (i << 2)) & 0xffff) * (1.0 / 32768.0);
    // 2^-15 is the least a factor can be: 32 of them stay far above the smallest double.
    if ((i & 31) == 31) {
      bits -= log2Of(product);
      product = 1;
    }
  }
  return bits - log2Of(product);
}

// @ts-ignore: decorator
@inline
function log2Of(x: f64): f64 {
  // Exponent and a quadratic through the mantissa: 1 % of a bit is enough to compare two ways of coding.
  const raw = reinterpret<u64>(x);
  const exponent = <f64>(<i64>((raw >> 52) & 2047) - 1023);
  const m = reinterpret<f64>((raw & 0x000fffffffffffff) | 0x3ff0000000000000);
  return exponent + (-0.3358287811 * m + 2.0) * m - 1.65871;
}

export function stepsTaken(): usize {
  return stepCount;
}

// @ts-ignore: decorator
@inline
function put(state: u32, step: u32): u32 {
  const frequency = step & 0xffff;
  const quotient = <u32>(<f64>state * load<f64>(RECIPROCALS + (<usize>frequency << 3)));
  return (quotient << PROBABILITY_BITS) + (state - quotient * frequency) + (step >>> 16);
}

/** Codes all steps, last to first, into a stream: four states u32, then u16 words. Returns its address. */
export function streamEncode(): usize {
  let x0 = STATE_MIN, x1 = STATE_MIN, x2 = STATE_MIN, x3 = STATE_MIN;
  let out = STREAM + STREAM_BYTES;
  for (let step = STEPS + (stepCount << 2); step > STEPS; ) {
    step -= 16;
    const s3 = load<u32>(step, 12);
    store<u16>(out - 2, x3);
    const n3 = <u64>x3 >= <u64>(s3 & 0xffff) << 17;
    out -= usize(n3) << 1;
    x3 = put(n3 ? x3 >>> 16 : x3, s3);
    const s2 = load<u32>(step, 8);
    store<u16>(out - 2, x2);
    const n2 = <u64>x2 >= <u64>(s2 & 0xffff) << 17;
    out -= usize(n2) << 1;
    x2 = put(n2 ? x2 >>> 16 : x2, s2);
    const s1 = load<u32>(step, 4);
    store<u16>(out - 2, x1);
    const n1 = <u64>x1 >= <u64>(s1 & 0xffff) << 17;
    out -= usize(n1) << 1;
    x1 = put(n1 ? x1 >>> 16 : x1, s1);
    const s0 = load<u32>(step);
    store<u16>(out - 2, x0);
    const n0 = <u64>x0 >= <u64>(s0 & 0xffff) << 17;
    out -= usize(n0) << 1;
    x0 = put(n0 ? x0 >>> 16 : x0, s0);
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
function symbolAt(low: v128, high: v128, slot: u32): usize {
  const splat = i16x8.splat(<i16>slot);
  const reached = i8x16.narrow_i16x8_s(v128.le<i16>(low, splat), v128.le<i16>(high, splat));
  return <usize>popcnt(<u32>v128.bitmask<i8>(reached)) - 1;
}

// @ts-ignore: decorator
@inline
function advance(state: u32, model: usize, symbol: usize, slot: u32): u32 {
  const range = load<u32>(model + (symbol << 1));
  const start = range & 0xffff;
  return ((range >>> 16) - start) * (state >>> PROBABILITY_BITS) + slot - start;
}

/**
 * Decodes `count` symbols into `symbols` (u8), given their contexts (u16). False once the stream has run out: what
 * was decoded past its end came from other bytes of this memory and is to be thrown away.
 */
export function decodePass(symbols: usize, contexts: usize, count: usize): bool {
  let x0 = y0, x1 = y1, x2 = y2, x3 = y3;
  let at = readAt;
  // Words past the end of memory cannot be read: an address near it can only come from a stream that has run out.
  const limit = END - 64;
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) {
    const fourContexts = load<u64>(contexts + (i << 1));
    x0 = one(symbols + i, MODELS + ((<usize>fourContexts & 0xffff) << 6), x0);
    const n0 = x0 < STATE_MIN;
    x0 = n0 ? (x0 << 16) | load<u16>(at) : x0;
    at += usize(n0) << 1;
    x1 = one(symbols + i + 1, MODELS + ((<usize>(fourContexts >> 16) & 0xffff) << 6), x1);
    const n1 = x1 < STATE_MIN;
    x1 = n1 ? (x1 << 16) | load<u16>(at) : x1;
    at += usize(n1) << 1;
    x2 = one(symbols + i + 2, MODELS + ((<usize>(fourContexts >> 32) & 0xffff) << 6), x2);
    const n2 = x2 < STATE_MIN;
    x2 = n2 ? (x2 << 16) | load<u16>(at) : x2;
    at += usize(n2) << 1;
    x3 = one(symbols + i + 3, MODELS + (<usize>(fourContexts >> 48) << 6), x3);
    const n3 = x3 < STATE_MIN;
    x3 = n3 ? (x3 << 16) | load<u16>(at) : x3;
    at += usize(n3) << 1;
    if (at > limit) at = limit;
  }
  for (let lane = 0; i < count; i++, lane++) {
    let x = lane == 0 ? x0 : lane == 1 ? x1 : x2;
    x = one(symbols + i, MODELS + (<usize>load<u16>(contexts + (i << 1)) << 6), x);
    if (x < STATE_MIN) {
      x = (x << 16) | load<u16>(at);
      at += 2;
    }
    if (lane == 0) x0 = x;
    else if (lane == 1) x1 = x;
    else x2 = x;
  }
  y0 = x0;
  y1 = x1;
  y2 = x2;
  y3 = x3;
  readAt = at;
  return at <= readEnd;
}

// @ts-ignore: decorator
@inline
function one(target: usize, model: usize, state: u32): u32 {
  const low = v128.load(model);
  const high = v128.load(model, 16);
  const slot = state & SLOT_MASK;
  const symbol = symbolAt(low, high, slot);
  store<u8>(target, symbol);
  const next = advance(state, model, symbol, slot);
  learn(model, low, high, symbol);
  return next;
}

/** Decodes one symbol with state `lane`, for contexts that depend on the symbol before. */
export function decodeOne(lane: usize, context: u32): u32 {
  let x = lane == 0 ? y0 : lane == 1 ? y1 : lane == 2 ? y2 : y3;
  const model = MODELS + (<usize>context << 6);
  const slot = x & SLOT_MASK;
  const low = v128.load(model), high = v128.load(model, 16);
  const symbol = symbolAt(low, high, slot);
  x = advance(x, model, symbol, slot);
  learn(model, low, high, symbol);
  if (x < STATE_MIN) {
    x = (x << 16) | load<u16>(readAt);
    if (readAt < END - 64) readAt += 2;
  }
  if (lane == 0) y0 = x;
  else if (lane == 1) y1 = x;
  else if (lane == 2) y2 = x;
  else y3 = x;
  return <u32>symbol;
}
