import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { setStage } from "./stage.ts";

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "varve-cli-recipes-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const recipe = { ema: { of: "close", span: 12 } };
const found = {
  rows: 45_031,
  columns: 12,
  recipes: [{ column: "é\u009b", recipe, plainBytes: 4096, derivedBytes: 1024 }],
  derive: { "é\u009b": recipe },
};

describe("varve features infer-recipes", () => {
  const stage = () => setStage({ answers: { inferFileRecipes: () => found } });

  it("prints each recipe with what it saves, and ends with JSON to paste", async () => {
    const { exitCode, out, err } = await stage().run("features", "infer-recipes", "f.csv");
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    expect(out).toContain("1 recipe in 45,031 rows of 12 columns\n");
    expect(out).toMatch(/é\\x9b +4\.00 KiB +1\.00 KiB +4\.0+× /);
    expect(out).toMatch(/^[^\u009b]*$/);
    expect(JSON.parse(out.slice(out.indexOf("\n{")))).toEqual(found.derive);
  });

  it("needs no store, and prints the library's fields as JSON", async () => {
    const used = stage();
    const { out } = await used.run(
      "--json",
      "features",
      "infer-recipes",
      "f.gz",
      "--format",
      "csv",
      "--on-error",
      "skip",
    );
    expect(JSON.parse(out)).toEqual(found);
    expect(used.calls).toEqual([["inferFileRecipes", "f.gz", { format: "csv", onError: "skip" }]]);
    expect(used.opened).toEqual([]);
  });

  it("says so when there are none", async () => {
    const none = setStage({
      answers: { inferFileRecipes: () => ({ rows: 3, columns: 1, recipes: [], derive: {} }) },
    });
    expect((await none.run("features", "infer-recipes", "f.csv")).out).toBe(
      "0 recipes in 3 rows of 1 column\n",
    );
  });
});

describe("varve series import --derive", () => {
  it("refuses a file that is no JSON before it opens a store", async () => {
    const path = join(scratch, "recipes.json");
    writeFileSync(path, "{ema:");
    const stage = setStage();
    const { exitCode, err } = await stage.run("series", "import", "s", "f.csv", "--derive", path);
    expect(exitCode).toBe(2);
    expect(err).toContain("is no JSON");
    expect(stage.opened).toEqual([]);
  });
});
