import { describe, expect, it } from "vitest";
import { RECIPE_CHAIN_MAX, RECIPE_ROWS_MAX } from "../../../src/limits.ts";
import type { ColumnValues } from "../../../src/series/columns/column.ts";
import { loadColumnCodec } from "../../../src/series/columns/column-codec.ts";
import { logarithm } from "../../../src/series/columns/logarithm.ts";
import type { Recipe, Recipes } from "../../../src/series/columns/recipe.ts";
import { noise } from "../../codec/seeded.ts";
import { numberColumn, numbersIn, sameBits } from "./samples.ts";

const codec = await loadColumnCodec();
const rows = 3000;

/** Bars, and what a strategy computes of them in its own, plain way. */
function features(): ColumnValues[] {
  const next = noise(11);
  let level = 46_377;
  const close = Float64Array.from({ length: rows }, () => {
    level += (next() % 41) - 20;
    return level / 2;
  });
  const high = close.map((x) => x + (next() % 9) / 2);
  const low = close.map((x) => x - (next() % 9) / 2);
  const ema = (x: Float64Array, span: number) => {
    const out = new Float64Array(rows);
    x.forEach((value, i) => {
      out[i] = i === 0 ? value : (2 * value + (span - 1) * out[i - 1]!) / (span + 1);
    });
    return out;
  };
  const rolling = (x: Float64Array, window: number, of: (values: Float64Array) => number) =>
    x.map((_, i) => (i < window - 1 ? Number.NaN : of(x.subarray(i - window + 1, i + 1))));
  const mean = (x: Float64Array) => x.reduce((a, b) => a + b, 0) / x.length;
  const deviation = (x: Float64Array) => {
    const m = mean(x);
    return Math.sqrt(x.reduce((sum, value) => sum + (value - m) ** 2, 0) / x.length);
  };
  const fast = ema(close, 12);
  const slow = ema(close, 26);
  const logret = close.map((x, i) => (i === 0 ? 0 : Math.log(x) - Math.log(close[i - 1]!)));
  const named: Record<string, Float64Array> = {
    close,
    high,
    low,
    fast,
    slow,
    macd: fast.map((x, i) => x - slow[i]!),
    logret,
    ret: close.map((x, i) => (i === 0 ? Number.NaN : (x - close[i - 1]!) / close[i - 1]!)),
    sma: rolling(close, 20, mean),
    sum: rolling(logret, 20, (x) => x.reduce((a, b) => a + b, 0)),
    z: rolling(close, 20, (x) => (x.at(-1)! - mean(x)) / deviation(x)),
    boll: rolling(close, 20, (x) => (x.at(-1)! - (mean(x) - 2 * deviation(x))) / (4 * deviation(x))),
    vol: rolling(logret, 30, (x) => deviation(x) * Math.sqrt(525_600)),
    span: close.map((x, i) => (high[i]! - low[i]!) / x),
  };
  return Object.entries(named).map(([name, values]) => numberColumn(name, "f64", values));
}

const table = features();
const ALL: Recipes = {
  fast: { ema: { of: "close", span: 12 } },
  slow: { ema: { of: "close", span: 26 } },
  macd: { macd: { fast: "fast", slow: "slow" } },
  logret: { logReturn: { of: "close" } },
  ret: { return: { of: "close" } },
  sma: { sma: { of: "close", window: 20 } },
  sum: { sum: { of: "logret", window: 20 } },
  z: { zscore: { of: "close", window: 20 } },
  boll: { bollinger: { of: "close", window: 20 } },
  vol: { volatility: { of: "logret", window: 30, scale: Math.sqrt(525_600) } },
  span: { range: { of: "close", high: "high", low: "low" } },
};

function bytesWith(columns: readonly ColumnValues[], derive: Recipes): Map<string, number> {
  const encoded = codec.encode(columns, { derive });
  const decoder = codec.decoder(encoded, columns[0]!.rows);
  for (const { name, values, rows: all } of columns) {
    expect(sameBits(decoder.decode(name).values, values), name).toBe(true);
    expect(sameBits(decoder.decode(name, 5, all - 7).values, values.subarray(5, all - 7)), name).toBe(true);
  }
  return new Map(encoded.map(({ name, bytes }) => [name, bytes.length]));
}

