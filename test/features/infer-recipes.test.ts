import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { inferFileRecipes, inferRecipes, openStore, type Table } from "../../index.ts";
import { noise } from "../codec/seeded.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-recipes-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const ROWS = 1500;

function table(): Table {
  const next = noise(3);
  let level = 40_000;
  const close = Float64Array.from({ length: ROWS }, () => {
    level += (next() % 31) - 15;
    return level / 4;
  });
  let average = close[0]!;
  const ema = close.map((value) => {
    average = (2 * value + 8 * average) / 10;
    return average;
  });
  const mean = close.map((_, row) =>
    row < 9 ? Number.NaN : close.subarray(row - 9, row + 1).reduce((sum, value) => sum + value, 0) / 10,
  );
  const random = Float64Array.from({ length: ROWS }, () => next() / 7e9);
  const columns = { close, ema, mean, random };
  return {
    rows: ROWS,
    columns: Object.entries(columns).map(([name, values]) => ({ name, type: "f64", rows: ROWS, values })),
  };
}

function csvOf({ rows, columns }: Table): string {
  const lines = Array.from({ length: rows }, (_, row) =>
    columns.map(({ values }) => String(values[row])).join(","),
  );
  return `${columns.map(({ name }) => name).join(",")}\n${lines.join("\n")}\n`.replaceAll("NaN", "nan");
}

const expected = { ema: { ema: { of: "close", span: 9 } }, mean: { sma: { of: "close", window: 10 } } };

describe("inferred recipes", () => {
  it("are those that a table's columns follow, with what each saves", async () => {
    const { recipes, derive } = await inferRecipes(table());
    expect(derive).toEqual(expected);
    expect(recipes.map(({ column }) => column).sort()).toEqual(["ema", "mean"]);
    for (const { plainBytes, derivedBytes } of recipes) expect(derivedBytes).toBeLessThan(plainBytes / 2);
  });

  it("are refused for what is no table", async () => {
    await expect(inferRecipes({} as Table)).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
  });

  it("of a file make its import smaller, and every value comes back", async () => {
    const path = join(directory, "f.csv.gz");
    writeFileSync(path, gzipSync(csvOf(table())));
    const { rows, columns, derive } = await inferFileRecipes(path);
    expect({ rows, columns, derive }).toEqual({ rows: ROWS, columns: 4, derive: expected });
    await using store = await openStore(join(directory, "store"), { create: true, workers: 1 });
    await store.importSeries("plain", path);
    await store.importSeries("derived", path, { derive });
    const read = async (name: string) => {
      const series = store.series.open(name, { readOnly: true });
      const [stats, read] = [await series.stats(), await series.range().table()];
      return {
        stats,
        columns: table().columns.map((column) => read.getChild(column.name)!.toArray() as Float64Array),
      };
    };
    const [plain, derived] = [await read("plain"), await read("derived")];
    expect(derived.stats.storedBytes).toBeLessThan(plain.stats.storedBytes * 0.7);
    expect(derived.stats.columns["ema"]!.encoding).toContain("ema(9) of close");
    expect(derived.columns).toEqual(table().columns.map(({ values }) => values));
    const wrong = { ema: { ema: { of: "price", span: 9 } } };
    await expect(store.importSeries("wrong", path, { derive: wrong })).rejects.toMatchObject({
      code: "ERR_INVALID_ARGUMENT",
    });
    expect(store.series.list()).toEqual(["derived", "plain"]);
  });
});
