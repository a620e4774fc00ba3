import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isStoreError } from "../../../src/errors.ts";
import { bytesOf, type ColumnValues, numberArray } from "../../../src/series/columns/column.ts";
import { loadColumnCodec } from "../../../src/series/columns/column-codec.ts";
import { noise, property, SEED } from "../../codec/seeded.ts";
import {
  NUMBER_TYPES,
  numberColumn,
  numbersIn,
  quotes,
  SHAPES,
  sameBits,
  textColumn,
  textsOf,
} from "./samples.ts";

const codec = await loadColumnCodec();
const PROFILES = ["light", "compact"] as const;

describe("columns come back bit for bit", () => {
  for (const profile of PROFILES) {
    it(`every type and shape, ${profile}`, () => {
      property(
        fc.constantFrom(...NUMBER_TYPES),
        fc.constantFrom(...SHAPES),
        fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 1000, max: 5000 })),
        fc.integer(),
        (type, shape, rows, seed) => {
          const values = numbersIn(type, shape, rows, seed);
          const encoded = codec.encode([numberColumn("x", type, values)], { profile });
          const decoder = codec.decoder(encoded, rows);
          expect(sameBits(decoder.decode("x").values, values)).toBe(true);
          const from = rows === 0 ? 0 : Math.abs(seed) % rows;
          const to = from + Math.floor((rows - from) / 2);
          expect(sameBits(decoder.decode("x", from, to).values, values.subarray(from, to))).toBe(true);
        },
      ).check(150);
    });
  }

  it("tables whose columns are stored against each other, of two pages", () => {
    const rows = 70_001;
    const table = quotes(rows, SEED);
    for (const profile of PROFILES) {
      const encoded = codec.encode(table, { profile });
      const decoder = codec.decoder(encoded, rows);
      for (const [from, to] of [
        [0, rows],
        [65_530, 65_541],
        [16_383, 16_385],
        [rows - 1, rows],
        [7, 7],
      ] as const) {
        for (const { name, values } of [...table].reverse()) {
          expect(sameBits(decoder.decode(name, from, to).values, values.subarray(from, to)), name).toBe(true);
        }
      }
    }
    const dependent = codec.encode(table).filter(({ dependsOn }) => dependsOn.length > 0);
    expect(dependent.length).toBeGreaterThan(0);
  });

  it("texts, with and without a dictionary", () => {
    const rows = 3000;
    const words = Array.from({ length: rows }, (_, i) => ["buy", "sell", "", "größer"][((i * 7) >> 2) % 4]!);
    const mixed = Array.from({ length: rows }, (_, i) =>
      i % 7 === 0 ? "" : `${(i * 2654435761) % 4294967296}`,
    );
    const table = [textColumn("word", words), { ...textColumn("mixed", mixed), type: "binary" as const }];
    for (const profile of PROFILES) {
      const encoded = codec.encode(table, { profile });
      expect(encoded[0]!.encoding).toMatch(/^dictionary\(4\)/);
      const decoder = codec.decoder(encoded, rows);
      for (const [from, to] of [
        [0, rows],
        [17, 18],
        [1024, 1024],
        [5, 2999],
      ] as const) {
        expect(textsOf(decoder.decode("word", from, to))).toEqual(words.slice(from, to));
        expect(textsOf(decoder.decode("mixed", from, to))).toEqual(mixed.slice(from, to));
      }
    }
  });

  it("bools, lists and nulls from any row on", () => {
    const rows = 2500;
    const bits = numbersIn("u8", "random bits", Math.ceil(rows / 8), SEED) as Uint8Array;
    const validity = numbersIn("u8", "random bits", Math.ceil(rows / 8), SEED + 1) as Uint8Array;
    const lists = numbersIn("f32", "decimals", rows * 3, SEED);
    const numbers = numbersIn("i32", "walk", rows, SEED);
    const table: ColumnValues[] = [
      { name: "bool", type: "bool", rows, values: bits, validity },
      { name: "list", type: { fixedSizeList: { type: "f32", size: 3 } }, rows, values: lists },
      { name: "maybe", type: "i32", rows, values: numbers, validity },
    ];
    const bit = (bitmap: Uint8Array, i: number) => (bitmap[i >> 3]! >> (i & 7)) & 1;
    for (const profile of PROFILES) {
      const decoder = codec.decoder(codec.encode(table, { profile }), rows);
      for (const [from, to] of [
        [0, rows],
        [3, 1501],
        [2499, 2500],
      ] as const) {
        const bool = decoder.decode("bool", from, to);
        const maybe = decoder.decode("maybe", from, to);
        for (let i = from; i < to; i++) {
          expect(bit(bool.validity!, i - from)).toBe(bit(validity, i));
          if (bit(validity, i) === 0) continue;
          expect(bit(bytesOf(bool.values), i - from)).toBe(bit(bits, i));
          expect(maybe.values[i - from]).toBe(numbers[i]);
        }
        const out = numberArray("f32", (to - from) * 3);
        expect(decoder.decode("list", from, to, out).values).toBe(out);
        expect(sameBits(out, lists.subarray(from * 3, to * 3))).toBe(true);
      }
    }
  });

  describe("multiples of a base, but for a few last places", () => {
    const rows = 70_000;
    const next = noise(SEED);
    const digits = Array.from({ length: rows }, () => 0);
    for (let i = 1, level = 3_000_000; i < rows; i++) digits[i] = level += (next() % 4001) - 2000;
    const sums = new Float64Array(rows);
    for (let i = 1; i < rows; i++) sums[i] = sums[i - 1]! + (next() % 1000) / 1000;
    const averages = Float64Array.from(digits, (digit) => digit / 10 / 60);
    const columns: [string, Float64Array][] = [
      ["averages of decimals", averages],
      [
        "products of decimals",
        Float64Array.from(digits, (digit, i) => (digit / 100) * ((i % 7) * 0.001 + 0.1)),
      ],
      ["running sums of decimals", sums],
      [
        "with everything that is no product among them",
        averages.map(
          (value, i) => [value, value, value, Number.NaN, -0, 1e300, -1e-310, Infinity][i % 97] ?? value,
        ),
      ],
    ];
    for (const profile of PROFILES) {
      it.each(columns)(`%s, ${profile}`, (_, values) => {
        const [encoded] = codec.encode([numberColumn("x", "f64", values)], { profile });
        expect(encoded!.encoding).toMatch(/^multiples\(/);
        expect(encoded!.bytes.length).toBeLessThan(values.byteLength / 2);
        const decoder = codec.decoder([encoded!], rows);
        for (const [from, to] of [
          [0, rows],
          [65_000, 66_001],
          [17, 18],
        ] as const) {
          expect(sameBits(decoder.decode("x", from, to).values, values.subarray(from, to))).toBe(true);
        }
      });
    }

    it("give their integers to columns that are stored against them", () => {
      const table = [numberColumn("x", "f64", averages), numberColumn("y", "f64", averages.slice())];
      const encoded = codec.encode(table);
      const decoder = codec.decoder(encoded, rows);
      for (const { name, values } of table) expect(sameBits(decoder.decode(name).values, values)).toBe(true);
    });
  });

  it("a validity bitmap without a null is not stored", () => {
    const column = { ...numberColumn("x", "u8", new Uint8Array(9)), validity: new Uint8Array([255, 1]) };
    expect(codec.decoder(codec.encode([column]), 9).decode("x").validity).toBeUndefined();
  });
});

