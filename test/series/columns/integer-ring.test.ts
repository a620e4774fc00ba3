import { expect, it } from "vitest";
import { IntegerRing } from "../../../src/series/columns/integer-ring.ts";

it("keeps the newest integers, and knows what it wrote over", () => {
  const ring = new IntegerRing();
  const count = 65_000;
  const places = Array.from({ length: 100 }, (_, i) => ring.put(new BigInt64Array(count).fill(BigInt(i))));
  const found = places.map((place) => ring.at(place));
  // A page that does not fit at the ring's end begins again at its start.
  expect(found.filter((values) => values !== undefined).length).toBeGreaterThanOrEqual(31);
  expect(found[0]).toBeUndefined();
  found.forEach((values, i) => {
    if (values === undefined) return;
    expect(values.length).toBe(count);
    expect(values.every((value) => value === BigInt(i))).toBe(true);
  });
});
