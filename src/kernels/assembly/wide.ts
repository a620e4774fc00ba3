// Tokens of folded residuals of four- and eight-byte lanes.
//
//   symbol   0: r = 0;  1: its bit length follows raw (7 bits);  2-14: bit length = symbol - 2 - shift;  15: as 1
//   shift    exponent of the parent's weight - largest exponent - scale: changes of one size are one symbol,
//            whatever the weight's exponent
//   r != 0   its three bits after the leading one (fewer if it has fewer) and whether r > 0: a symbol; the rest raw

import { BITS, CONTEXTS, LIST, LIST_CONTEXTS, LIST_SYMBOLS, RESIDUALS, SYMBOLS } from "./memory";
import { decodePass, encodePass } from "./models";
import { listAtLeast, SHIFTS, sizeOnScale } from "./residual";

/** Contexts past the residuals' 192: leading bits by number of bits or symbol, and whether the weight moved before. */
const LEADING_MODEL: u32 = 192;

const SIZES = memory.data(256 * 4);

/** The scale that brings most changes among the symbols 2 to 14. Looks at every fourth group of a long chunk. */
export function wideScale(count: usize, width: usize): i32 {
  memory.fill(SIZES, 0, 1024);
  const stride: usize = count > 4096 ? 64 : 16;
  for (let g: usize = 0; g < count; g += stride) {
    for (let i = g; i < g + 16; i++) {
      const size = sizeOnScale(i, width);
      if (size >= -128 && size < 128) {
        const at = SIZES + (<usize>(size + 128) << 2);
        store<u32>(at, load<u32>(at) + 1);
      }
    }
  }
  let best: u32 = 0, bestAt: i32 = 0;
  for (let from: i32 = 0; from + 13 <= 256; from++) {
    let sum: u32 = 0;
    for (let i = 0; i < 13; i++) sum += load<u32>(SIZES + (<usize>(from + i) << 2));
    if (sum > best) {
      best = sum;
      bestAt = from;
    }
  }
  return bestAt - 128;
}

// @ts-ignore: decorator
@inline
function bitLength(v: u64): i32 {
  return <i32>(64 - clz(v));
}

// @ts-ignore: decorator
@inline
function magnitudeAt(position: usize): u64 {
  const r = load<i64>(RESIDUALS + (position << 3));
  return <u64>(r < 0 ? -r : r);
}

export function wideSymbols(count: usize): void {
  for (let i: usize = 0; i < count; i++) {
    const magnitude = magnitudeAt(i);
    let symbol = 0;
    if (magnitude) {
      symbol = bitLength(magnitude) + <i32>load<i16>(SHIFTS + (i << 1)) + 2;
      symbol = symbol < 2 ? 1 : symbol > 14 ? 15 : symbol;
    }
    store<u8>(SYMBOLS + i, symbol);
  }
}

// @ts-ignore: decorator
@inline
function leadingContext(position: usize, rest: u64): u32 {
  const kind = rest < 3 ? <u32>rest : 3 + <u32>load<u8>(SYMBOLS + position);
  return LEADING_MODEL + (kind << 1) + u32((load<u16>(CONTEXTS + (position << 1)) & 7) != 0);
}

// @ts-ignore: decorator
@inline
function escapes(symbol: u32): bool {
  return symbol == 1 || symbol == 15;
}

let at: usize = 0;
let held: u64 = 0;
let fill: u64 = 0;

// @ts-ignore: decorator
@inline
function putBits(value: u64, bits: u64): void {
  held |= value << fill;
  fill += bits;
  store<u64>(at, held);
  const whole = fill >> 3;
  at += <usize>whole;
  held = whole == 8 ? 0 : held >> (whole << 3);
  fill &= 7;
}

/** Codes everything after the first symbols; returns the bits written raw. */
export function wideEncodeRest(count: usize): usize {
  const listed = listAtLeast(SYMBOLS, count, 1);
  at = BITS;
  held = 0;
  fill = 0;
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const magnitude = magnitudeAt(position);
    const length = <u64>bitLength(magnitude);
    if (escapes(load<u8>(SYMBOLS + position))) putBits(length, 7);
    let rest = length - 1;
    store<u16>(LIST_CONTEXTS + (j << 1), leadingContext(position, rest));
    const lead = rest < 3 ? rest : 3;
    rest -= lead;
    const positive = u64(load<i64>(RESIDUALS + (position << 3)) > 0);
    store<u8>(LIST_SYMBOLS + j, <u8>((((magnitude >> rest) & ((<u64>1 << lead) - 1)) << 1) | positive));
    if (rest > 48) {
      putBits(magnitude & 0xffffffff, 32);
      putBits((magnitude >> 32) & ((<u64>1 << (rest - 32)) - 1), rest - 32);
    } else putBits(magnitude & ((<u64>1 << rest) - 1), rest);
  }
  encodePass(LIST_SYMBOLS, LIST_CONTEXTS, listed);
  return ((at - BITS) << 3) + <usize>fill;
}

// @ts-ignore: decorator
@inline
function bitsAt(bit: usize, bits: u64): u64 {
  return (load<u64>(BITS + (bit >> 3)) >> <u64>(bit & 7)) & (((<u64>1) << bits) - 1);
}

/** RESIDUALS from SYMBOLS, what follows them, and the raw bits; returns the bits read, or -1. */
export function wideDecodeRest(count: usize, width: usize): i32 {
  memory.fill(RESIDUALS, 0, count << 3);
  const listed = listAtLeast(SYMBOLS, count, 1);
  // Contexts need bit lengths, and the raw ones among them lie between the low bits: read those of escapes first.
  let bit: usize = 0;
  const longest = <i32>width << 3;
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const symbol = <u32>load<u8>(SYMBOLS + position);
    let length: i32;
    if (escapes(symbol)) {
      length = <i32>bitsAt(bit, 7);
      bit += 7;
    } else length = <i32>symbol - 2 - <i32>load<i16>(SHIFTS + (position << 1));
    if (length < 1 || length > longest) return -1;
    const rest = <u32>(length - 1);
    bit += rest > 3 ? <usize>(rest - 3) : 0;
    store<i64>(RESIDUALS + (position << 3), length);
    store<u16>(LIST_CONTEXTS + (j << 1), leadingContext(position, rest));
  }
  if (!decodePass(LIST_SYMBOLS, LIST_CONTEXTS, listed)) return -1;
  bit = 0;
  for (let j: usize = 0; j < listed; j++) {
    const position = <usize>load<u32>(LIST + (j << 2));
    const symbol = <u32>load<u8>(SYMBOLS + position);
    if (escapes(symbol)) bit += 7;
    let rest = load<u64>(RESIDUALS + (position << 3)) - 1;
    const lead = rest < 3 ? rest : 3;
    rest -= lead;
    const second = <u64>load<u8>(LIST_SYMBOLS + j);
    let magnitude = ((<u64>1 << lead) | ((second >> 1) & ((<u64>1 << lead) - 1))) << rest;
    if (rest > 48) {
      magnitude |= bitsAt(bit, 32) | (bitsAt(bit + 32, rest - 32) << 32);
    } else magnitude |= bitsAt(bit, rest);
    bit += <usize>rest;
    store<i64>(RESIDUALS + (position << 3), second & 1 ? <i64>magnitude : -<i64>magnitude);
  }
  return <i32>bit;
}
