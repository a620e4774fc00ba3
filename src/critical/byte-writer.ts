import { StoreError } from "../errors.ts";

/** Longest string written character by character; above it one native call is cheaper. */
const LOOP_LENGTH_MAX = 32;
/** Views up to this length are kept, so that handing out a short record allocates nothing. */
const CACHED_VIEWS = 4096;

/** A growing buffer with a write position: the primitives every critical format is written with. */
export class ByteWriter {
  buffer: Buffer;
  position = 0;
  readonly #limitBytes: number;
  #views: (Buffer | undefined)[] = [];

  constructor(initialBytes: number, limitBytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.#limitBytes = limitBytes;
  }

  /** Makes room for `sizeBytes` more. @throws ERR_LIMIT */
  ensure(sizeBytes: number): void {
    const needed = this.position + sizeBytes;
    if (needed <= this.buffer.byteLength) return;
    if (needed > this.#limitBytes) {
      throw new StoreError("ERR_LIMIT", `a transaction of more than ${this.#limitBytes} bytes`, {
        context: { limitBytes: this.#limitBytes },
        hint: "Split it; what must change together rarely takes this much.",
      });
    }
    const grown = Buffer.allocUnsafeSlow(
      Math.min(this.#limitBytes, Math.max(needed, this.buffer.byteLength * 2)),
    );
    this.buffer.copy(grown, 0, 0, this.position);
    this.buffer = grown;
    this.#views = [];
  }

  /** What was written, valid until the next write. */
  written(): Buffer {
    const length = this.position;
    if (length >= CACHED_VIEWS) return this.buffer.subarray(0, length);
    let view = this.#views[length];
    if (view === undefined) {
      view = this.buffer.subarray(0, length);
      this.#views[length] = view;
    }
    return view;
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
    this.position = this.buffer.writeUInt32LE(value, this.position);
  }

  /** A whole number below 2⁵³ in eight bytes. */
  u64(value: number): void {
    this.ensure(8);
    this.buffer.writeUInt32LE(value % 2 ** 32, this.position);
    this.buffer.writeUInt32LE(Math.floor(value / 2 ** 32), this.position + 4);
    this.position += 8;
  }

  i64(value: bigint): void {
    this.ensure(8);
    this.position = this.buffer.writeBigInt64LE(value, this.position);
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
    const { buffer } = this;
    const start = this.position + 2;
    let end = start;
    if (text.length <= LOOP_LENGTH_MAX) {
      for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) {
          end = start + buffer.write(text, start, "utf8");
          break;
        }
        buffer[end++] = code;
      }
    } else {
      end = start + buffer.write(text, start, "utf8");
    }
    const length = end - start;
    buffer[this.position] = length & 0xff;
    buffer[this.position + 1] = length >>> 8;
    this.position = end;
  }

  bytes(source: Uint8Array): void {
    this.ensure(source.byteLength);
    this.buffer.set(source, this.position);
    this.position += source.byteLength;
  }

  /** Bytes kept one per character. */
  latin1(text: string): void {
    this.ensure(text.length);
    this.buffer.write(text, this.position, text.length, "latin1");
    this.position += text.length;
  }
}
