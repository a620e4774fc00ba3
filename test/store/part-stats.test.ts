import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tableFromArrays } from "apache-arrow";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openStore } from "../../index.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-stats-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

it("says nothing of series, features and state where there are none", async () => {
  await using store = await openStore(directory, { create: true });
  const { series, features, state } = await store.stats();
  expect({ series, features, state }).toEqual({ series: undefined, features: undefined, state: undefined });
});

it("counts rows and bytes of all series, open or not, and what a ring has let go", async () => {
  await using store = await openStore(directory, { create: true });
  const columns = { ts: "ts_ns", price: "f64", book: { type: "f32", listSize: 3 } } as const;
  const row = (i: number) => ({ ts: i, price: i / 4, book: [i, i, i] });
  const closed = store.series.open("closed", {
    columns,
    key: "ts",
    ring: { segmentRows: 10, segments: 2 },
  });
  for (let i = 0; i < 55; i++) closed.append(row(i));
  await closed.settled();
  const sizeOfClosed = closed.size();
  await closed.close();
  const open = store.series.open("open", { columns, key: "ts" });
  for (let i = 0; i < 7; i++) open.append(row(i));
  const { series } = await store.stats();
  expect(sizeOfClosed).toMatchObject({ rows: 25, evictedRows: 30, segments: 2 });
  expect(series).toMatchObject({
    series: 2,
    writing: 1,
    unreadable: 0,
    rows: 32,
    evictedRows: 30,
    segments: 2,
    // Five values a row.
    rawBytes: 32 * 8 * 5,
  });
  const each = [await store.series.open("closed", { readOnly: true }).stats(), await open.stats()];
  expect(series!.storedBytes).toBe(each[0]!.storedBytes + each[1]!.storedBytes);
  expect(series!.hotBytes).toBe(each[0]!.hotBytes + each[1]!.hotBytes);
  expect(series!.hotBytes).toBeGreaterThan(7 * 28);
});

it("counts how often a read found its block, and a load its table, in memory", async () => {
  await using store = await openStore(directory, { create: true });
  const series = store.series.open("s", { columns: { ts: "ts_ns", price: "f64" }, key: "ts" });
  series.appendColumns({ ts: [1n, 2n, 3n], price: [1, 2, 3] });
  await series.seal();
  await store.features.publish("alpha", tableFromArrays({ x: new Float64Array([1, 2, 3]) }));
  await store.features.publish("alpha", tableFromArrays({ x: new Float64Array([1, 2, 3, 4]) }));
  for (let i = 0; i < 3; i++) {
    await series.asOf(2n);
    await store.features.loadColumns("alpha");
  }
  const { series: totals, features } = await store.stats();
  const { hits, misses, usedBytes, limitBytes } = totals!.blockCache;
  expect(misses).toBe(2);
  expect(hits).toBeGreaterThanOrEqual(6);
  expect(usedBytes).toBe(48);
  expect(limitBytes).toBeGreaterThan(usedBytes);
  expect(features).toMatchObject({ tables: 1, versions: 2, rows: 4, rawBytes: 32 });
  expect(features!.storedBytes).toBeGreaterThan(0);
  expect(features!.tableCache).toMatchObject({ hits: 2, misses: 1, usedBytes: 32 });
});

it("counts strategies' maps and what their logs take", async () => {
  await using store = await openStore(directory, { create: true });
  const map = store.state.map<number>("a");
  map.put("x", 1);
  map.put("y", 2);
  await map.flush();
  const { state } = await store.stats();
  expect(state).toMatchObject({ maps: 1, openMaps: 1, entries: 2 });
  expect(state!.storedBytes).toBeGreaterThan(20);
});
