import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Histogram, LatencyHistogram } from "../src/histogram.ts";

const values = fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 1, maxLength: 300 });

describe("a histogram", () => {
  it("has percentiles that are no less than the truth and at most 1/16 more", () => {
    fc.assert(
      fc.property(values, (recorded) => {
        const histogram = new Histogram();
        for (const value of recorded) histogram.record(value);
        const sorted = recorded.slice().sort((a, b) => a - b);
        const found = histogram.summary();
        const exact = (share: number) => sorted[Math.ceil(sorted.length * share) - 1]!;
        for (const [percentile, share] of [
          [found.p50, 0.5],
          [found.p99, 0.99],
          [found.p999, 0.999],
        ] as const) {
          expect(percentile).toBeGreaterThanOrEqual(exact(share));
          expect(percentile).toBeLessThanOrEqual(exact(share) * (1 + 1 / 16));
        }
        expect(found).toMatchObject({ count: sorted.length, min: sorted[0], max: sorted.at(-1) });
        expect(found.mean).toBeCloseTo(sorted.reduce((sum, value) => sum + value, 0) / sorted.length, 3);
      }),
    );
  });

  it("of nothing is all zeros", () => {
    expect(new Histogram().summary()).toEqual({
      ...{ count: 0, min: 0, mean: 0, max: 0 },
      ...{ p50: 0, p90: 0, p99: 0, p999: 0 },
    });
  });

  it("takes what is out of its range for its nearest end", () => {
    const histogram = new Histogram();
    histogram.record(-3);
    histogram.record(2 ** 40);
    expect(histogram.summary()).toMatchObject({ count: 2, min: 0, max: 0xffff_ffff });
  });

  it("of latencies tells fractions of a microsecond apart, and counts whole numbers", () => {
    const latencies = new LatencyHistogram();
    for (const us of [0.25, 0.25, 150]) latencies.record(us);
    expect(latencies.summary()).toMatchObject({ count: 3, p50Us: 0.25, maxUs: 150 });
    const sizes = new LatencyHistogram();
    for (const size of [1, 1, 64]) sizes.record(size);
    expect(sizes.counts()).toEqual({ count: 3, mean: 22, p50: 1, p99: 64, max: 64 });
  });
});
