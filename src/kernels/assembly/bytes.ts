// Order-0 coding of a byte plane: static frequencies in 1/4096, rANS with four interleaved states, one look-up a symbol
// to decode. Frequencies travel with the plane, see src/codec/frequencies.ts.

import { BITS, END, STREAM, STREAM_BYTES } from "./memory";

/** States stay in [2^15, 2^31) and shed 16 bits at a time. */
const STATE_MIN: u32 = 1 << 15;
const SCALE_BITS: u32 = 12;
/** With states below frequency * 2^19, ceil(2^43 / frequency) gives every quotient exactly within 64 bits. */
const RECIPROCAL_BITS: u64 = 43;
const LAST_WORD: usize = END - 64;

const HISTOGRAMS = memory.data(4 * 256 * 4);
/** By symbol: reciprocal of the frequency u64, start u32, frequency u32. */
const RANGES = memory.data(256 * 16);
/** By slot: symbol | (frequency - 1) << 8 | (slot - start) << 20. */
const SLOTS = memory.data(4096 * 4);

/** Counts the bytes of a plane into the first histogram and returns its address (u32 by byte). */
export function histogram(plane: usize, count: usize): usize {
  memory.fill(HISTOGRAMS, 0, 4096);
  let i: usize = 0;
  // Four tables: counting one byte twice in a row would wait for the first store.
  for (; i + 8 <= count; i += 8) {
    const word = load<u64>(plane + i);
    bump(HISTOGRAMS + ((<usize>word & 255) << 2));
    bump(HISTOGRAMS + 1024 + (<usize>(word >> 6) & 1020));
    bump(HISTOGRAMS + 2048 + (<usize>(word >> 14) & 1020));
    bump(HISTOGRAMS + 3072 + (<usize>(word >> 22) & 1020));
    bump(HISTOGRAMS + (<usize>(word >> 30) & 1020));
    bump(HISTOGRAMS + 1024 + (<usize>(word >> 38) & 1020));
    bump(HISTOGRAMS + 2048 + (<usize>(word >> 46) & 1020));
    bump(HISTOGRAMS + 3072 + (<usize>(word >> 54) & 1020));
  }
  for (; i < count; i++) bump(HISTOGRAMS + (<usize>load<u8>(plane + i) << 2));
  for (let at = HISTOGRAMS; at < HISTOGRAMS + 1024; at += 16) {
    const ab = v128.add<i32>(v128.load(at), v128.load(at, 1024));
    v128.store(at, v128.add<i32>(ab, v128.add<i32>(v128.load(at, 2048), v128.load(at, 3072))));
  }
  return HISTOGRAMS;
}

// @ts-ignore: decorator
@inline
function bump(at: usize): void {
  store<u32>(at, load<u32>(at) + 1);
}

/** Where the loader writes the 256 frequencies (u16), of which the used ones add up to 4096. */
export function frequencyTable(): usize {
  return HISTOGRAMS;
}

/** Makes the tables to encode and decode from those frequencies; false unless they add up. */
export function useFrequencies(decoding: bool): bool {
  let start: u32 = 0;
  for (let symbol: u32 = 0; symbol < 256; symbol++) {
    const frequency = <u32>load<u16>(HISTOGRAMS + (symbol << 1));
    if (start + frequency > 4096) return false;
    const range = RANGES + (symbol << 4);
    if (frequency > 0) store<u64>(range, (((<u64>1) << RECIPROCAL_BITS) + frequency - 1) / frequency);
    store<u32>(range, start, 8);
    store<u32>(range, frequency, 12);
    if (decoding) {
      for (let i: u32 = 0; i < frequency; i++) {
        store<u32>(SLOTS + ((start + i) << 2), symbol | ((frequency - 1) << 8) | (i << 20));
      }
    }
    start += frequency;
  }
  return start == 4096;
}

// @ts-ignore: decorator
@inline
function put(state: u32, range: usize): u32 {
  const quotient = <u32>((<u64>state * load<u64>(range)) >> RECIPROCAL_BITS);
  return state + load<u32>(range, 8) + quotient * ((1 << SCALE_BITS) - load<u32>(range, 12));
}

// @ts-ignore: decorator
@inline
function rangeAt(at: usize): usize {
  return RANGES + (<usize>load<u8>(at) << 4);
}

// @ts-ignore: decorator
@inline
function sheds(state: u32, range: usize): u32 {
  return u32((state >>> 19) >= load<u32>(range, 12));
}

