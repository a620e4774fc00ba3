import { StoreError } from "../errors.ts";

/** Longest string written character by character; above it one native call is cheaper. */
const LOOP_LENGTH_MAX = 32;
/** The same for bytes: the native call makes a view of them first. */
const COPY_LOOP_BYTES_MAX = 64;

/**
 * A growing buffer with a write position: the primitives every critical format is written with. What was written
 * may be left where it is and the next piece begun behind it (`keep`); a piece that grows out of its buffer takes
 * only itself into the next one.
 */
export class ByteWriter {
  buffer: Buffer;
  /** Of the buffer's bytes. */
  view: DataView;
  /** Bytes of the buffer. Asking a Buffer costs a call, which at every byte written was a twentieth of a commit. */
  capacityBytes: number;
  /** Where the piece being written begins. */
  start = 0;
  position = 0;
  readonly #initialBytes: number;
  readonly #limitBytes: number;
  readonly #allocate: (sizeBytes: number) => Buffer;

  /** @param allocate memory, its contents do not matter. */
  constructor(
    initialBytes: number,
    limitBytes: number,
    allocate: (sizeBytes: number) => Buffer = Buffer.allocUnsafeSlow,
  ) {
    this.#allocate = allocate;
    this.buffer = allocate(initialBytes);
    this.view = viewOf(this.buffer);
    this.capacityBytes = this.buffer.byteLength;
    this.#initialBytes = initialBytes;
    this.#limitBytes = limitBytes;
  }

  /** Makes room for `sizeBytes` more. @throws ERR_LIMIT */
  ensure(sizeBytes: number): void {
    if (this.position + sizeBytes > this.capacityBytes) this.#grow(sizeBytes);
  }

  #grow(sizeBytes: number): void {
    const writtenBytes = this.position - this.start;
    const needed = writtenBytes + sizeBytes;
    if (needed > this.#limitBytes) {
      throw new StoreError("ERR_LIMIT", `a transaction of more than ${this.#limitBytes} bytes`, {
        context: { limitBytes: this.#limitBytes },
        hint: "Split it; what must change together rarely takes this much.",
      });
    }
    const roomy = Math.max(this.#initialBytes, writtenBytes * 2, needed);
    const grown = this.#allocate(Math.min(this.#limitBytes, roomy));
    this.buffer.copy(grown, 0, this.start, this.position);
    this.buffer = grown;
    this.view = viewOf(grown);
    this.capacityBytes = grown.byteLength;
    this.start = 0;
    this.position = writtenBytes;
  }

  /** Begins the piece anew. */
  restart(): void {
    this.position = this.start;
  }

  /** Goes on in a new buffer: nothing more is written to this one. */
  renew(): void {
    this.buffer = this.#allocate(this.#initialBytes);
    this.view = viewOf(this.buffer);
    this.capacityBytes = this.buffer.byteLength;
    this.start = 0;
    this.position = 0;
  }

  /** What was written stays where it is, and the next piece begins behind it. */
  keep(): void {
    this.start = this.position;
  }

  /** What was written, valid until the next write. */
  written(): Buffer {
    return this.buffer.subarray(this.start, this.position);
  }

  u8(value: number): void {
    this.ensure(1);
    this.buffer[this.position++] = value;
  }

  u16(value: number): void {
    this.ensure(2);
    this.buffer[this.position++] = value & 0xff;
    this.buffer[this.position++] = value >>> 8;
  }

  u32(value: number): void {
    this.ensure(4);
    this.view.setUint32(this.position, value, true);
    this.position += 4;
  }

  /** A whole number below 2⁵³ in eight bytes. */
  u64(value: number): void {
    this.ensure(8);
    this.view.setUint32(this.position, value % 2 ** 32, true);
    this.view.setUint32(this.position + 4, Math.floor(value / 2 ** 32), true);
    this.position += 8;
  }

  i64(value: bigint): void {
    this.ensure(8);
    this.view.setBigInt64(this.position, value, true);
    this.position += 8;
  }

  varint(value: number): void {
    this.ensure(8);
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.position++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.position++] = rest;
  }

  /** A u16 length and the UTF-8 bytes; the caller has checked that they fit. */
  text16(text: string): void {
    this.ensure(2 + text.length * 3);
    const lengthAt = this.position;
    this.position += 2;
    this.text(text);
    const length = this.position - lengthAt - 2;
    this.buffer[lengthAt] = length & 0xff;
    this.buffer[lengthAt + 1] = length >>> 8;
  }

  /** UTF-8 bytes alone. */
  text(text: string): void {
    this.ensure(text.length * 3);
    const { buffer, position } = this;
    if (text.length > LOOP_LENGTH_MAX) {
      this.position += buffer.write(text, position, "utf8");
      return;
    }
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) {
        this.position += buffer.write(text, position, "utf8");
        return;
      }
      buffer[position + i] = code;
    }
    this.position += text.length;
  }

  /**
   * Puts the length of everything from `at` on before it, as a varint, and moves it up to there: two bytes were left
   * free, which is what nearly all lengths take. `at` counts from the piece's beginning. Returns the length.
   */
  lengthBefore(at: number): number {
    const from = this.start + at;
    const sizeBytes = this.position - from - 2;
    const lengthBytes = sizeBytes < 0x80 ? 1 : sizeBytes < 0x4000 ? 2 : sizeBytes < 0x20_0000 ? 3 : 4;
    if (lengthBytes !== 2) {
      if (lengthBytes > 2) this.ensure(lengthBytes - 2);
      const begin = this.start + at;
      this.buffer.copyWithin(begin + lengthBytes, begin + 2, begin + 2 + sizeBytes);
    }
    this.position = this.start + at;
    this.varint(sizeBytes);
    this.position += sizeBytes;
    return sizeBytes;
  }

  bytes(source: Uint8Array): void {
    this.ensure(source.byteLength);
    this.buffer.set(source, this.position);
    this.position += source.byteLength;
  }

  /** So many bytes of `source` from a place on. */
  copy(source: Buffer, at: number, sizeBytes: number): void {
    this.ensure(sizeBytes);
    const { buffer, position } = this;
    if (sizeBytes <= COPY_LOOP_BYTES_MAX) {
      for (let i = 0; i < sizeBytes; i++) buffer[position + i] = source[at + i]!;
    } else {
      source.copy(buffer, position, at, at + sizeBytes);
    }
    this.position = position + sizeBytes;
  }

  /** Bytes kept one per character. */
  latin1(text: string): void {
    this.ensure(text.length);
    this.buffer.write(text, this.position, text.length, "latin1");
    this.position += text.length;
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
