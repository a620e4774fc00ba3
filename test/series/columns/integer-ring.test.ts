import { expect, it } from "vitest";
import { IntegerRing } from "../../../src/series/columns/integer-ring.ts";

it("keeps the newest integers, and knows what it wrote over", () => {
  const ring = new IntegerRing();
  const page = (value: bigint) => new BigInt64Array(65_000).fill(value);
  const places = Array.from({ length: 100 }, (_, i) => {
    const place = ring.put(page(BigInt(i)));
    expect(ring.at(place)).toEqual(page(BigInt(i)));
    return place;
  });
  const found = places.map((place) => ring.at(place));
  // Thirty-one whole pages, and one more but for what is left over at the ring's end.
  expect(found.filter((values) => values !== undefined).length).toBeGreaterThanOrEqual(31);
  found.forEach((values, i) => {
    if (values !== undefined) expect([values[0], values[64_999]]).toEqual([BigInt(i), BigInt(i)]);
  });
  expect(found[0]).toBeUndefined();
});