/** Codes a plane into a stream, four states u32 and u16 words; returns its address, it ends where streams end. */
export function bytesEncode(plane: usize, count: usize): usize {
  let x0 = STATE_MIN, x1 = STATE_MIN, x2 = STATE_MIN, x3 = STATE_MIN;
  let out = STREAM + STREAM_BYTES;
  let i = count;
  for (; (i & 3) != 0; i--) {
    const lane = (i - 1) & 3;
    const range = rangeAt(plane + i - 1);
    let x = lane == 0 ? x0 : lane == 1 ? x1 : x2;
    if (sheds(x, range)) {
      out -= 2;
      store<u16>(out, x);
      x >>>= 16;
    }
    x = put(x, range);
    if (lane == 0) x0 = x;
    else if (lane == 1) x1 = x;
    else x2 = x;
  }
  for (; i > 0; i -= 4) {
    const r3 = rangeAt(plane + i - 1), r2 = rangeAt(plane + i - 2), r1 = rangeAt(plane + i - 3), r0 = rangeAt(plane + i - 4);
    const n3 = sheds(x3, r3);
    store<u16>(out - 2, x3);
    out -= <usize>n3 << 1;
    x3 = put(x3 >>> (n3 << 4), r3);
    const n2 = sheds(x2, r2);
    store<u16>(out - 2, x2);
    out -= <usize>n2 << 1;
    x2 = put(x2 >>> (n2 << 4), r2);
    const n1 = sheds(x1, r1);
    store<u16>(out - 2, x1);
    out -= <usize>n1 << 1;
    x1 = put(x1 >>> (n1 << 4), r1);
    const n0 = sheds(x0, r0);
    store<u16>(out - 2, x0);
    out -= <usize>n0 << 1;
    x0 = put(x0 >>> (n0 << 4), r0);
  }
  out -= 16;
  store<u32>(out, x0);
  store<u32>(out, x1, 4);
  store<u32>(out, x2, 8);
  store<u32>(out, x3, 12);
  return out;
}

// @ts-ignore: decorator
@inline
function slotOf(state: u32): u32 {
  return load<u32>(SLOTS + (<usize>(state & 4095) << 2));
}

// @ts-ignore: decorator
@inline
function advance(state: u32, slot: u32): u32 {
  return (((slot >>> 8) & 4095) + 1) * (state >>> SCALE_BITS) + (slot >>> 20);
}

/** Decodes `count` bytes from the stream of `sizeBytes` at BITS; false unless it is exactly what an encoder writes. */
export function bytesDecode(plane: usize, count: usize, sizeBytes: usize): bool {
  if (sizeBytes < 16) return false;
  let x0 = load<u32>(BITS), x1 = load<u32>(BITS, 4), x2 = load<u32>(BITS, 8), x3 = load<u32>(BITS, 12);
  let at = BITS + 16;
  const whole = count & ~3;
  for (let i: usize = 0; i < whole; i += 4) {
    const s0 = slotOf(x0), s1 = slotOf(x1), s2 = slotOf(x2), s3 = slotOf(x3);
    store<u32>(plane + i, (s0 & 255) | ((s1 & 255) << 8) | ((s2 & 255) << 16) | (s3 << 24));
    x0 = advance(x0, s0);
    x1 = advance(x1, s1);
    x2 = advance(x2, s2);
    x3 = advance(x3, s3);
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
    if (at > LAST_WORD) at = LAST_WORD;
  }
  for (let i = whole; i < count; i++) {
    const lane = i & 3;
    let x = lane == 0 ? x0 : lane == 1 ? x1 : x2;
    const slot = slotOf(x);
    store<u8>(plane + i, slot);
    x = advance(x, slot);
    if (x < STATE_MIN) {
      x = (x << 16) | load<u16>(at);
      if (at < LAST_WORD) at += 2;
    }
    if (lane == 0) x0 = x;
    else if (lane == 1) x1 = x;
    else x2 = x;
  }
  return at == BITS + sizeBytes && x0 == STATE_MIN && x1 == STATE_MIN && x2 == STATE_MIN && x3 == STATE_MIN;
}

/** Where the bytes other than `value` lie: gaps u8 to BITS (255: 255 on, and none there), values to `values`; how many gaps. */
export function sparseList(plane: usize, count: usize, value: u32, values: usize): usize {
  listedGaps = BITS;
  listedValues = values;
  listedEnd = 0;
  const splat = i8x16.splat(<i8>value);
  const whole = count & ~15;
  for (let i: usize = 0; i < whole; i += 16) {
    let others = <u32>v128.bitmask<i8>(v128.ne<i8>(v128.load(plane + i), splat));
    for (; others != 0; others &= others - 1) listOne(plane, i + <usize>ctz(others));
  }
  for (let i = whole; i < count; i++) if (<u32>load<u8>(plane + i) != value) listOne(plane, i);
  return listedGaps - BITS;
}

let listedGaps: usize = 0, listedValues: usize = 0, listedEnd: usize = 0;

// @ts-ignore: decorator
@inline
function listOne(plane: usize, i: usize): void {
  let gap = i - listedEnd;
  for (; gap >= 255; gap -= 255) {
    store<u8>(listedGaps, 255);
    listedGaps++;
  }
  store<u8>(listedGaps, gap);
  listedGaps++;
  store<u8>(listedValues, load<u8>(plane + i));
  listedValues++;
  listedEnd = i + 1;
}

/** The inverse, gaps and then values at BITS, `gapCount` of the one; returns how many values, or -1. */
export function sparseFill(plane: usize, count: usize, value: u32, gapCount: usize, valueCount: usize): bool {
  memory.fill(plane, <u8>value, count);
  let at: usize = 0, values = BITS + gapCount;
  for (let i: usize = 0; i < gapCount; i++) {
    const gap = <usize>load<u8>(BITS + i);
    at += gap;
    if (gap == 255) continue;
    if (at >= count || values >= BITS + gapCount + valueCount) return false;
    store<u8>(plane + at, load<u8>(values));
    at++;
    values++;
  }
  return values == BITS + gapCount + valueCount;
}
