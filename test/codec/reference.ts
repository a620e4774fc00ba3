import type { DecodeInput } from "../../src/codec/encoding.ts";
import { laneOf } from "../../src/codec/lanes.ts";

/**
 * The residual encoding in plain TypeScript, straight from docs/formats/encodings.md: one symbol at a time, integers of
 * any width, no cleverness. The kernels must decode every payload to the same bytes.
 */
export function referenceResidual({ element, payload, bases }: DecodeInput, sizeBytes: number): Uint8Array {
  const lane = laneOf(element);
  const width = lane.widthBytes;
  const bits = BigInt(width * 8);
  const count = Math.floor(sizeBytes / width);
  const lanes = Math.ceil(count / 16) * 16;
  const flags = payload[0]!;
  const threshold = (payload[1]! << 24) >> 24;
  const codedBytes = payload[2]! | (payload[3]! << 8) | (payload[4]! << 16);
  const coded = payload.subarray(5, 5 + codedBytes);
  const raw = new Bits(payload.subarray(5 + codedBytes, payload.length - (sizeBytes - count * width)));
  const parent = lanesOf(bases[0]!, width, count, lanes);
  const grandparent = flags & 1 ? lanesOf(bases[1]!, width, count, lanes) : undefined;

  const top = 1n << (bits - 1n);
  const order = (x: bigint) => (!lane.float ? x : x & top ? BigInt.asUintN(Number(bits), ~x) : x | top);
  const unorder = (m: bigint) => (!lane.float ? m : m & top ? m ^ top : BigInt.asUintN(Number(bits), ~m));
  const exponent = (x: bigint) => Number((x >> BigInt(lane.mantissaBits)) & BigInt(lane.exponentMask));
  const largest = parent.reduce((most, x) => Math.max(most, exponent(x)), 0);
  const levelOf = (x: bigint) => Math.min(largest - exponent(x), 23);
  const shiftOf = (level: number) =>
    Math.max(0, Math.min((flags & 8 ? 0 : level) - threshold, Number(bits) - 5));
  const driftOf = (i: number) =>
    grandparent ? BigInt.asIntN(Number(bits), order(parent[i]!) - order(grandparent[i]!)) : 0n;
  const drifts = (magnitude: bigint) =>
    [1, 2, 3, 4, 6, 8, 16].filter((edge) => magnitude >= BigInt(edge)).length;
  const contextOf = (i: number) => {
    const level = levelOf(parent[i]!);
    const d = driftOf(i);
    return Math.min(level, 15) * 8 + drifts((d < 0n ? -d : d) >> BigInt(shiftOf(level)));
  };

  const tables = readTables(new Bits(coded), (flags & 4) !== 0, grandparent !== undefined);
  const stream = new Stream(coded.subarray(tables.sizeBytes));
  const changed: boolean[] = [];
  for (let g = 0; g < lanes / 16; g++) {
    const before = Number(changed[g - 1] ?? false) + 2 * Number(changed[g - 2] ?? false);
    const ones = tables.map[differs(parent, grandparent, g) + 2 * before];
    changed.push(ones === undefined || stream.take(g, [4096 - ones, ones]) === 1);
  }
  const codedLanes = [...parent.keys()].filter((i) => changed[i >> 4]);
  const tokens = codedLanes.map((i, j) => stream.take(j, tables.of(contextOf(i))));
  stream.end();
  const residuals = tokens.map((token, j) => {
    if (token >= 30) return 0n;
    const shift = shiftOf(levelOf(parent[codedLanes[j]!]!));
    const magnitude = token < 15 ? 14 - token : token - 15;
    const extra = magnitude < 8 ? 0 : magnitude - 5;
    const smallest = magnitude < 8 ? BigInt(magnitude) : 1n << BigInt(extra);
    const low = raw.take(shift + extra);
    // Of a negative run the first value is the one farthest from 0.
    const first = token < 15 ? -smallest - (1n << BigInt(extra)) : smallest;
    return (first << BigInt(shift)) + low;
  });
  tokens.forEach((token, j) => {
    if (token !== 30) return;
    const below = Number(raw.take(6));
    const negative = raw.take(1) === 1n;
    const v = (1n << BigInt(below)) | raw.take(below);
    residuals[j] = negative ? -v - 1n : v;
  });

  const out = new Uint8Array(lanes * width);
  for (const [i, p] of parent.entries()) storeLane(out, i, width, p);
  codedLanes.forEach((i, j) => {
    const d = driftOf(i);
    const down = d !== 0n ? d < 0n : lane.float && (parent[i]! & top) !== 0n;
    const m = BigInt.asUintN(Number(bits), order(parent[i]!) + (down ? -residuals[j]! : residuals[j]!));
    storeLane(out, i, width, unorder(m));
  });
  const whole = new Uint8Array(sizeBytes);
  whole.set(out.subarray(0, count * width));
  whole.set(payload.subarray(payload.length - (sizeBytes - count * width)), count * width);
  return whole;
}

