import { corruptColumn } from "./corrupt-column.ts";

/** Reads an encoded column forward; past its end it is damaged, and so is every length that does not fit. */
export class ByteSource {
  readonly name: string;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(name: string, bytes: Uint8Array, from = 0, end = bytes.length) {
    this.name = name;
    this.#bytes = bytes;
    this.#at = from;
    this.#end = end;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    if (this.#at >= this.#end) throw this.corrupt("it ends too early");
    return this.#bytes[this.#at++]!;
  }

  /** An unsigned LEB128 integer of at most `most`. */
  varint(most: number): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (value > most) throw this.corrupt(`a number of at least ${value} is over ${most}`);
      if (byte < 128) return value;
    }
  }

  /** A LEB128 integer of 64 bits, as its bits. */
  varint64(): bigint {
    const low = this.#low();
    if (this.#bytes[this.#at - 1]! < 128) return BigInt(low);
    let value = BigInt(low);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) {
        if (value >> 64n !== 0n) break;
        return value;
      }
    }
    throw this.corrupt("a number is over 64 bits");
  }

  /** A signed one: twice its value, or one less than twice what it is below 0. */
  zigzag64(): bigint {
    const low = this.#low();
    if (this.#bytes[this.#at - 1]! < 128) return BigInt(low % 2 === 0 ? low / 2 : -(low + 1) / 2);
    this.#at -= 7;
    const value = this.varint64();
    return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n));
  }

  /** The first seven bytes of a LEB128 integer, or fewer where it ends before: most do, and that much is a safe integer. */
  #low(): number {
    const bytes = this.#bytes;
    const from = this.#at;
    const end = Math.min(from + 7, this.#end);
    let low = 0;
    for (let at = from, scale = 1; at < end; at++, scale *= 128) {
      const byte = bytes[at]!;
      low += (byte & 127) * scale;
      if (byte < 128 || at === from + 6) {
        this.#at = at + 1;
        return low;
      }
    }
    this.#at = end;
    throw this.corrupt("it ends too early");
  }

  /** A view of the next `sizeBytes`. */
  bytes(sizeBytes: number): Uint8Array {
    if (sizeBytes > this.left) throw this.corrupt(`${sizeBytes} bytes are named, ${this.left} are left`);
    this.#at += sizeBytes;
    return this.#bytes.subarray(this.#at - sizeBytes, this.#at);
  }

  /** The next `sizeBytes` as a source of their own, which counts bytes as this one does. */
  part(sizeBytes: number): ByteSource {
    const from = this.#at;
    this.bytes(sizeBytes);
    return new ByteSource(this.name, this.#bytes, from, this.#at);
  }

  /** A source over the same bytes, from its first one on. */
  again(): ByteSource {
    return new ByteSource(this.name, this.#bytes, this.#at, this.#end);
  }

  /** A view of all that is left; the source stays where it is. */
  rest(): Uint8Array {
    return this.#bytes.subarray(this.#at, this.#end);
  }

  finish(): void {
    if (this.left > 0) throw this.corrupt(`${this.left} bytes follow its end`);
  }

  corrupt(problem: string): Error {
    return corruptColumn(this.name, this.#at, problem);
  }
}
