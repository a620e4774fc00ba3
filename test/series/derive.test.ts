import { describe, expect, it } from "vitest";
import { NAME_BYTES_MAX, SERIES_COLUMNS_MAX, SERIES_RECIPES_BYTES_MAX } from "../../src/limits.ts";
import type { Recipe, Recipes } from "../../src/series/columns/recipe.ts";
import { noise } from "../codec/seeded.ts";
import { openSeries, rowsOf, simulatedDisk } from "./open.ts";

const columns = { ts: "ts_ms", close: "f64", fast: "f64", slow: "f64", macd: "f64", ret: "f64" } as const;
const derive: Recipes = {
  fast: { ema: { of: "close", span: 12 } },
  slow: { ema: { of: "close", span: 26 } },
  macd: { macd: { fast: "fast", slow: "slow" } },
  ret: { return: { of: "close" } },
};
const ROWS = 5000;

/** Bars, and averages as a strategy computes them. */
function bars(rows = ROWS) {
  const next = noise(21);
  let level = 60_000;
  const close = Float64Array.from({ length: rows }, () => {
    level += (next() % 41) - 20;
    return level / 10;
  });
  const ema = (span: number) => {
    let average = close[0]!;
    return close.map((value) => {
      average = average + (2 / (span + 1)) * (value - average);
      return average;
    });
  };
  const [fast, slow] = [ema(12), ema(26)];
  const macd = fast.map((value, i) => value - slow[i]!);
  const ret = close.map((value, i) => (i === 0 ? Number.NaN : value / close[i - 1]! - 1));
  // What no formula gives.
  fast[7] = -0;
  ret[9] = Number.NEGATIVE_INFINITY;
  const ts = BigInt64Array.from({ length: rows }, (_, i) => BigInt(1000 * i));
  return { ts, close, fast, slow, macd, ret };
}

const ring = { segmentRows: 2048 };