describe("recipes", () => {
  it("store what is left beside the formula, bit for bit, however it was computed", () => {
    const plain = bytesWith(table, {});
    const derived = bytesWith(table, ALL);
    for (const name of Object.keys(ALL)) {
      expect(derived.get(name)!, name).toBeLessThan(plain.get(name)! / 2);
    }
  });

  it("that are wrong cost nothing but time", () => {
    const wrong: Recipes = {
      logret: { ema: { of: "high", span: 3 } },
      vol: { rsi: { of: "low", period: 14 } },
    };
    const plain = bytesWith(table, {});
    const derived = bytesWith(table, wrong);
    for (const name of Object.keys(wrong))
      expect(derived.get(name)!).toBeLessThan(plain.get(name)! * 1.2 + 64);
  });

  it("keep exact what no formula gives: NaN payloads, infinities, zeros of both signs", () => {
    const odd = numberColumn("odd", "f64", numbersIn("f64", "special floats", rows, 3));
    const close = table[0]!;
    for (const recipe of [
      { ema: { of: "close", span: 5 } },
      { ema: { span: 5 } },
      { zscore: { of: "close", window: 9 } },
      { range: { of: "close" } },
    ] satisfies Recipe[]) {
      bytesWith([close, odd], { odd: recipe });
      bytesWith(
        [
          { ...odd, name: "close" },
          { ...close, name: "odd" },
        ],
        { odd: recipe },
      );
    }
  });

  it("recover the source of an average, and all that follows from it", () => {
    const computed = table.filter(({ name }) => !["close", "high", "low", "span"].includes(name));
    const found = codec.inferRecipes(computed);
    const recipes = Object.fromEntries(found.map(({ column, recipe }) => [column, recipe]));
    expect(Object.keys(recipes).sort()).toEqual(computed.map(({ name }) => name).sort());
    const own = found.filter(({ recipe }) => "ema" in recipe && recipe.ema.of === undefined);
    expect(own).toHaveLength(1);
    const plain = [...bytesWith(computed, {}).values()].reduce((a, b) => a + b);
    const derived = [...bytesWith(computed, recipes).values()].reduce((a, b) => a + b);
    expect(derived).toBeLessThan(plain / 5);
    expect(derived).toBeGreaterThanOrEqual(found.reduce((sum, { derivedBytes }) => sum + derivedBytes, 0));
  });

  it("are found over the columns that are there", () => {
    const found = new Map(codec.inferRecipes(table).map(({ column, recipe }) => [column, recipe]));
    expect(found.get("fast")).toEqual({ ema: { of: "close", span: 12 } });
    expect(found.get("slow")).toEqual({ ema: { of: "close", span: 26 } });
    expect(found.get("macd")).toEqual({ macd: { fast: "fast", slow: "slow" } });
    expect(found.get("sma")).toEqual({ sma: { of: "close", window: 20 } });
    expect(found.get("span")).toEqual({ range: { of: "close", high: "high", low: "low" } });
    expect(found.get("close")).toBeUndefined();
  });

  it("are not found where there are none", () => {
    const random = ["a", "b", "c"].map((name, i) =>
      numberColumn(name, "f64", numbersIn("f64", "random bits", 2000, i + 1)),
    );
    expect(codec.inferRecipes(random)).toEqual([]);
  });

  it.each<[string, Recipes]>([
    ["over a column that is not there", { sma: { sma: { of: "nothing", window: 3 } } }],
    ["of a column that is not there", { nothing: { sma: { of: "close", window: 3 } } }],
    ["over itself", { sma: { sma: { of: "sma", window: 3 } } }],
    ["in a circle", { sma: { sum: { of: "sum", window: 3 } }, sum: { sum: { of: "sma", window: 3 } } }],
    ["over a source that is not kept", { sma: { sma: { of: "fast#source", window: 3 } } }],
    ["of no known formula", { sma: { median: { of: "close" } } as unknown as Recipe }],
    ["of a window past the limit", { sma: { sma: { of: "close", window: RECIPE_ROWS_MAX + 1 } } }],
    ["of no window", { sma: { sma: { of: "close", window: 0 } } }],
    ["without their window", { sma: { sma: { of: "close" } } as unknown as Recipe }],
    [
      "with a setting of another formula",
      { sma: { sma: { of: "close", window: 3, span: 3 } } as unknown as Recipe },
    ],
    ["with text for a number", { sma: { sma: { of: "close", window: "3" } } as unknown as Recipe }],
    ["with digits that are none", { sma: { ema: { span: 3, digits: -1 } } }],
    ["with digits beside a source", { sma: { ema: { of: "close", span: 3, digits: 1 } } }],
    [
      "of two formulas",
      { sma: { sum: { of: "close", window: 3 }, sma: { of: "close", window: 3 } } as Recipe },
    ],
    ["that are null", { sma: null as unknown as Recipe }],
    ["whose formula is null", { sma: { sma: null } as unknown as Recipe }],
  ])("%s are refused", (_, derive) => {
    expect(() => codec.encode(table, { derive })).toThrowError(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }) as Error,
    );
  });

  it("may follow one from the other as often as the limit, and are read then", () => {
    const chain = (length: number) =>
      Object.fromEntries(
        Array.from({ length }, (_, i): [string, Recipe] => [`c${i + 1}`, { ema: { of: `c${i}`, span: 3 } }]),
      );
    const columns = [(table[0]!.values as Float64Array).slice(0, 64)];
    for (let i = 1; i <= RECIPE_CHAIN_MAX + 1; i++) {
      let average = columns[i - 1]![0]!;
      columns.push(
        columns[i - 1]!.map((value) => {
          average = 0.5 * value + 0.5 * average;
          return average;
        }),
      );
    }
    const named = columns.map((values, i) => numberColumn(`c${i}`, "f64", values));
    bytesWith(named, chain(RECIPE_CHAIN_MAX));
    expect(() => codec.encode(named, { derive: chain(RECIPE_CHAIN_MAX + 1) })).toThrowError(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }) as Error,
    );
    const backwards = Object.fromEntries(Object.entries(chain(RECIPE_CHAIN_MAX + 1)).reverse());
    expect(() => codec.encode(named, { derive: backwards })).toThrowError(/more than 24/);
    // Each is found to follow from the one before; the last would be one too many.
    const found = codec.inferRecipes(named);
    expect(found).toHaveLength(RECIPE_CHAIN_MAX);
    bytesWith(named, Object.fromEntries(found.map(({ column, recipe }) => [column, recipe])));
  });

  it("are found in columns whose first values are missing", () => {
    const withNulls = table
      .filter(({ name }) => name === "close" || name === "sma")
      .map((column): ColumnValues => {
        if (column.name !== "sma") return column;
        const validity = new Uint8Array(Math.ceil(rows / 8)).fill(255);
        const values = (column.values as Float64Array).map((value) => (Number.isNaN(value) ? 0 : value));
        for (let row = 0; row < 19; row++) validity[row >> 3]! &= ~(1 << (row & 7));
        return { ...column, values, validity };
      });
    const found = new Map(codec.inferRecipes(withNulls).map(({ column, recipe }) => [column, recipe]));
    expect(found.get("sma")).toEqual({ sma: { of: "close", window: 20 } });
  });

  it("go with the source that one of them would have kept, however long the row of them", () => {
    const next = noise(5);
    const random = (name: string) =>
      numberColumn(
        name,
        "f64",
        Float64Array.from({ length: 500 }, () => next() / 7),
      );
    bytesWith(["a", "b", "c", "d"].map(random), {
      a: { range: { of: "b#source", digits: 3 } },
      b: { range: { of: "c#source", digits: 3 } },
      c: { ema: { span: 5, digits: 3 } },
      d: { sma: { of: "a#source", window: 4 } },
    });
  });

  it("may look back as far as the limit", () => {
    const recipes: Recipes = { y: { sma: { of: "x", window: RECIPE_ROWS_MAX } } };
    const x = numberColumn("x", "f64", numbersIn("f64", "decimals", RECIPE_ROWS_MAX + 2, 1));
    const y = numberColumn(
      "y",
      "f64",
      (x.values as Float64Array).map(() => Number.NaN),
    );
    (y.values as Float64Array).set([1, 2], RECIPE_ROWS_MAX);
    bytesWith([x, y], recipes);
  });
});

describe("the logarithm", () => {
  it("is within a unit of the last place of the engine's", () => {
    const next = noise(3);
    for (let i = 0; i < 20_000; i++) {
      const x =
        i % 2 === 0
          ? 1 + (next() / 2 ** 32 - 0.5) / 2 ** (next() % 30)
          : (next() / 2 ** 32) * 2 ** ((next() % 2000) - 1000);
      const ulp = Math.abs(Math.log(x)) * 2 ** -52;
      expect(Math.abs(logarithm(x) - Math.log(x)), `${x}`).toBeLessThanOrEqual(ulp);
    }
  });

  it("knows the ends", () => {
    expect(logarithm(0)).toBe(Number.NEGATIVE_INFINITY);
    expect(logarithm(-1)).toBeNaN();
    expect(logarithm(Number.NaN)).toBeNaN();
    expect(logarithm(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
    expect(logarithm(1)).toBe(0);
    expect(logarithm(5e-324)).toBeCloseTo(-744.4400719213812, 10);
  });
});
