/**
 * What the bytes of one cell say. A number is read without making a string of it where that is exact: up to 15 digits
 * and a power of ten up to 22, both exact as doubles, so that one division or product rounds correctly (Clinger 1990);
 * whatever is longer goes through the platform's own correctly rounded conversion.
 */

/** How a cell was written: what it may be depends on it. */
export const BARE = 0;
/** In quotes, none of them inside. */
export const QUOTED = 1;
/** In quotes, with quotes inside that are doubled. */
export const QUOTED_ESCAPED = 2;
/** A string of JSON: text even if it looks like a number, but for the floats that JSON cannot write. */
export const JSON_STRING = 3;
/** A string of JSON with backslashes. */
export const JSON_ESCAPED = 4;
/** An array or object of JSON. */
export const JSON_NESTED = 5;

/** What a cell can be, from the narrowest. */
export const EMPTY = 0;
export const INTEGER = 1;
export const FLOAT = 2;
/** `nan`, `inf` and their kin. */
export const SPECIAL = 3;
export const BOOLEAN = 4;
export const TEXT = 5;

const MINUS = 0x2d;
const PLUS = 0x2b;
const POINT = 0x2e;

/** What the cell's bytes look like; spaces around a number do not count. */
export function cellKind(bytes: Uint8Array, start: number, end: number, form: number): number {
  if (form === JSON_NESTED || form === JSON_ESCAPED || form === QUOTED_ESCAPED) return TEXT;
  if (form === JSON_STRING) return specialBits(bytes, start, end) === undefined ? TEXT : SPECIAL;
  let from = start;
  let to = end;
  while (from < to && bytes[from] === 0x20) from += 1;
  while (to > from && bytes[to - 1] === 0x20) to -= 1;
  if (from === to) return form === BARE ? EMPTY : TEXT;
  const first = bytes[from]!;
  if (first > 0x39) return wordKind(bytes, from, to);
  let at = first === MINUS || first === PLUS ? from + 1 : from;
  const digitsFrom = at;
  while (at < to && isDigit(bytes[at]!)) at += 1;
  const whole = at - digitsFrom;
  // A leading zero is part of a code, not of a number: reading it as one would lose it.
  if (whole > 1 && bytes[digitsFrom] === 0x30) return TEXT;
  if (at === to && whole > 0) {
    // There is no negative zero among the integers.
    return first === MINUS && whole === 1 && bytes[digitsFrom] === 0x30 ? FLOAT : INTEGER;
  }
  let fraction = 0;
  if (at < to && bytes[at] === POINT) {
    const fractionFrom = ++at;
    while (at < to && isDigit(bytes[at]!)) at += 1;
    fraction = at - fractionFrom;
  }
  if (whole + fraction === 0) return wordKind(bytes, from, to);
  if (at < to && (bytes[at]! | 0x20) === 0x65) {
    at += 1;
    if (at < to && (bytes[at] === MINUS || bytes[at] === PLUS)) at += 1;
    const exponentFrom = at;
    while (at < to && isDigit(bytes[at]!)) at += 1;
    if (at === exponentFrom) return TEXT;
  }
  return at === to ? FLOAT : TEXT;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function wordKind(bytes: Uint8Array, from: number, to: number): number {
  if (to - from > 32) return TEXT;
  if (booleanOf(bytes, from, to) !== undefined) return BOOLEAN;
  return specialBits(bytes, from, to) === undefined ? TEXT : SPECIAL;
}

/** `true` and `false`, in small letters, capitals, or with a capital first. */
export function booleanOf(bytes: Uint8Array, start: number, end: number): boolean | undefined {
  const word = asciiOf(bytes, start, end);
  if (word === "true" || word === "True" || word === "TRUE") return true;
  if (word === "false" || word === "False" || word === "FALSE") return false;
  return undefined;
}

/** The 64 bits of `nan`, `nan(0x7ff8000000000001)`, `inf`, `-Infinity`…; `undefined` for anything else. */
export function specialBits(bytes: Uint8Array, start: number, end: number): bigint | undefined {
  if (end - start < 3 || end - start > 32) return undefined;
  const match = /^([+-]?)(?:(nan)(?:\((0x[0-9a-f]{16})\))?|inf|infinity)$/i.exec(asciiOf(bytes, start, end));
  if (match === null) return undefined;
  const [, sign, nan, payload] = match;
  if (payload !== undefined) {
    const bits = BigInt(payload);
    const isNan = (bits & 0x7ff0000000000000n) === 0x7ff0000000000000n && (bits & 0xfffffffffffffn) !== 0n;
    return isNan && sign === "" ? bits : undefined;
  }
  const magnitude = nan === undefined ? 0x7ff0000000000000n : 0x7ff8000000000000n;
  return sign === "-" && nan === undefined ? magnitude | (1n << 63n) : magnitude;
}

/** The cell's text without the spaces around it. */
function asciiOf(bytes: Uint8Array, start: number, end: number): string {
  return latin1(bytes, start, end).trim();
}

export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1", start, end);
}

