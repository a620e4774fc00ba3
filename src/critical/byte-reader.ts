import { StoreError } from "../errors.ts";

/**
 * Reads what `ByteWriter` wrote. Every length is checked against what is left before it is used; bytes that make
 * no sense end in `ERR_STORE_CORRUPT` naming what was read.
 */
export class ByteReader {
  buffer: Buffer;
  position: number;
  end: number;
  /** What is being read, for errors. */
  readonly #what: string;

  constructor(what: string, buffer: Buffer, position = 0, end = buffer.byteLength) {
    this.#what = what;
    this.buffer = buffer;
    this.position = position;
    this.end = end;
  }

  /** Points the reader at other bytes. */
  reuse(buffer: Buffer, position = 0, end = buffer.byteLength): void {
    this.buffer = buffer;
    this.position = position;
    this.end = end;
  }

  corrupt(problem: string): StoreError {
    return new StoreError("ERR_STORE_CORRUPT", `${this.#what}: ${problem} at byte ${this.position}`, {
      context: { what: this.#what, offset: this.position },
      hint: "Run varve check; a backup or a mirror holds the same record.",
    });
  }

  need(sizeBytes: number): void {
    if (this.end - this.position < sizeBytes) throw this.corrupt(`${sizeBytes} bytes more were expected`);
  }

  u8(): number {
    this.need(1);
    return this.buffer[this.position++]!;
  }

  u16(): number {
    this.need(2);
    const value = this.buffer[this.position]! | (this.buffer[this.position + 1]! << 8);
    this.position += 2;
    return value;
  }

  u32(): number {
    this.need(4);
    const value = this.buffer.readUInt32LE(this.position);
    this.position += 4;
    return value;
  }

  u64(): number {
    const low = this.u32();
    const high = this.u32();
    if (high >= 2 ** 21) throw this.corrupt("a number over 53 bits");
    return high * 2 ** 32 + low;
  }

  i64(): bigint {
    this.need(8);
    const value = this.buffer.readBigInt64LE(this.position);
    this.position += 8;
    return value;
  }

  varint(): number {
    let byte = this.u8();
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    for (let scale = 0x80; scale < 2 ** 49; scale *= 0x80) {
      byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw this.corrupt("a number over 53 bits");
  }

  /** A varint that must not exceed what is left. */
  length(): number {
    const length = this.varint();
    this.need(length);
    return length;
  }

  text16(): string {
    const length = this.u16();
    this.need(length);
    const start = this.position;
    this.position += length;
    return this.buffer.toString("utf8", start, this.position);
  }

  /** Bytes as one character each. */
  latin1(length: number): string {
    this.need(length);
    const text = this.buffer.toString("latin1", this.position, this.position + length);
    this.position += length;
    return text;
  }

  bytes(length: number): Buffer {
    this.need(length);
    const bytes = this.buffer.subarray(this.position, this.position + length);
    this.position += length;
    return bytes;
  }
}
