import { describe, expect, it } from "vitest";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatNumber,
  formatRate,
  formatRatio,
  formatTime,
  plural,
} from "../../cli/render/quantities.ts";

describe("a quantity for people", () => {
  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10 * 1024, "10.0 KiB"],
    [1024 * 1024 - 1, "1.00 MiB"],
    [1023.4 * 1024, "1023 KiB"],
    [1023.6 * 1024, "1.00 MiB"],
    [3 * 2 ** 30, "3.00 GiB"],
    [Number.MAX_SAFE_INTEGER, "8.00 PiB"],
    [-2048, "-2.00 KiB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  it.each([
    [0, "0.00 ms"],
    [0.123, "0.12 ms"],
    [41.26, "41.3 ms"],
    [999.4, "999 ms"],
    [999.6, "1.00 s"],
    [12_345, "12.3 s"],
    [59_949, "59.9 s"],
    [59_960, "1 min 00 s"],
    [125_000, "2 min 05 s"],
    [3_599_600, "1 h 00 min"],
    [11_220_000, "3 h 07 min"],
  ])("%d ms are %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it("is a time in UTC, to the second, and no exception where a date ends", () => {
    expect(formatTime(1_763_849_330_999_999n)).toBe("2025-11-22 22:08:50Z");
    expect(formatTime(0n)).toBe("1970-01-01 00:00:00Z");
    expect(formatTime(10n ** 30n)).toBe(`${10n ** 30n} µs`);
  });

  it("is a ratio, a rate, a count, a number", () => {
    expect(formatRatio(300, 100)).toBe("3.00×");
    expect(formatRatio(300, 0)).toBe("–");
    expect(formatRate(2048, 1000)).toBe("2.00 KiB/s");
    expect(formatRate(2048, 0)).toBe("0 B/s");
    expect(formatCount(1_234_567)).toBe("1,234,567");
    expect([plural(1, "file"), plural(2, "file"), plural(0, "entry", "entries")]).toEqual([
      "1 file",
      "2 files",
      "0 entries",
    ]);
    expect([0.1 + 0.2, 1.5e-7, -0.5, Number.NaN, undefined].map(formatNumber)).toEqual([
      "0.3",
      "1.5e-7",
      "-0.5",
      "NaN",
      "–",
    ]);
  });
});