describe("a series with recipes", () => {
  it("gives back every value as the same bits, of one derived column alone too, from a fraction of the room", async () => {
    const store = openSeries();
    const batch = bars();
    const stored: number[] = [];
    for (const [name, recipes] of [["plain", {}] as const, ["derived", derive] as const]) {
      const series = store.open(name, { columns, key: "ts", ring, derive: recipes });
      series.appendColumns(batch);
      await series.seal();
      const stats = await series.stats();
      expect(stats.segments).toBe(3);
      stored.push(stats.storedBytes);
      if (name === "derived") {
        expect(stats.columns["macd"]!.encoding).toMatch(/^macd of fast, slow/);
        expect(stats.columns["fast"]!.encoding).toMatch(/^ema\(12\) of close/);
      }
      await series.close();
      // A reader that has nothing in its caches asks for one column that hangs on three.
      const reader = store.open(name, { readOnly: true });
      for (const asked of ["macd", "ret", "fast"] as const) {
        const rows = await rowsOf(reader, { columns: [asked] });
        expect(rows.map((row) => row[asked])).toEqual([...batch[asked]]);
      }
      const part = await rowsOf(reader, { fromRow: 2040, toRow: 2060, columns: ["ret"] });
      expect(part.map(({ ret }) => ret)).toEqual([...batch.ret.subarray(2040, 2060)]);
      const row = await reader.asOf(4_321_500_000n * 1000n, { columns: ["macd"] });
      expect(row!.values["macd"]).toBe(batch.macd[4321]);
      await reader.close();
    }
    expect(stored[1]!).toBeLessThan(stored[0]! / 4);
    await store.close();
  });

  it("keeps its recipes, takes other ones for what is sealed later, and none when there are none", async () => {
    const disk = simulatedDisk();
    const encodingsAfter = async (options: { derive?: Recipes }) => {
      const store = openSeries(disk);
      const series = store.open("s", {
        ...options,
        ...(disk.stat("/store/series/s") ? {} : { columns, key: "ts", ring, order: "allow" }),
      });
      series.appendColumns(bars(2048));
      await series.seal();
      const { encoding } = (await series.stats()).columns["fast"]!;
      await store.close();
      return encoding;
    };
    expect(await encodingsAfter({ derive })).toMatch(/^ema\(12\) of close/);
    expect(await encodingsAfter({})).toMatch(/^ema\(12\) of close/);
    expect(await encodingsAfter({ derive: { fast: { ema: { of: "close", span: 13 } } } })).toContain(
      "ema(13)",
    );
    expect(disk.list("/store/series/s").filter((name) => name.endsWith(".seg"))).toHaveLength(3);
    const store = openSeries(disk);
    const series = store.open("s", { derive: {} });
    series.appendColumns(bars(2048));
    await series.seal();
    const rows = await rowsOf(series, { fromRow: 3 * 2048 });
    expect(rows.map(({ fast }) => fast)).toEqual([...bars(2048).fast]);
    await store.close();
  });

  it("seals rows that are older than a column the recipes are about", async () => {
    const disk = simulatedDisk();
    const batch = bars(100);
    let store = openSeries(disk);
    store
      .open("s", { columns: { ts: "ts_ms", close: "f32" }, key: "ts", order: "allow" })
      .appendColumns({ ts: batch.ts, close: Float32Array.from(batch.close) });
    await store.close();
    store = openSeries(disk);
    const added = { fast: { type: "f64", nullable: true }, half: { type: "f64", nullable: true } } as const;
    const series = store.open("s", {
      columns: { ts: "ts_ms", close: "f64", ...added },
      derive: { fast: { ema: { span: 12, digits: 1 } }, half: { sma: { of: "fast#source", window: 2 } } },
    });
    await series.settled();
    series.appendColumns({ ts: batch.ts, close: batch.close, fast: batch.fast, half: batch.slow });
    await series.seal();
    const rows = await rowsOf(series);
    expect(rows.slice(100).map(({ fast, half }) => [fast, half])).toEqual(
      [...batch.fast].map((value, i) => [value, batch.slow[i]]),
    );
    expect(rows.slice(0, 100).every(({ fast }) => fast === null)).toBe(true);
    await store.close();
  });

  it.each<[string, Recipes, RegExp]>([
    ["a column it lacks", { other: { ema: { of: "close", span: 3 } } }, /"other"/],
    ["a source it lacks", { fast: { ema: { of: "price", span: 3 } } }, /"fast" needs column "price"/],
    ["a source that is no double", { fast: { ema: { of: "ts", span: 3 } } }, /"fast" needs column "ts"/],
    ["an unknown formula", { fast: { wma: { of: "close" } } as unknown as Recipe }, /"fast".*"wma"/],
    ["no object", [] as unknown as Recipes, /derive/],
  ])("is not opened with recipes of %s", async (_, wrong, message) => {
    const disk = simulatedDisk();
    const store = openSeries(disk);
    const refused = expect.objectContaining({
      code: "ERR_INVALID_ARGUMENT",
      message: expect.stringMatching(message),
    });
    expect(() => store.open("s", { columns, key: "ts", derive: wrong })).toThrowError(refused as Error);
    expect(store.list()).toEqual([]);
    const series = store.open("s", { columns, key: "ts", derive });
    await series.close();
    expect(() => store.open("s", { derive: wrong })).toThrowError(refused as Error);
    // The refusal left no lock behind.
    await store.open("s").close();
    await store.close();
  });

  it("takes recipes up to the limit of their size, and no more", async () => {
    const store = openSeries();
    const names = Array.from({ length: SERIES_COLUMNS_MAX }, (_, i) => `c${i}`.padEnd(NAME_BYTES_MAX, "-"));
    const wide = Object.fromEntries(names.map((name) => [name, "f64" as const]));
    const [of, high, low] = names.slice(-3) as [string, string, string];
    const recipes = Object.fromEntries(
      names.slice(0, -3).map((name): [string, Recipe] => [name, { range: { of, high, low } }]),
    );
    const most = Math.floor(SERIES_RECIPES_BYTES_MAX / (JSON.stringify(recipes).length / (names.length - 3)));
    const first = (count: number) => Object.fromEntries(Object.entries(recipes).slice(0, count));
    expect(JSON.stringify(first(most)).length).toBeLessThanOrEqual(SERIES_RECIPES_BYTES_MAX);
    expect(JSON.stringify(first(most + 1)).length).toBeGreaterThan(SERIES_RECIPES_BYTES_MAX);
    expect(() => store.open("s", { columns: wide, derive: first(most + 1) })).toThrowError(
      expect.objectContaining({ code: "ERR_LIMIT" }) as Error,
    );
    await store.open("s", { columns: wide, derive: first(most) }).close();
    expect(store.open("s").columns).toHaveLength(SERIES_COLUMNS_MAX);
    await store.close();
  });
});
