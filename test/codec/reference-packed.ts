import type { DecodeInput } from "../../src/codec/encoding.ts";
import { readFrequencies } from "../../src/codec/frequencies.ts";
import { laneOf } from "../../src/codec/lanes.ts";

/** The packed-difference encoding in plain TypeScript, straight from docs/formats/encodings.md: one lane at a time. */
export function referencePacked({ element, payload, bases }: DecodeInput, sizeBytes: number): Uint8Array {
  const lane = laneOf(element);
  const width = lane.widthBytes;
  const bits = width * 8;
  const lanes = Math.floor(sizeBytes / width);
  const count = Math.ceil(lanes / 16) * 16;
  const reader = new Reader(payload);
  const first = reader.byte();
  const low = first & 127;
  const top = reader.byte() + 256 * reader.byte();
  const widths = [...reader.take(8)].flatMap((byte) => [byte & 15, byte >> 4]);
  const gapBytes = reader.size();
  const map = first > 127 ? reader.plane(count / 8) : new Uint8Array(count / 8).fill(255);
  const lowPlanes = Array.from({ length: low }, () => reader.take(count));

  const highest = 1n << BigInt(bits - 1);
  const cut = (x: bigint) => BigInt.asUintN(bits, x);
  const order = (x: bigint) => (!lane.float ? x : x & highest ? cut(~x) : x | highest);
  const unorder = (m: bigint) => (!lane.float ? m : m & highest ? m ^ highest : cut(~m));
  const base = new Uint8Array(count * width);
  base.set(bases[0]!.subarray(0, Math.min(bases[0]!.length, lanes * width)));
  const parents = Array.from({ length: count }, (_, i) =>
    little(base.subarray(i * width, i * width + width)),
  );
  const widthOf = (i: number) => {
    const exponent = Number(parents[i]! >> BigInt(lane.mantissaBits)) & lane.exponentMask;
    return widths[Math.min(15, Math.max(0, top - exponent))]!;
  };

  const changed = (i: number) => (map[i >> 3]! >> (i & 7)) & 1;
  const packed = reader.bits(parents.map((_, i) => (changed(i) ? widthOf(i) : 0)));
  const zigzags = packed.map((value, i) => {
    let z = (BigInt(value) + (first > 127 && changed(i) ? 1n : 0n)) << BigInt(8 * low);
    lowPlanes.forEach((plane, k) => {
      z |= BigInt(plane[i]!) << BigInt(8 * k);
    });
    return z;
  });
  const whole = new Map<number, bigint>();
  const patched: number[] = [];
  let next = 0;
  for (const gap of reader.take(gapBytes)) {
    next += gap;
    if (gap !== 255) patched.push(next++);
  }
  const far = [...reader.take(patched.length)].flatMap((high, k) => {
    const i = patched[k]!;
    zigzags[i]! += BigInt(high) << BigInt(widthOf(i) + 8 * low);
    return high === 0 ? [i] : [];
  });
  for (const i of far) whole.set(i, little(reader.take(width)));

  const out = new Uint8Array(sizeBytes);
  for (let i = 0; i < lanes; i++) {
    const z = cut(zigzags[i]!);
    let x = whole.get(i) ?? unorder(cut(order(parents[i]!) + (z & 1n ? ~(z >> 1n) : z >> 1n)));
    for (let b = 0; b < width; b++, x >>= 8n) out[i * width + b] = Number(x & 255n);
  }
  out.set(reader.take(sizeBytes - lanes * width), lanes * width);
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

  /** Numbers of so many bits each, then zeros to a whole byte. */
  bits(sizes: number[]): number[] {
    const bytes = this.take(Math.ceil(sizes.reduce((sum, size) => sum + size, 0) / 8));
    let at = 0;
    return sizes.map((size) => {
      let value = 0;
      for (let i = 0; i < size; i++, at++) value |= ((bytes[at >> 3]! >> (at & 7)) & 1) << i;
      return value;
    });
  }

  huffmanPlane(out: Uint8Array): Uint8Array {
    const [first, last] = [this.byte(), this.byte()];
    const halves = [...this.take((last - first + 2) >> 1)].flatMap((byte) => [byte & 15, byte >> 4]);
    const symbolOf = canonicalCodes(halves.slice(0, last - first + 1), first);
    const sizes = [this.size(), this.size(), this.size(), this.size()];
    const quarter = out.length >> 2;
    for (const [stream, sizeBytes] of sizes.entries()) {
      const bytes = this.take(sizeBytes);
      let at = 0;
      const end = stream === 3 ? out.length : (stream + 1) * quarter;
      for (let i = stream * quarter; i < end; i++) {
        let code = "";
        while (!symbolOf.has(code)) code += (bytes[at >> 3]! >> (at++ & 7)) & 1;
        out[i] = symbolOf.get(code)!;
      }
      if (Math.ceil(at / 8) !== sizeBytes) throw new Error("a stream does not end where it should");
    }
    return out;
  }

  /** A plane of any mode. */
  plane(count: number): Uint8Array {
    const mode = this.byte();
    if (mode === 0) return this.take(count);
    const out = new Uint8Array(count);
    if (mode === 4) return this.huffmanPlane(out);
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

/** Bytes by code, a text of its bits: codes count up, of a length by byte, and go on where the shorter ones end. */
export function canonicalCodes(lengths: number[], first: number): Map<string, number> {
  const codes = new Map<string, number>();
  let code = 0;
  for (let length = 1; length <= 11; length++, code *= 2) {
    for (const [i, own] of lengths.entries()) {
      if (own === length) codes.set((code++).toString(2).padStart(length, "0"), first + i);
    }
  }
  return codes;
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
