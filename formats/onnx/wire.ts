import type { ByteSource } from "../byte-source.ts";
import { malformed } from "../malformed.ts";

/** Bytes of the file looked at at once: fields are small, and what is large is passed over unread. */
const WINDOW_BYTES = 64 << 10;

/** Wire types. Groups (3 and 4) are of a protobuf older than ONNX. Source: protobuf.dev, "Encoding". */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

export interface WireField {
  number: number;
  wire: number;
  /** Of a varint: its value, where a double can hold it; else -1. */
  value: number;
  /** Where the field's bytes begin and end, from the start of the file. */
  start: number;
  end: number;
}

/**
 * Walks a protobuf message in a file, field by field, through a window: memory does not grow with the file, and a
 * payload is read only by whoever asks for it.
 */
export class WireReader {
  readonly #source: ByteSource;
  #window: Uint8Array = new Uint8Array(0);
  #windowAt = 0;
  #at = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /** The fields of the message that lies from `start` to `end`. Nested messages may be walked in between. */
  *fields(start: number, end: number): Generator<WireField> {
    let at = start;
    while (at < end) {
      this.#at = at;
      const tag = this.#varint(end);
      const number = Math.floor(tag / 8);
      const wire = tag % 8;
      if (number < 1 || number > 0x1fffffff) throw this.fail("wire", `a field numbered ${number}`, at);
      let value = -1;
      let fieldEnd: number;
      let fieldStart = this.#at;
      if (wire === WIRE.varint) {
        value = this.#varint(end);
        fieldEnd = this.#at;
      } else if (wire === WIRE.bytes) {
        const sizeBytes = this.#varint(end);
        fieldStart = this.#at;
        fieldEnd = fieldStart + sizeBytes;
      } else if (wire === WIRE.fixed64 || wire === WIRE.fixed32) {
        fieldEnd = fieldStart + (wire === WIRE.fixed64 ? 8 : 4);
      } else {
        throw this.fail("wire", `wire type ${wire}`, at);
      }
      if (fieldEnd > end) throw this.fail("wire", "a field that ends after the message it is in", at);
      at = fieldEnd;
      yield { number, wire, value, start: fieldStart, end: fieldEnd };
    }
  }

  /** Varints that lie one behind the other: a packed list. */
  *varints(start: number, end: number): Generator<number> {
    let at = start;
    while (at < end) {
      this.#at = at;
      const value = this.#varint(end);
      at = this.#at;
      yield value;
    }
  }

  bytes(start: number, end: number): Uint8Array {
    return this.#source.read(start, end - start);
  }

  fail(rule: string, problem: string, offset: number) {
    return malformed("ONNX", { rule, problem, offset });
  }

  /** The value, or Infinity for one past 2^53: no size and no number that matters here is that large. */
  #varint(end: number): number {
    let value = 0;
    for (let shift = 1, count = 0; ; shift *= 128, count++) {
      if (this.#at >= end) throw this.fail("wire", "a message that ends inside a number", this.#at);
      if (count === 10) throw this.fail("wire", "a number of more than ten bytes", this.#at);
      const byte = this.#byte();
      value += (byte & 0x7f) * shift;
      if (byte < 0x80) return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
    }
  }

  #byte(): number {
    let place = this.#at - this.#windowAt;
    if (place < 0 || place >= this.#window.byteLength) {
      this.#window = this.#source.read(this.#at, WINDOW_BYTES);
      this.#windowAt = this.#at;
      place = 0;
      if (this.#window.byteLength === 0) throw this.fail("wire", "an end in the middle of a field", this.#at);
    }
    this.#at++;
    return this.#window[place]!;
  }
}
