/** Bytes that grow: what an encoded column is written into. */
export class ByteSink {
  #bytes = new Uint8Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#room(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  /** Unsigned LEB128 of a safe integer. */
  varint(value: number): this {
    let left = value;
    for (; left >= 128; left = Math.floor(left / 128)) this.u8((left % 128) | 128);
    return this.u8(left);
  }

  /** Unsigned LEB128 of the 64 bits. */
  varint64(value: bigint): this {
    let left = BigInt.asUintN(64, value);
    for (; left >= 128n; left >>= 7n) this.u8(Number(left & 127n) | 128);
    return this.u8(Number(left));
  }

  f64(value: number): this {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    return this.bytes(bytes);
  }

  bytes(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  #room(sizeBytes: number): void {
    const end = this.#length + sizeBytes;
    if (end <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(end, this.#bytes.length * 2));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
