import { describe, expect, it } from "vitest";
import {
  given,
  parseBest,
  parseChoice,
  parseFinite,
  parseMetadata,
  parseMetrics,
  parseWhole,
} from "../../cli/arguments.ts";
import { UsageError } from "../../cli/exit-codes.ts";

describe("a whole number", () => {
  it("is digits alone, from its least value to 2^53 - 1", () => {
    expect(parseWhole("--step", "0")).toBe(0);
    expect(parseWhole("--step", "9007199254740991")).toBe(Number.MAX_SAFE_INTEGER);
    for (const text of ["", "-1", "+1", "1.0", "1e3", "0x10", " 1", "1 ", "9007199254740992", "NaN", "١"]) {
      expect(() => parseWhole("--step", text), text).toThrow(UsageError);
    }
    expect(() => parseWhole("--parent", "0", 1)).toThrow(
      /--parent takes a whole number of at least 1, not "0"/,
    );
  });
});

describe("a finite number", () => {
  it("is decimal", () => {
    expect(
      ["0.25", "-3", "1e-4", ".5", "5.", "+2", "1E3"].map((text) => parseFinite("--metric", text)),
    ).toEqual([0.25, -3, 1e-4, 0.5, 5, 2, 1000]);
    for (const text of ["", "nan", "inf", "Infinity", "1e999", "0x1", "1_000", "1,5", " 1", "."]) {
      expect(() => parseFinite("--metric", text), text).toThrow(UsageError);
    }
  });
});

describe("pairs", () => {
  it("split at the first = and keep any key as an own property", () => {
    expect(parseMetadata(["a=b=c", "empty=", "__proto__=x"])).toEqual(
      Object.fromEntries([
        ["a", "b=c"],
        ["empty", ""],
        ["__proto__", "x"],
      ]),
    );
    expect(Object.hasOwn(parseMetrics(["__proto__=1"]), "__proto__")).toBe(true);
    expect(parseMetrics(["loss=0.5", "acc=1"])).toEqual({ loss: 0.5, acc: 1 });
  });

  it("are refused without a key, without =, twice, or with a value that is no number", () => {
    expect(() => parseMetadata(["=x"])).toThrow(UsageError);
    expect(() => parseMetadata(["x"])).toThrow(/--meta takes KEY=VALUE, not "x"/);
    expect(() => parseMetadata(["x=1", "x=2"])).toThrow(/has the key "x" twice/);
    expect(() => parseMetrics(["loss=low"])).toThrow(/--metric loss takes a finite number, not "low"/);
  });
});

describe("the best metric", () => {
  it("is the least unless told otherwise", () => {
    expect(parseBest("--keep-best", "loss")).toEqual({ metric: "loss", mode: "min" });
    expect(parseBest("--keep-best", "loss:min")).toEqual({ metric: "loss", mode: "min" });
    expect(parseBest("--keep-best", "val:acc:max")).toEqual({ metric: "val:acc", mode: "max" });
    for (const text of ["", ":max", "acc:", "acc:mxa", "acc:MAX"]) {
      expect(() => parseBest("--keep-best", text), text).toThrow(UsageError);
    }
  });
});

describe("a choice", () => {
  it("is one of its words", () => {
    expect(parseChoice("--profile", "fast", ["fast", "compact"])).toBe("fast");
    expect(() => parseChoice("--profile", "small", ["fast", "compact"])).toThrow(
      /--profile takes fast or compact, not "small"/,
    );
  });
});

describe("given options", () => {
  it("have no fields for flags that are absent", () => {
    expect(Object.keys(given({ a: undefined, b: 0, c: false }))).toEqual(["b", "c"]);
  });
});
