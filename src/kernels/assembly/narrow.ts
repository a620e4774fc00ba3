// Tokens of folded residuals of one- and two-byte lanes.
//
//   symbol   0: r = 0;  2k-1: r > 0, 2k: r < 0, with
//   k        1 2 3: |r|    4: 4-7    5: 8-15    6: 16-31    7: 32 and more
//   k = 7    its bit length minus 6 (a symbol of its own)
//   k >= 4   the up to three bits after the leading one (a symbol, or raw), the rest raw

import { BITS, CONTEXTS, LIST, LIST_CONTEXTS, LIST_SYMBOLS, RESIDUALS, SYMBOLS } from "./memory";
import { encodePass, decodePass } from "./models";
import { listAtLeast } from "./residual";

/** Contexts past the residuals' 192: bit lengths by level; leading bits of k = 4 5 6 by level; of k = 7 by length. */
const LENGTH_MODEL: u32 = 192;
const LEADING_MODEL: u32 = LENGTH_MODEL + 24;
const LONG_MODEL: u32 = LEADING_MODEL + 72;
const SYMBOL_LONG: u32 = 13;
const SYMBOL_LISTED: u32 = 7;

// @ts-ignore: decorator
@inline
function magnitudeAt(position: usize): u32 {
  const r = <i32>load<i16>(RESIDUALS + (position << 1));
  return r < 0 ? -r : r;
}

/** Fills SYMBOLS from RESIDUALS; `count` is a multiple of 16. */
export function narrowSymbols(count: usize): void {
  const table = i8x16(0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5);
  for (let i: usize = 0; i < count; i += 16) {
    const a = v128.load(RESIDUALS + (i << 1));
    const b = v128.load(RESIDUALS + (i << 1), 16);
    const ceiling = i16x8.splat(32);
    // Magnitudes up to 32 in bytes; 32768 counts as large, being unsigned.
    const m = i8x16.narrow_i16x8_u(
      v128.min<u16>(v128.abs<i16>(a), ceiling), v128.min<u16>(v128.abs<i16>(b), ceiling),
    );
    const negative = i8x16.narrow_i16x8_s(v128.shr<i16>(a, 15), v128.shr<i16>(b, 15));
    let k = v128.swizzle(table, m);
    k = v128.bitselect(i8x16.splat(6), k, v128.gt<i8>(m, i8x16.splat(15)));
    k = v128.bitselect(i8x16.splat(7), k, v128.gt<i8>(m, i8x16.splat(31)));
    const twice = v128.add<i8>(k, k);
    // 2k - 1 for positive: subtract one where r > 0
    const positive = v128.and(v128.not(negative), v128.ne<i8>(k, i8x16.splat(0)));
    v128.store(SYMBOLS + i, v128.add<i8>(twice, positive));
  }
}

// @ts-ignore: decorator
@inline
function levelAt(position: usize): u32 {
  return <u32>load<u16>(CONTEXTS + (position << 1)) >> 3;
}

/** Codes everything after the first symbols; returns the bits written raw. `leading` says leading bits are modelled. */
export function narrowEncodeRest(count: usize, leading: bool): usize {
  const longs = listAtLeast(SYMBOLS, count, SYMBOL_LONG);
  for (let j: usize = 0; j < longs; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    store<u8>(LIST_SYMBOLS + j, 32 - clz(magnitudeAt(position)) - 6);
    store<u16>(LIST_CONTEXTS + (j << 1), LENGTH_MODEL + levelAt(position));
  }
  encodePass(LIST_SYMBOLS, LIST_CONTEXTS, longs);
  const listed = listAtLeast(SYMBOLS, count, SYMBOL_LISTED);
  let at = BITS, fill: u64 = 0, held: u64 = 0;
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const magnitude = magnitudeAt(position);
    const length = 32 - clz(magnitude);
    let rest = length - 1;
    if (leading) {
      const lead = rest < 3 ? rest : 3;
      rest -= lead;
      store<u8>(LIST_SYMBOLS + j, (magnitude >>> rest) & ((1 << lead) - 1));
      store<u16>(LIST_CONTEXTS + (j << 1), leadingContext(length, levelAt(position)));
    }
    held |= <u64>(magnitude & ((1 << rest) - 1)) << fill;
    fill += rest;
    store<u64>(at, held);
    const whole = fill >> 3;
    at += <usize>whole;
    held >>= whole << 3;
    fill &= 7;
  }
  if (leading) encodePass(LIST_SYMBOLS, LIST_CONTEXTS, listed);
  return ((at - BITS) << 3) + <usize>fill;
}