describe("columns take little room", () => {
  it("says how each is stored", () => {
    const encoded = codec.encode(quotes(20_000, 7));
    const of = (name: string) => encoded.find((column) => column.name === name)!;
    expect(of("bid").encoding).toMatch(/^decimal\(2\) /);
    expect(of("ask").dependsOn.concat(of("bid").dependsOn).length).toBeGreaterThan(0);
    const rawBytes = 5 * 20_000 * 8;
    expect(encoded.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThan(rawBytes / 8);
  });

  it("a column that counts takes a few bytes", () => {
    const encoded = codec.encode([numberColumn("id", "i64", numbersIn("i64", "ramp", 65_536, 1))]);
    expect(encoded[0]!.bytes.length).toBeLessThan(32);
    expect(encoded[0]!.encoding).toBe("delta constant");
  });

  it("never takes much more than the values themselves", () => {
    for (const type of NUMBER_TYPES) {
      const values = numbersIn(type, "random bits", 10_000, SEED);
      const [encoded] = codec.encode([numberColumn("x", type, values)]);
      expect(encoded!.bytes.length).toBeLessThan(values.byteLength + 64);
    }
  });
});

describe("wrong arguments are refused", () => {
  const good = numberColumn("x", "f64", new Float64Array(10));
  const wrong: [string, ColumnValues[]][] = [
    ["another array", [{ ...good, type: "f32" }]],
    ["too few values", [{ ...good, rows: 11 }]],
    ["too short a bitmap", [{ ...good, validity: new Uint8Array(1) }]],
    ["no offsets", [{ name: "x", type: "utf8", rows: 1, values: new Uint8Array(0) }]],
    ["falling offsets", [{ ...textColumn("x", ["a", "b"]), offsets: Int32Array.of(0, 2, 1) }]],
    ["offsets past the bytes", [{ ...textColumn("x", ["a"]), offsets: Int32Array.of(0, 9) }]],
    ["unequal lengths", [good, numberColumn("y", "u8", new Uint8Array(9))]],
    ["one name twice", [good, good]],
  ];
  it.each(wrong)("%s", (_, columns) => {
    expect(() => codec.encode(columns)).toThrowError(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }) as Error,
    );
  });

  it("rows and columns that are not there, and an array that does not fit", () => {
    const decoder = codec.decoder(codec.encode([good]), 10);
    const codeOf = (read: () => unknown) => {
      try {
        read();
        return undefined;
      } catch (error) {
        return isStoreError(error) ? error.code : error;
      }
    };
    expect(codeOf(() => decoder.decode("y"))).toBe("ERR_NOT_FOUND");
    expect(codeOf(() => decoder.decode("x", 0, 11))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => decoder.decode("x", 5, 4))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => decoder.decode("x", 0, 10, new Float64Array(9)))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => decoder.decode("x", 0, 10, new Float32Array(10)))).toBe("ERR_INVALID_ARGUMENT");
  });
});
