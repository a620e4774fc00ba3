import { SAFETENSORS_KEYS_MAX, SAFETENSORS_NESTING_MAX } from "../../src/limits.ts";
import { brokenRule, quoteName, type SafetensorsRule } from "./format.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** What `\x` stands for, by the code of `x`; `u` is handled apart. */
const ESCAPES = new Map<number, number>([
  [QUOTE, QUOTE],
  [BACKSLASH, BACKSLASH],
  [0x2f, 0x2f],
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

/**
 * Reads the tokens of a JSON header straight from its bytes.
 *
 * `JSON.parse` is no use here: it keeps the last of two equal keys, takes `16.0` for 16 and rounds beyond 2^53.
 * This one reads one token at a time, allocates only the strings it is asked for, and knows the byte of every
 * fault. Positions count from the start of `bytes`, which is the start of the file.
 */
export class HeaderTokenizer {
  position: number;
  /** The tensor whose entry is being read, for messages. */
  tensor: string | undefined;
  readonly #bytes: Buffer;
  readonly #end: number;
  #extraKeys = 0;

  constructor(bytes: Uint8Array, start: number) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#end = bytes.byteLength;
    this.position = start;
  }

  get atEnd(): boolean {
    return this.position >= this.#end;
  }

  fail(rule: SafetensorsRule, problem: string, offset = this.position): never {
    throw brokenRule({ rule, problem, offset, tensor: this.tensor });
  }

  /** The next byte, -1 at the end. */
  byte(): number {
    return this.position < this.#end ? this.#bytes[this.position]! : -1;
  }

  /** The next byte that is not JSON white space, without taking it; -1 at the end. */
  peek(): number {
    for (;;) {
      const byte = this.byte();
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.position++;
    }
  }

  /** Takes the next token if it is this one-byte token. */
  take(byte: number): boolean {
    if (this.peek() !== byte) return false;
    this.position++;
    return true;
  }

  /**
   * Walks an object: calls `onKey` with each key and the byte where the key starts; `onKey` reads the value.
   * The next token must be `{`.
   */
  readObject(onKey: (key: string, keyOffset: number) => void): void {
    this.position++;
    if (this.take(CLOSE_BRACE)) return;
    do {
      if (this.peek() !== QUOTE) this.fail("json", `expected a key in double quotes, found ${this.#found()}`);
      const keyOffset = this.position;
      const key = this.readString();
      if (!this.take(COLON)) this.fail("json", `expected ":" after a key, found ${this.#found()}`);
      onKey(key, keyOffset);
    } while (this.take(COMMA));
    if (!this.take(CLOSE_BRACE)) this.fail("json", `expected "," or "}", found ${this.#found()}`);
  }

  /** Walks an array: calls `onItem` before each item; `onItem` reads it. The next token must be `[`. */
  readArray(onItem: () => void): void {
    this.position++;
    if (this.take(CLOSE_BRACKET)) return;
    do onItem();
    while (this.take(COMMA));
    if (!this.take(CLOSE_BRACKET)) this.fail("json", `expected "," or "]", found ${this.#found()}`);
  }

  /** A plain non-negative integer: digits alone, no sign, fraction, exponent or leading zero; at most 2^53 - 1. */
  readInteger(): number {
    const first = this.peek();
    const start = this.position;
    if (!isDigit(first)) this.fail("integer", `expected a plain integer, found ${this.#found()}`);
    let value = 0;
    while (isDigit(this.byte())) {
      value = value * 10 + (this.byte() - ZERO);
      // Past this, doubles round: the digits after it can only make it larger.
      if (value > Number.MAX_SAFE_INTEGER) this.fail("integer", "a number is larger than 2^53 - 1", start);
      this.position++;
    }
    if (first === ZERO && this.position > start + 1)
      this.fail("integer", "a number has a leading zero", start);
    const next = this.byte();
    if (next === DOT || next === 0x65 || next === 0x45) {
      this.fail("integer", "a number is written with a fraction or an exponent", start);
    }
    return value;
  }

  /** The next token, which must be a string (the caller has seen its quote), decoded. */
  readString(): string {
    const start = this.position + 1;
    const plain = this.#scanString();
    const end = this.position - 1;
    if (plain === "ascii") return this.#bytes.toString("latin1", start, end);
    if (plain === "utf-8") return this.#bytes.toString("utf8", start, end);
    return this.#unescape(start, end);
  }

  /** Reads past one value of any kind, holding it to the grammar. `depth`: how many containers hold it. */
  skipValue(depth: number): void {
    const first = this.peek();
    if (first === QUOTE) {
      this.#scanString();
    } else if (first === OPEN_BRACE || first === OPEN_BRACKET) {
      if (depth >= SAFETENSORS_NESTING_MAX) {
        this.fail("nesting", `more than ${SAFETENSORS_NESTING_MAX} objects and arrays inside one another`);
      }
      if (first === OPEN_BRACKET) this.readArray(() => this.skipValue(depth + 1));
      else this.#skipObject(depth + 1);
    } else if (first === MINUS || isDigit(first)) {
      this.#skipNumber();
    } else {
      this.#skipWord();
    }
  }

  /** Starts the count of keys that are not the format's own; one count for each tensor's entry. */
  resetExtraKeys(): void {
    this.#extraKeys = 0;
  }

  /** Adds an extra key to those of its object: refused the second time, and past the bound on all of them. */
  addExtraKey(keys: Set<string>, key: string, keyOffset: number): void {
    if (keys.has(key)) this.fail("duplicate-key", `the key ${quoteName(key)} comes twice`, keyOffset);
    this.#extraKeys++;
    if (this.#extraKeys > SAFETENSORS_KEYS_MAX) {
      this.fail("limit", `more than ${SAFETENSORS_KEYS_MAX} extra keys`, keyOffset);
    }
    keys.add(key);
  }

  #skipObject(depth: number): void {
    const keys = new Set<string>();
    this.readObject((key, keyOffset) => {
      this.addExtraKey(keys, key, keyOffset);
      this.skipValue(depth);
    });
  }

  #skipWord(): void {
    for (const word of ["true", "false", "null"]) {
      if (
        this.#bytes.toString("latin1", this.position, Math.min(this.#end, this.position + word.length)) ===
        word
      ) {
        this.position += word.length;
        return;
      }
    }
    this.fail("json", `expected a value, found ${this.#found()}`);
  }

  /** `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`, and not past the largest double. */
  #skipNumber(): void {
    const start = this.position;
    if (this.byte() === MINUS) this.position++;
    if (this.byte() === ZERO) this.position++;
    else this.#skipDigits();
    if (isDigit(this.byte())) this.fail("number", "a number has a leading zero", start);
    if (this.byte() === DOT) {
      this.position++;
      this.#skipDigits();
    }
    const exponent = this.byte();
    if (exponent === 0x65 || exponent === 0x45) {
      this.position++;
      const sign = this.byte();
      if (sign === 0x2b || sign === MINUS) this.position++;
      this.#skipDigits();
    }
    if (!Number.isFinite(Number(this.#bytes.toString("latin1", start, this.position)))) {
      this.fail("number", "a number is too large for a double", start);
    }
  }

  #skipDigits(): void {
    if (!isDigit(this.byte())) this.fail("number", `expected a digit, found ${this.#found()}`);
    while (isDigit(this.byte())) this.position++;
  }

  /** Validates a string and reads past its closing quote; says what it takes to decode it. */
  #scanString(): "ascii" | "utf-8" | "escaped" {
    const start = this.position;
    const bytes = this.#bytes;
    let kind: "ascii" | "utf-8" | "escaped" = "ascii";
    this.position++;
    while (this.position < this.#end) {
      const byte = bytes[this.position]!;
      if (byte === QUOTE) {
        this.position++;
        return kind;
      }
      if (byte === BACKSLASH) {
        kind = "escaped";
        this.#scanEscape();
      } else if (byte < 0x20) {
        this.fail("json", "a string holds a bare control character");
      } else if (byte < 0x80) {
        this.position++;
      } else {
        const length = utf8SequenceBytes(bytes, this.position, this.#end);
        if (length === 0) this.fail("utf-8", "bytes that are not UTF-8");
        if (kind === "ascii") kind = "utf-8";
        this.position += length;
      }
    }
    return this.fail("json", "a string is not closed", start);
  }

  #scanEscape(): void {
    const start = this.position;
    const letter = start + 1 < this.#end ? this.#bytes[start + 1]! : -1;
    if (ESCAPES.has(letter)) {
      this.position += 2;
      return;
    }
    if (letter !== 0x75) this.fail("escape", "an unknown escape in a string", start);
    const unit = this.#hexUnit(start);
    this.position += 6;
    if (unit >= 0xdc00 && unit <= 0xdfff) this.fail("escape", "an unpaired surrogate in a string", start);
    if (unit < 0xd800 || unit > 0xdbff) return;
    const paired = this.byte() === BACKSLASH && this.#bytes[this.position + 1] === 0x75;
    const low = paired ? this.#hexUnit(this.position) : 0;
    if (low < 0xdc00 || low > 0xdfff) this.fail("escape", "an unpaired surrogate in a string", start);
    this.position += 6;
  }

  /** The four hexadecimal digits of the `\u` escape at `start`. */
  #hexUnit(start: number): number {
    let unit = 0;
    for (let at = start + 2; at < start + 6; at++) {
      const digit = at < this.#end ? hexDigit(this.#bytes[at]!) : -1;
      if (digit < 0) this.fail("escape", "\\u is not followed by four hexadecimal digits", start);
      unit = unit * 16 + digit;
    }
    return unit;
  }

  /**
   * Decodes a string that `#scanString` has found valid, into bytes first: an escape is never shorter than the
   * UTF-8 it stands for, so a hostile string takes no more memory than it has in the file.
   */
  #unescape(start: number, end: number): string {
    const decoded = Buffer.allocUnsafe(end - start);
    let length = 0;
    for (let at = start; at < end; ) {
      const byte = this.#bytes[at]!;
      if (byte !== BACKSLASH) {
        decoded[length++] = byte;
        at++;
        continue;
      }
      const plain = ESCAPES.get(this.#bytes[at + 1]!);
      if (plain !== undefined) {
        decoded[length++] = plain;
        at += 2;
        continue;
      }
      let codePoint = this.#hexUnit(at);
      at += 6;
      if (codePoint >= 0xd800 && codePoint <= 0xdbff) {
        codePoint = 0x10000 + ((codePoint - 0xd800) << 10) + (this.#hexUnit(at) - 0xdc00);
        at += 6;
      }
      length += decoded.write(String.fromCodePoint(codePoint), length, "utf8");
    }
    return decoded.toString("utf8", 0, length);
  }

  #found(): string {
    const byte = this.byte();
    if (byte < 0) return "the end of the header";
    return byte > 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16)}`;
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}

function hexDigit(byte: number): number {
  if (isDigit(byte)) return byte - ZERO;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/**
 * Bytes of the UTF-8 sequence that starts with a byte of 0x80 or more, 0 when it is malformed: overlong, a
 * surrogate, past U+10FFFF or cut short. (Source: Unicode 15, table 3-7.)
 */
function utf8SequenceBytes(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > end) return 0;
  const second = bytes[at + 1]!;
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let next = at + 2; next < at + length; next++) {
    if ((bytes[next]! & 0xc0) !== 0x80) return 0;
  }
  return length;
}