// @ts-ignore: decorator
@inline
function leadingContext(length: u32, level: u32): u32 {
  return length < 6 ? LEADING_MODEL + (length - 3) * 24 + level : LONG_MODEL + length - 6;
}

/** RESIDUALS from SYMBOLS, the symbols that follow them, and the raw bits; returns the bits read, or -1. */
export function narrowDecodeRest(count: usize, leading: bool): i32 {
  const longs = listAtLeast(SYMBOLS, count, SYMBOL_LONG);
  for (let j: usize = 0; j < longs; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    store<u16>(LIST_CONTEXTS + (j << 1), LENGTH_MODEL + levelAt(position));
  }
  if (!decodePass(LIST_SYMBOLS, LIST_CONTEXTS, longs)) return -1;
  for (let j: usize = 0; j < longs; j++) {
    // Bit lengths go to RESIDUALS for the next pass; 16 is the longest there is.
    const position = <usize>load<u32>(LIST + (j << 2));
    const length = <u32>load<u8>(LIST_SYMBOLS + j) + 6;
    if (length > 16) return -1;
    store<i16>(RESIDUALS + (position << 1), <i16>length);
  }
  const listed = listAtLeast(SYMBOLS, count, SYMBOL_LISTED);
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const symbol = <u32>load<u8>(SYMBOLS + position);
    const length = symbol >= SYMBOL_LONG ? <u32>load<i16>(RESIDUALS + (position << 1)) : (symbol + 1) / 2 - 1;
    store<i16>(RESIDUALS + (position << 1), <i16>length);
    if (leading) store<u16>(LIST_CONTEXTS + (j << 1), leadingContext(length, levelAt(position)));
  }
  if (leading && !decodePass(LIST_SYMBOLS, LIST_CONTEXTS, listed)) return -1;
  // Lengths of the listed are read before the small residuals are written over the rest.
  const bits = readMagnitudes(listed, leading);
  return bits;
}

function readMagnitudes(listed: usize, leading: bool): i32 {
  let bit: usize = 0;
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const length = <u32>load<i16>(RESIDUALS + (position << 1));
    let rest = length - 1;
    let magnitude: u32 = 1;
    if (leading) {
      const lead = rest < 3 ? rest : 3;
      rest -= lead;
      magnitude = (1 << lead) | (<u32>load<u8>(LIST_SYMBOLS + j) & ((1 << lead) - 1));
    }
    const low = (load<u32>(BITS + (bit >> 3)) >>> <u32>(bit & 7)) & ((1 << rest) - 1);
    magnitude = (magnitude << rest) | low;
    bit += rest;
    const negative = (load<u8>(SYMBOLS + position) & 1) == 0;
    store<i16>(RESIDUALS + (position << 1), <i16>(negative ? -<i32>magnitude : magnitude));
  }
  return <i32>bit;
}

/** Writes the residuals of symbols 0 to 6, and leaves those of the listed alone. */
export function narrowSmall(count: usize): void {
  const table = i8x16(0, 1, -1, 2, -2, 3, -3, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const last = i8x16.splat(<i8>(SYMBOL_LISTED - 1));
  for (let i: usize = 0; i < count; i += 16) {
    const symbols = v128.load(SYMBOLS + i);
    const values = v128.swizzle(table, symbols);
    const listed = v128.gt<i8>(symbols, last);
    const at = RESIDUALS + (i << 1);
    v128.store(at, v128.bitselect(v128.load(at), i16x8.extend_low_i8x16_s(values), i16x8.extend_low_i8x16_s(listed)));
    v128.store(
      at,
      v128.bitselect(v128.load(at, 16), i16x8.extend_high_i8x16_s(values), i16x8.extend_high_i8x16_s(listed)),
      16,
    );
  }
}
