import { describe, expect, it } from "vitest";
import { openTestStore } from "./store.ts";

describe("values that outlive their log records", () => {
  it("go without being moved where all that lay beside them was replaced too", async () => {
    const { critical } = openTestStore({ snapshots: { everyRecords: 1e9, everyBytes: 1e12 } });
    const map = critical.map<{ n: number; fill: string }>("m");
    const fill = "v".repeat(2000);
    const sizes: number[] = [];
    for (let round = 0; round < 16; round++) {
      const writes: Promise<unknown>[] = [];
      for (let i = 0; i < 400; i++) {
        const n = round * 1000 + i;
        writes.push(critical.commitAsync((tx) => tx.put(map, `hot-${i}`, { n, fill })));
      }
      await Promise.all(writes);
      await critical.snapshot();
      sizes.push(critical.stats().valueBytes);
    }
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(400 * 2000);
    expect(Math.max(...sizes)).toBeLessThan(400 * 2020 + (2 << 20));
    expect([...map.values()].map(({ n }) => n).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 400 }, (_, i) => 15_000 + i),
    );
    await critical.close();
  });

  it("are moved together when most of what lay beside them was replaced, and all still read as they were", async () => {
    const { critical } = openTestStore({ snapshots: { everyRecords: 1e9, everyBytes: 1e12 } });
    const map = critical.map<{ n: number; fill: string }>("m");
    const fill = "v".repeat(2000);
    const kept = 300;
    const expected = new Map<string, number>();
    const write = (key: string, n: number) => {
      expected.set(key, n);
      return critical.commitAsync((tx) => tx.put(map, key, { n, fill }));
    };
    for (let i = 0; i < kept; i++) await write(`kept-${i}`, i);
    const sizes: number[] = [];
    // Each round is sealed before the next: its values are kept, and most are replaced by the next round's. Some of
    // every page stay.
    let staying = 0;
    for (let round = 0; round < 16; round++) {
      const writes: Promise<unknown>[] = [];
      for (let i = 0; i < 700; i++) {
        writes.push(write(`hot-${i % 400}`, round * 1000 + i));
        if (i % 20 === 0) writes.push(write(`stays-${staying++}`, i));
      }
      if (round === 8) for (let i = 0; i < kept; i += 3) writes.push(write(`kept-${i}`, 1_000_000 + i));
      await Promise.all(writes);
      await critical.snapshot();
      sizes.push(critical.stats().valueBytes);
    }
    const live = (kept + 400 + staying) * 2020;
    expect(Math.max(...sizes)).toBeGreaterThan(live + (1 << 20));
    expect(Math.max(...sizes)).toBeLessThan(live * 1.5 + (8 << 20));
    expect(sizes.at(-1)).toBeLessThan(16 * 400 * 2020 + live);
    const found = new Map([...map.entries()].map(([key, { n }]) => [key, n]));
    expect(found).toEqual(new Map([...expected].sort(([a], [b]) => (a < b ? -1 : 1))));
    for (const { fill: read } of map.values()) expect(read).toBe(fill);
    await critical.close();
  });

  it("are still there for a snapshot and for the history while they are moved", async () => {
    const { critical } = openTestStore({ snapshots: { everyRecords: 1e9, everyBytes: 1e12 } });
    const map = critical.map<string>("m");
    let n = 0;
    const value = () => `${++n}-${"w".repeat(3000)}`;
    for (let round = 0; round < 12; round++) {
      const writes: Promise<unknown>[] = [];
      for (let i = 0; i < 300; i++) writes.push(critical.commitAsync((tx) => tx.put(map, `k${i}`, value())));
      await Promise.all(writes);
      const lsn = critical.lsn;
      const before = map.get("k7");
      const snapshot = critical.snapshot();
      await critical.commitAsync((tx) => tx.put(map, "k7", value()));
      await snapshot;
      expect(map.at(lsn).get("k7")).toBe(before);
    }
    expect([...map.history("k7")].map((change) => change.after).at(-1)).toBe(map.get("k7"));
    await critical.close();
  });
});
