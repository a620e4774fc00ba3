import type { DecodeInput } from "../../src/codec/encoding.ts";
import { readFrequencies } from "../../src/codec/frequencies.ts";
import { laneOf } from "../../src/codec/lanes.ts";

/** The difference-pairs encoding in plain TypeScript, straight from docs/formats/encodings.md: one lane at a time. */
export function referencePairs({ element, payload, bases }: DecodeInput, sizeBytes: number): Uint8Array {
  const lane = laneOf(element);
  const width = lane.widthBytes;
  const bits = width * 8;
  const count = Math.floor(sizeBytes / width);
  const reader = new Reader(payload);
  const shift = reader.byte();
  const pairs = reader.plane(Math.ceil(count / 2));
  const lowPlanes = Array.from({ length: shift >> 3 }, () => reader.take(count));
  const bitPlanes = Array.from({ length: shift & 7 }, () => reader.take(Math.ceil(count / 8)));
  const nibbles = Array.from({ length: count }, (_, i) => (pairs[i >> 1]! >> (4 * (i & 1))) & 15);
  const escapes = [...reader.plane(nibbles.filter((nibble) => nibble === 15).length)].map(BigInt);
  const whole = escapes.map((e) => (e === 255n ? little(reader.take(width)) : e));

  const top = 1n << BigInt(bits - 1);
  const cut = (x: bigint) => BigInt.asUintN(bits, x);
  const order = (x: bigint) => (!lane.float ? x : x & top ? cut(~x) : x | top);
  const unorder = (m: bigint) => (!lane.float ? m : m & top ? m ^ top : cut(~m));
  const base = new Uint8Array(count * width);
  base.set(bases[0]!.subarray(0, Math.min(bases[0]!.length, base.length)));
  const out = new Uint8Array(sizeBytes);
  for (let i = 0; i < count; i++) {
    let low = 0n;
    lowPlanes.forEach((plane, k) => {
      low |= BigInt(plane[i]!) << BigInt(8 * k);
    });
    bitPlanes.forEach((plane, k) => {
      low |= BigInt((plane[i >> 3]! >> (i & 7)) & 1) << BigInt(8 * lowPlanes.length + k);
    });
    const above = nibbles[i] === 15 ? 15n + whole.shift()! : BigInt(nibbles[i]!);
    const z = cut((above << BigInt(shift)) | low);
    const difference = z & 1n ? ~(z >> 1n) : z >> 1n;
    const parent = order(little(base.subarray(i * width, i * width + width)));
    let x = unorder(cut(parent + difference));
    for (let b = 0; b < width; b++, x >>= 8n) out[i * width + b] = Number(x & 255n);
  }
  out.set(reader.take(sizeBytes - count * width), count * width);
  if (!reader.ended) throw new Error("the payload does not end with its tail");
  return out;
}

const little = (bytes: Uint8Array) => bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);

class Reader {
  #rest: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#rest = bytes;
  }

  get ended(): boolean {
    return this.#rest.length === 0;
  }

  take(sizeBytes: number): Uint8Array {
    const bytes = this.#rest.subarray(0, sizeBytes);
    if (bytes.length !== sizeBytes) throw new Error("the payload is cut short");
    this.#rest = this.#rest.subarray(sizeBytes);
    return bytes;
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  size(): number {
    return this.byte() | (this.byte() << 8) | (this.byte() << 16);
  }

  /** A plane of any mode. */
  plane(count: number): Uint8Array {
    const mode = this.byte();
    if (mode === 0) return this.take(count);
    const out = new Uint8Array(count);
    if (mode === 3) {
      const size = Math.ceil(count / this.byte());
      for (let from = 0; from < count; from += size) out.set(this.plane(Math.min(size, count - from)), from);
      return out;
    }
    if (mode === 2) {
      const value = this.byte();
      const [gapCount, otherCount] = [this.size(), this.size()];
      const gaps = this.take(gapCount);
      const others = this.take(otherCount);
      out.fill(value);
      let at = 0;
      let next = 0;
      for (const gap of gaps) {
        at += gap;
        if (gap !== 255) out[at++] = others[next++]!;
      }
      return out;
    }
    const streamBytes = this.size();
    const { frequencies, sizeBytes } = readFrequencies(this.#rest)!;
    this.take(sizeBytes);
    return decodeStream(this.take(streamBytes), frequencies, out);
  }
}

/** Four rANS states over 4096 slots. */
function decodeStream(stream: Uint8Array, frequencies: Uint16Array, out: Uint8Array): Uint8Array {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.length);
  const states = [0, 4, 8, 12].map((at) => view.getUint32(at, true));
  let at = 16;
  for (let i = 0; i < out.length; i++) {
    const state = states[i % 4]!;
    const slot = state % 4096;
    let [byte, start] = [0, 0];
    while (start + frequencies[byte]! <= slot) start += frequencies[byte++]!;
    let next = frequencies[byte]! * Math.floor(state / 4096) + slot - start;
    if (next < 32768) {
      next = next * 65536 + view.getUint16(at, true);
      at += 2;
    }
    states[i % 4] = next;
    out[i] = byte;
  }
  if (at !== stream.length || states.some((state) => state !== 32768)) {
    throw new Error("the stream does not end where it should");
  }
  return out;
}
