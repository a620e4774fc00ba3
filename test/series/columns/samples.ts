import { Buffer } from "node:buffer";
import {
  bytesOf,
  type ColumnValues,
  type NumberArray,
  type NumberType,
  numberArray,
  numberWidth,
} from "../../../src/series/columns/column.ts";
import { noise } from "../../codec/seeded.ts";

export const NUMBER_TYPES: NumberType[] = [
  "f64",
  "f32",
  "i64",
  "u64",
  "i32",
  "u32",
  "i16",
  "u16",
  "i8",
  "u8",
];

/** What real columns do, and what they should never do. */
export const SHAPES = [
  "constant",
  "ramp",
  "walk",
  "decimals",
  "awkward decimals",
  "few values",
  "runs",
  "limits",
  "alternating signs",
  "special floats",
  "outliers",
  "random bits",
] as const;
export type Shape = (typeof SHAPES)[number];

/** Bit patterns that arithmetic loses: zeros of both signs, infinities, NaNs with payloads, denormals, the largest. */
const SPECIAL_BITS = [
  0x8000000000000000n,
  0n,
  0x7ff0000000000000n,
  0xfff0000000000000n,
  0x7ff8000000000000n,
  0xfff8000000000001n,
  0x7ff0000000000001n,
  0x7fffffffffffffffn,
  0xffffffffffffffffn,
  1n,
  0x8000000000000001n,
  0x000fffffffffffffn,
  0x7fefffffffffffffn,
  0x0010000000000000n,
  0x3ff0000000000000n,
];

/** `count` numbers of a type; integers are the same bits cut to their width. */
export function numbersIn(type: NumberType, shape: Shape, count: number, seed: number): NumberArray {
  const next = noise(seed * 2654435761 + count + 1);
  const isFloat = type === "f64" || type === "f32";
  const values = numberArray(type, count);
  const bits = bytesOf(values);
  const width = numberWidth(type);
  const put = (i: number, value: number) => {
    if (values instanceof BigInt64Array || values instanceof BigUint64Array)
      values[i] = BigInt(Math.trunc(value));
    else values[i] = value;
  };
  const putBits = (i: number, value: bigint) => {
    for (let byte = 0; byte < width; byte++)
      bits[i * width + byte] = Number((value >> BigInt(byte * 8)) & 255n);
  };
  const singles = [
    0x80000000n,
    0n,
    0x7f800000n,
    0xff800000n,
    0x7fc00001n,
    0x7f800001n,
    1n,
    0x807fffffn,
    0x7f7fffffn,
  ];
  const specials = type === "f32" ? singles : SPECIAL_BITS;
  let level = next() % 100_000;
  for (let i = 0; i < count; i++) {
    switch (shape) {
      case "constant":
        put(i, 42.5);
        break;
      case "ramp":
        put(i, i * 7);
        break;
      case "walk":
        level += (next() % 21) - 10;
        put(i, level);
        break;
      case "decimals":
        level += (next() % 21) - 10;
        put(i, isFloat ? level / 100 : level);
        break;
      case "awkward decimals":
        // Some do not round trip, some have more digits, some are minus zero.
        put(i, next() % 20 === 0 ? -0 : next() % 20 === 1 ? 0.1 + 0.2 * i : (next() % 1000) * 0.01);
        break;
      case "few values":
        put(i, [1, 5, 84, 67, 70][(next() >>> 3) % 5]!);
        break;
      case "runs":
        if (next() % 50 === 0) level = next() % 100;
        put(i, level);
        break;
      case "limits":
        putBits(i, next() % 2 === 0 ? 1n << BigInt(width * 8 - 1) : (1n << BigInt(width * 8 - 1)) - 1n);
        break;
      case "alternating signs":
        put(i, (i & 1 ? -1 : 1) * (1000 + (next() % 8)));
        break;
      case "special floats":
        putBits(i, specials[next() % specials.length]!);
        break;
      case "outliers":
        if (next() % 100 === 0) putBits(i, (BigInt(next()) << 32n) | BigInt(next()));
        else put(i, 1000 + (next() % 16));
        break;
      default:
        putBits(i, (BigInt(next()) << 32n) | BigInt(next()));
    }
  }
  return values;
}

export function numberColumn(name: string, type: NumberType, values: NumberArray): ColumnValues {
  return { name, type, rows: values.length, values };
}

export function textColumn(name: string, texts: readonly string[]): ColumnValues {
  const offsets = new Int32Array(texts.length + 1);
  const parts = texts.map((text) => Buffer.from(text));
  parts.forEach((part, i) => {
    offsets[i + 1] = offsets[i]! + part.length;
  });
  return { name, type: "utf8", rows: texts.length, values: new Uint8Array(Buffer.concat(parts)), offsets };
}

export function textsOf({ rows, values, offsets }: ColumnValues): string[] {
  const bytes = values as Uint8Array;
  return Array.from({ length: rows }, (_, i) =>
    Buffer.from(bytes.subarray(offsets![i], offsets![i + 1])).toString(),
  );
}

/** Whether two arrays hold the same bits. */
export const sameBits = (a: NumberArray, b: NumberArray) => Buffer.compare(bytesOf(a), bytesOf(b)) === 0;

/** A table whose columns follow from each other: quotes, with what is computed from them. */
export function quotes(rows: number, seed: number): ColumnValues[] {
  const next = noise(seed + 1);
  const received = new BigInt64Array(rows);
  const event = new BigInt64Array(rows);
  const bid = new Float64Array(rows);
  const ask = new Float64Array(rows);
  const side = new Uint8Array(rows);
  let tick = 6_000_000;
  let now = 1_700_000_000_000_000_000n;
  for (let i = 0; i < rows; i++) {
    now += BigInt(next() % 5_000_000);
    received[i] = now;
    event[i] = now / 1_000_000n - BigInt(next() % 4);
    if (next() % 4 === 0) tick += (next() % 7) - 3;
    bid[i] = tick / 100;
    ask[i] = (tick + 1 + (next() % 2)) / 100;
    side[i] = bid[i]! > (bid[i - 1] ?? 0) ? 1 : next() % 8 === 0 ? 2 : 0;
  }
  return [
    numberColumn("received", "i64", received),
    numberColumn("event", "i64", event),
    numberColumn("bid", "f64", bid),
    numberColumn("ask", "f64", ask),
    numberColumn("side", "u8", side),
  ];
}
