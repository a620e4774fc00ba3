// Bins by rANS with static frequencies, one table a context. Four lanes each code a quarter of the rows, so that a
// context may hang on the bin before, and the lanes still wait for nothing but themselves. J. Duda, arXiv:1311.2540;
// interleaving after F. Giesen, arXiv:1402.3392.

import { BINS, COLUMNS_END, FREQUENCIES, SLOTS, STARTS } from "./columns-memory";

/** States stay in [2^15, 2^31) and shed 16 bits at a time. */
const STATE_MIN: u32 = 1 << 15;
const LAST_WORD: usize = COLUMNS_END - 64;

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
      if (decoding) {
        for (let i: u32 = 0; i < frequency; i++) {
          store<u32>(slots + (<usize>(start + i) << 2), b | ((frequency - 1) << 8) | (i << 20));
        }
      }
      start += frequency;
    }
    if (start != <u32>1 << bits) return false;
  }
  return true;
}

// @ts-ignore: decorator
@inline
function contextOf(tokens: usize, context: usize, row: usize, lane: usize, byClass: bool): u32 {
  let c = <u32>load<u8>(context + row);
  if (byClass && row != lane) c += <u32>load<u8>(BINS + (<usize>load<u8>(tokens + row - 1) << 4), 9);
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

// @ts-ignore: decorator
@inline
function advance(x: u32, slot: u32, bits: u32): u32 {
  return (((slot >>> 8) & 4095) + 1) * (x >>> bits) + (slot >>> 20);
}

/** Decodes `count` bins from the stream [at, end); false unless it is exactly what an encoder writes. */
export function columnDecode(tokens: usize, context: usize, count: usize, bits: u32, plain: bool, at: usize, end: usize): bool {
  if (end - at < 16) return false;
  const quarter = (count + 3) >> 2;
  const t1 = tokens + quarter, t2 = t1 + quarter, t3 = t2 + quarter;
  const whole = count > 3 * quarter ? count - 3 * quarter : 0;
  const mask: u32 = ((<u32>1 << bits) - 1) << 2;
  let x0 = load<u32>(at), x1 = load<u32>(at, 4), x2 = load<u32>(at, 8), x3 = load<u32>(at, 12);
  at += 16;
  let k0: u32 = 0, k1: u32 = 0, k2: u32 = 0, k3: u32 = 0;
  if (plain) {
    for (let i: usize = 0; i < whole; i++) {
      const s0 = load<u32>(SLOTS + ((x0 << 2) & mask)), s1 = load<u32>(SLOTS + ((x1 << 2) & mask));
      const s2 = load<u32>(SLOTS + ((x2 << 2) & mask)), s3 = load<u32>(SLOTS + ((x3 << 2) & mask));
      store<u8>(tokens + i, s0);
      store<u8>(t1 + i, s1);
      store<u8>(t2 + i, s2);
      store<u8>(t3 + i, s3);
      x0 = advance(x0, s0, bits);
      x1 = advance(x1, s1, bits);
      x2 = advance(x2, s2, bits);
      x3 = advance(x3, s3, bits);
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
  } else {
    const c1 = context + quarter, c2 = c1 + quarter, c3 = c2 + quarter;
    for (let i: usize = 0; i < whole; i++) {
      const w0 = <usize>((<u32>load<u8>(context + i) + k0) << bits) << 2, w1 = <usize>((<u32>load<u8>(c1 + i) + k1) << bits) << 2;
      const w2 = <usize>((<u32>load<u8>(c2 + i) + k2) << bits) << 2, w3 = <usize>((<u32>load<u8>(c3 + i) + k3) << bits) << 2;
      const s0 = load<u32>(SLOTS + w0 + ((x0 << 2) & mask)), s1 = load<u32>(SLOTS + w1 + ((x1 << 2) & mask));
      const s2 = load<u32>(SLOTS + w2 + ((x2 << 2) & mask)), s3 = load<u32>(SLOTS + w3 + ((x3 << 2) & mask));
      store<u8>(tokens + i, s0);
      store<u8>(t1 + i, s1);
      store<u8>(t2 + i, s2);
      store<u8>(t3 + i, s3);
      k0 = <u32>load<u8>(BINS + (<usize>(s0 & 255) << 4), 9);
      k1 = <u32>load<u8>(BINS + (<usize>(s1 & 255) << 4), 9);
      k2 = <u32>load<u8>(BINS + (<usize>(s2 & 255) << 4), 9);
      k3 = <u32>load<u8>(BINS + (<usize>(s3 & 255) << 4), 9);
      x0 = advance(x0, s0, bits);
      x1 = advance(x1, s1, bits);
      x2 = advance(x2, s2, bits);
      x3 = advance(x3, s3, bits);
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
  }
  for (let i = whole; i < quarter; i++) {
    for (let lane: i32 = 0; lane < 4; lane++) {
      const row = <usize>lane * quarter + i;
      if (row >= count) break;
      let x = lane == 0 ? x0 : lane == 1 ? x1 : lane == 2 ? x2 : x3;
      let c: u32 = 0;
      if (!plain) {
        c = <u32>load<u8>(context + row);
        if (i != 0) c += <u32>load<u8>(BINS + (<usize>load<u8>(tokens + row - 1) << 4), 9);
      }
      const slot = load<u32>(SLOTS + (<usize>(c << bits) << 2) + ((x << 2) & mask));
      store<u8>(tokens + row, slot);
      x = advance(x, slot, bits);
      if (x < STATE_MIN) {
        x = (x << 16) | <u32>load<u16>(at);
        if (at < LAST_WORD) at += 2;
      }
      if (lane == 0) x0 = x;
      else if (lane == 1) x1 = x;
      else if (lane == 2) x2 = x;
      else x3 = x;
    }
  }
  return at == end && x0 == STATE_MIN && x1 == STATE_MIN && x2 == STATE_MIN && x3 == STATE_MIN;
}