function lanesOf(base: Uint8Array, width: number, count: number, lanes: number): bigint[] {
  const bytes = new Uint8Array(lanes * width);
  bytes.set(base.subarray(0, Math.min(base.length, count * width)));
  return Array.from({ length: lanes }, (_, i) => {
    let value = 0n;
    for (let b = width - 1; b >= 0; b--) value = (value << 8n) | BigInt(bytes[i * width + b]!);
    return value;
  });
}

function storeLane(out: Uint8Array, i: number, width: number, value: bigint): void {
  for (let b = 0; b < width; b++) out[i * width + b] = Number((value >> BigInt(8 * b)) & 255n);
}

function differs(parent: bigint[], grandparent: bigint[] | undefined, group: number): number {
  if (!grandparent) return 0;
  for (let i = group * 16; i < group * 16 + 16; i++) if (parent[i] !== grandparent[i]) return 1;
  return 0;
}

/** Bits from the least significant one of a byte on. */
class Bits {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(count: number): bigint {
    let value = 0n;
    for (let i = 0n; i < BigInt(count); i++, this.#at++) {
      value |= BigInt((this.#bytes[this.#at >> 3]! >> (this.#at & 7)) & 1) << i;
    }
    return value;
  }

  number(count: number): number {
    return Number(this.take(count));
  }

  get sizeBytes(): number {
    return Math.ceil(this.#at / 8);
  }
}

interface Tables {
  /** How often a group changed, by its context; empty without a map. */
  map: number[];
  /** Frequencies of the 32 tokens in a context. */
  of(context: number): number[];
  sizeBytes: number;
}

function readTables(bits: Bits, mapped: boolean, drift: boolean): Tables {
  const map = mapped ? Array.from({ length: 8 }, () => Math.max(bits.number(12), 1)) : [];
  const levels = bits.number(4) + 1;
  const tables = bits.number(4) + 1;
  const tableOf = new Map<number, number>();
  for (let context = 0; context < levels * 8; context += drift ? 1 : 8) {
    const expected = context === 0 ? 0 : tableOf.get(context < 8 ? context - 1 : context - 8)!;
    tableOf.set(context, bits.number(1) ? bits.number(4) : expected);
  }
  const frequencies = Array.from({ length: tables }, () => frequenciesOf(readWeights(bits)));
  return { map, of: (context) => frequencies[tableOf.get(context)!]!, sizeBytes: bits.sizeBytes };
}

function readWeights(bits: Bits): number[] {
  const [first, last, far, unchanged] = [bits.number(5), bits.number(5), bits.number(1), bits.number(1)];
  const weights = new Array<number>(32).fill(0);
  let before = 24;
  for (let token = 0; token < 32; token++) {
    const there = token < 30 ? first <= token && token <= last : token === 30 ? far : unchanged;
    if (!there) continue;
    let z = 0;
    while (bits.number(1)) z += 4;
    z += bits.number(2);
    before += z % 2 ? -(z + 1) / 2 : z / 2;
    weights[token] = before;
  }
  return weights;
}

function frequenciesOf(weights: number[]): number[] {
  const quarters = [16384n, 19484n, 23170n, 27554n];
  const values = weights.map((w) => (w === 0 ? 0n : quarters[w % 4]! << BigInt(w >> 2)));
  const scale = (1n << 44n) / values.reduce((sum, value) => sum + value, 0n);
  const frequencies = values.map((value) => (value === 0n ? 0 : Math.max(1, Number((value * scale) >> 32n))));
  const left = 4096 - frequencies.reduce((sum, frequency) => sum + frequency, 0);
  frequencies[frequencies.indexOf(Math.max(...frequencies))]! += left;
  return frequencies;
}

/** The eight rANS states. */
class Stream {
  readonly #states: number[];
  readonly #view: DataView;
  #at = 32;

  constructor(stream: Uint8Array) {
    this.#view = new DataView(stream.buffer, stream.byteOffset, stream.length);
    this.#states = Array.from({ length: 8 }, (_, i) => this.#view.getUint32(i * 4, true));
  }

  take(position: number, frequencies: number[]): number {
    const state = this.#states[position % 8]!;
    const slot = state % 4096;
    let symbol = 0;
    let start = 0;
    while (start + frequencies[symbol]! <= slot) start += frequencies[symbol++]!;
    let next = frequencies[symbol]! * Math.floor(state / 4096) + slot - start;
    if (next < 32768) {
      next = next * 65536 + this.#view.getUint16(this.#at, true);
      this.#at += 2;
    }
    this.#states[position % 8] = next;
    return symbol;
  }

  end(): void {
    if (this.#at !== this.#view.byteLength || this.#states.some((state) => state !== 32768)) {
      throw new Error("the stream does not end where it should");
    }
  }
}