const POWERS = Array.from({ length: 23 }, (_, power) => Number(`1e${power}`));

/** The double nearest to a cell of kind INTEGER or FLOAT. */
export function parseFloatCell(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (bytes[at] === 0x20) at += 1;
  const negative = bytes[at] === MINUS;
  if (negative || bytes[at] === PLUS) at += 1;
  let mantissa = 0;
  let digits = 0;
  let scale = 0;
  let seenPoint = false;
  for (; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === POINT) {
      seenPoint = true;
      continue;
    }
    if (!isDigit(byte)) break;
    mantissa = mantissa * 10 + (byte - 0x30);
    if (mantissa !== 0) digits += 1;
    if (seenPoint) scale += 1;
  }
  // A trailing space ends the number as well as the cell's end does; an exponent does not.
  if (digits <= 15 && scale <= 22 && (at === end || bytes[at] === 0x20)) {
    const value = scale === 0 ? mantissa : mantissa / POWERS[scale]!;
    return negative ? -value : value;
  }
  return Number(latin1(bytes, start, end));
}

/** Where `parseIntegerCell` puts the two halves of a 64-bit integer. */
export const integerWords = { low: 0, high: 0 };

const TWO_32 = 4294967296;

/**
 * Reads a cell of kind INTEGER into `integerWords`, as the two halves of its two's complement.
 * Returns whether it fits: `i64` or `u64`.
 */
export function parseIntegerCell(
  bytes: Uint8Array,
  start: number,
  end: number,
  type: "i64" | "u64",
): boolean {
  let at = start;
  let to = end;
  while (bytes[at] === 0x20) at += 1;
  while (bytes[to - 1] === 0x20) to -= 1;
  const negative = bytes[at] === MINUS;
  if (negative || bytes[at] === PLUS) at += 1;
  const digits = to - at;
  if (digits > 20) return false;
  const split = Math.max(at, to - 9);
  let top = 0;
  for (; at < split; at++) top = top * 10 + (bytes[at]! - 0x30);
  let bottom = 0;
  for (; at < to; at++) bottom = bottom * 10 + (bytes[at]! - 0x30);
  // top < 1e11 and bottom < 1e9: top * 1e9 + bottom in two halves of which no product passes 2^53.
  const topHigh = Math.floor(top / 65536);
  const low48 = (top % 65536) * 1e9 + bottom;
  const upper = topHigh * 1e9;
  const lowSum = (upper % 65536) * 65536 + low48;
  let low = lowSum % TWO_32;
  let high = Math.floor(upper / 65536) + Math.floor(lowSum / TWO_32);
  if (high >= TWO_32) return false;
  if (negative) {
    if (type === "u64") return high === 0 && low === 0;
    if (high > 0x80000000 || (high === 0x80000000 && low > 0)) return false;
    low = (TWO_32 - low) % TWO_32;
    high = (TWO_32 - high - (low === 0 ? 0 : 1)) % TWO_32;
    if (low === 0 && high === TWO_32) high = 0;
  } else if (type === "i64" && high >= 0x80000000) return false;
  integerWords.low = low;
  integerWords.high = high;
  return true;
}

/** Whether the double nearest to an integer cell stands for exactly that integer, or prints as it. */
export function isExactAsFloat(bytes: Uint8Array, start: number, end: number): boolean {
  const text = asciiOf(bytes, start, end).replace(/^\+/, "");
  const value = Number(text);
  if (!Number.isFinite(value)) return false;
  return String(value) === text || BigInt(value) === BigInt(text);
}
