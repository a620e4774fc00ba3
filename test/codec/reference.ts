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
  const streamBytes = payload[2]! | (payload[3]! << 8) | (payload[4]! << 16);
  const stream = payload.subarray(5, 5 + streamBytes);
  const raw = new RawBits(payload.subarray(5 + streamBytes, payload.length - (sizeBytes - count * width)));
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
    return level * 8 + drifts((d < 0n ? -d : d) >> BigInt(shiftOf(level)));
  };

  const coder = new Models(stream);
  const changed = coder.map(
    lanes / 16,
    flags & 4 ? (group) => differs(parent, grandparent, group) : undefined,
  );
  const coded = [...parent.keys()].filter((i) => changed[i >> 4]);
  const symbols = coder.pass(coded.map(contextOf));
  const zeros = (flags & 2) !== 0;
  const middle = zeros ? 7n : 8n;
  const highest = zeros ? 14 : 15;
  const shifts = coded.map((i) => BigInt(shiftOf(levelOf(parent[i]!))));
  const lows = symbols.map((symbol, j) => (zeros && symbol === 15 ? 0n : raw.take(shifts[j]!)));
  const beyond = coded.map((_, j) => j).filter((j) => symbols[j] === 0 || symbols[j] === highest);
  const lengths = coder.pass(beyond.map((j) => 192 + levelOf(parent[coded[j]!]!)));
  const q = symbols.map((symbol) => (zeros && symbol === 15 ? 0n : BigInt(symbol) - middle));
  beyond.forEach((j, k) => {
    const rest = BigInt(lengths[k]!) + (lengths[k] === 15 ? raw.take(6n) : 0n);
    const excess = ((1n << rest) | raw.take(rest)) - 1n;
    q[j] = symbols[j] === 0 ? -middle - excess : 7n + excess;
  });

  const out = new Uint8Array(lanes * width);
  for (const [i, p] of parent.entries()) storeLane(out, i, width, p);
  coded.forEach((i, j) => {
    const folded = (q[j]! << shifts[j]!) | lows[j]!;
    const d = driftOf(i);
    const down = d !== 0n ? d < 0n : lane.float && (parent[i]! & top) !== 0n;
    const m = BigInt.asUintN(Number(bits), order(parent[i]!) + (down ? -folded : folded));
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

class RawBits {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(count: bigint): bigint {
    let value = 0n;
    for (let i = 0n; i < count; i++, this.#at++) {
      value |= BigInt((this.#bytes[this.#at >> 3]! >> (this.#at & 7)) & 1) << i;
    }
    return value;
  }
}

interface Model {
  cumulative: number[];
  age: number;
}

/** The adaptive models and the four rANS states. */
class Models {
  readonly #models = new Map<number, Model>();
  readonly #states: number[];
  readonly #view: DataView;
  #at = 16;

  constructor(stream: Uint8Array) {
    this.#view = new DataView(stream.buffer, stream.byteOffset, stream.length);
    this.#states = [0, 4, 8, 12].map((at) => this.#view.getUint32(at, true));
  }

  #model(context: number): Model {
    const known = this.#models.get(context);
    if (known) return known;
    const uniform = Array.from({ length: 17 }, (_, i) => i * 2048);
    const binary = [0, 16384, ...Array.from({ length: 15 }, (_, i) => 32754 + i)];
    const made = { cumulative: context < 216 ? uniform : binary, age: 2 };
    this.#models.set(context, made);
    return made;
  }

  #decode(lane: number, { cumulative }: Model): number {
    const state = this.#states[lane]!;
    const slot = state % 32768;
    const symbol = cumulative.findLastIndex((start, i) => i < 16 && start <= slot);
    const start = cumulative[symbol]!;
    let next = (cumulative[symbol + 1]! - start) * Math.floor(state / 32768) + slot - start;
    if (next < 65536) {
      next = next * 65536 + this.#view.getUint16(this.#at, true);
      this.#at += 2;
    }
    this.#states[lane] = next;
    return symbol;
  }

  #learn(context: number, seen: Model, symbol: number): void {
    const rate = Math.floor(Math.log2(seen.age));
    const cumulative = seen.cumulative.map((c, i) =>
      i === 16 ? c : c + Math.floor(((i <= symbol ? i : 32752 + i) - c) / 2 ** rate),
    );
    this.#models.set(context, { cumulative, age: Math.min(seen.age + 1, 256) });
  }

  /** Four symbols at a time see the models as they were before; what is left over goes one by one. */
  pass(contexts: number[]): number[] {
    const symbols: number[] = [];
    const whole = contexts.length - (contexts.length % 4);
    for (let i = 0; i < whole; i += 4) {
      const four = contexts.slice(i, i + 4);
      const seen = four.map((context) => this.#model(context));
      const decoded = seen.map((model, lane) => this.#decode(lane, model));
      decoded.forEach((symbol, lane) => {
        this.#learn(four[lane]!, seen[lane]!, symbol);
      });
      symbols.push(...decoded);
    }
    for (let i = whole; i < contexts.length; i++) symbols.push(this.#one(i % 4, contexts[i]!));
    return symbols;
  }

  #one(lane: number, context: number): number {
    const seen = this.#model(context);
    const symbol = this.#decode(lane, seen);
    this.#learn(context, seen, symbol);
    return symbol;
  }

  map(groups: number, drifted: ((group: number) => number) | undefined): boolean[] {
    const changed: boolean[] = [];
    for (let g = 0; g < groups; g++) {
      if (!drifted) {
        changed.push(true);
        continue;
      }
      const context =
        216 + drifted(g) + 2 * Number(changed[g - 1] ?? false) + 4 * Number(changed[g - 2] ?? false);
      changed.push(this.#one(g % 4, context) !== 0);
    }
    return changed;
  }
}
