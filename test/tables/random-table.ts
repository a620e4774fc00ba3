import fc from "fast-check";
import type { Column, Table } from "../../formats/tables/table.ts";
import { NUMBER_ARRAYS, type NumberType } from "../../formats/tables/table.ts";

/** Random tables of every type a table can hold, with nulls and the values that formats stumble over. */

const doubles = fc.oneof(
  fc.double(),
  fc.constantFrom(
    0,
    -0,
    Number.NaN,
    Infinity,
    -Infinity,
    5e-324,
    Number.MAX_VALUE,
    2 ** 53,
    1e21,
    1e-7,
    0.1,
    46319,
  ),
);
const bounds: Partial<Record<NumberType, [number, number]>> = {
  i32: [-(2 ** 31), 2 ** 31 - 1],
  u32: [0, 2 ** 32 - 1],
  i16: [-32768, 32767],
  u16: [0, 65535],
  i8: [-128, 127],
  u8: [0, 255],
};

function numbers(type: NumberType): fc.Arbitrary<number | bigint> {
  if (type === "f64") return doubles;
  if (type === "f32") return doubles.map(Math.fround);
  if (type === "i64") return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  if (type === "u64") return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const [min, max] = bounds[type]!;
  return fc.integer({ min, max });
}

const texts = fc.oneof(
  fc.string({ unit: "grapheme" }),
  fc.constantFrom("", '"', "a,b", "line\nbreak", "\r\n", " padded ", "1.5", "nan", "true", "007", "\\", "{}"),
);

export interface TableShape {
  types?: readonly (NumberType | "bool" | "utf8" | "binary" | "list" | "timestamp")[];
  maxRows?: number;
}

const ALL = [
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
  "bool",
  "utf8",
  "binary",
  "list",
  "timestamp",
] as const;

export function tables({ types = ALL, maxRows = 70 }: TableShape = {}): fc.Arbitrary<Table> {
  return fc
    .tuple(fc.nat(maxRows), fc.array(fc.constantFrom(...types), { minLength: 1, maxLength: 5 }))
    .chain(([rows, chosen]) =>
      fc
        .tuple(...chosen.map((type, at) => column(`c${at}`, type, rows)))
        .map((columns) => ({ rows, columns }) satisfies Table),
    );
}

function column(name: string, type: (typeof ALL)[number], rows: number): fc.Arbitrary<Column> {
  const nulls = fc.option(fc.array(fc.boolean(), { minLength: rows, maxLength: rows }), { freq: 2 });
  const cells = <T>(each: fc.Arbitrary<T>, count = rows) =>
    fc.array(each, { minLength: count, maxLength: count });
  const withNulls = (made: fc.Arbitrary<Omit<Column, "name" | "rows">>) =>
    fc.tuple(made, nulls).map(([rest, valid]): Column => {
      const validity = valid?.some((each) => !each) === true ? { validity: bits(valid) } : {};
      return { name, rows, ...rest, ...validity };
    });
  if (type === "bool")
    return withNulls(cells(fc.boolean()).map((values) => ({ type, values: bits(values) })));
  if (type === "utf8")
    return withNulls(
      cells(texts).map((values) => ({ type, ...bytes(values.map((each) => Buffer.from(each))) })),
    );
  if (type === "binary") {
    return withNulls(cells(fc.uint8Array({ maxLength: 9 })).map((values) => ({ type, ...bytes(values) })));
  }
  if (type === "list") {
    return withNulls(
      cells(numbers("f32"), rows * 3).map((values) => ({
        type: { fixedSizeList: { type: "f32" as const, size: 3 } },
        values: Float32Array.from(values as number[]),
      })),
    );
  }
  if (type === "timestamp") {
    return withNulls(
      fc
        .tuple(cells(numbers("i64")), fc.constantFrom("ms" as const, "us" as const, "ns" as const))
        .map(([values, unit]) => ({
          type: "i64" as const,
          unit,
          values: BigInt64Array.from(values as bigint[]),
        })),
    );
  }
  return withNulls(cells(numbers(type)).map((values) => ({ type, values: arrayOf(type, values) })));
}

function bits(values: readonly boolean[]): Uint8Array {
  const out = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, at) => {
    if (value) out[at >> 3]! |= 1 << (at & 7);
  });
  return out;
}

function bytes(values: readonly Uint8Array[]): { values: Uint8Array; offsets: Int32Array } {
  const offsets = new Int32Array(values.length + 1);
  values.forEach((value, at) => {
    offsets[at + 1] = offsets[at]! + value.length;
  });
  return { values: new Uint8Array(Buffer.concat(values)), offsets };
}

function arrayOf(type: NumberType, values: (number | bigint)[]): Column["values"] {
  const array = new NUMBER_ARRAYS[type](values.length) as Float64Array;
  values.forEach((value, at) => {
    array[at] = value as number;
  });
  return array;
}
