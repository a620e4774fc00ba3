import { expect, it } from "vitest";
import { loadColumnKernels } from "../../../src/kernels/column-kernels.ts";
import { IntegerRing } from "../../../src/series/columns/integer-ring.ts";

it("keeps the newest integers, and knows what may be written over", async () => {
  const kernels = await loadColumnKernels();
  const { memory, at } = kernels;
  const ring = new IntegerRing(kernels);
  const count = 65_003;
  const places = Array.from({ length: 100 }, (_, i) => {
    const place = ring.reserve(count);
    new BigInt64Array(memory.buffer, place.address, count).fill(BigInt(i));
    expect(place.address).toBeGreaterThanOrEqual(at.kept);
    expect(place.address + count * 8).toBeLessThanOrEqual(at.end);
    return place;
  });
  const held = places.map((place) => ring.holds(place));
  // Another page fits beside all that is held, wherever the ring ends.
  new BigInt64Array(memory.buffer, ring.reserve(count).address, count).fill(-1n);
  expect(held.filter((holds) => holds).length).toBeGreaterThanOrEqual(29);
  expect(held[0]).toBe(false);
  places.forEach(({ address }, i) => {
    if (!held[i]) return;
    const values = new BigInt64Array(memory.buffer, address, count);
    expect(values.every((value) => value === BigInt(i))).toBe(true);
  });
});
