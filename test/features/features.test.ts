import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fromArrow } from "../../formats/arrow/convert.ts";
import type { Table } from "../../formats/tables/table.ts";
import { openStore, type Store } from "../../index.ts";
import { contentsOf } from "../tables/contents.ts";
import { checkAsync } from "../tables/property.ts";
import { tables } from "../tables/random-table.ts";

const directory = mkdtempSync(join(tmpdir(), "varve-features-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let stores = 0;

async function withStore<T>(
  work: (store: Store, path: string) => Promise<T>,
  path = join(directory, `s${stores++}`),
): Promise<T> {
  await using store = await openStore(path, { create: true, workers: 0 });
  return await work(store, path);
}

/** A column that compresses, one that does not, and text; large enough for chunks of both sizes and a tail. */
function table(rows: number, scale = 1): Table {
  const ts = BigInt64Array.from(
    { length: rows },
    (_, at) => 1_640_991_660_000_000n + BigInt(at) * 60_000_000n,
  );
  const noise = Float64Array.from({ length: rows }, (_, at) => Math.sin(at * 12.9898) * 43758.5453 * scale);
  const words = Buffer.from("ab".repeat(rows));
  return {
    rows,
    columns: [
      { name: "ts", type: "i64", unit: "us", rows, values: ts },
      { name: "noise", type: "f64", rows, values: noise },
      {
        name: "word",
        type: "utf8",
        rows,
        values: new Uint8Array(words),
        offsets: Int32Array.from({ length: rows + 1 }, (_, at) => at * 2),
      },
    ],
  };
}

const ROWS = 65_536 + 2 * 4096 + 700;

describe("a published feature table", () => {
  it("loads with every bit, of every type, as Arrow over one buffer", () =>
    withStore(async (store) => {
      await checkAsync(
        tables({ maxRows: 300 }),
        async (given) => {
          const { version } = await store.features.publish("random", given);
          const loaded = await store.features.load("random", { version });
          expect(contentsOf(fromArrow(loaded))).toEqual(contentsOf(given));
        },
        25,
      );
    }));

  it("loads in chunks of both sizes and a tail, wholly or by columns", () =>
    withStore(async (store) => {
      const given = table(ROWS);
      await store.features.publish("alpha", given);
      const whole = await store.features.loadColumns("alpha");
      expect(contentsOf(whole)).toEqual(contentsOf(given));
      expect(new Set(whole.columns.map((column) => column.values.buffer)).size).toBe(1);
      const some = await store.features.loadColumns("alpha", { columns: ["word"] });
      expect(contentsOf(some)).toEqual(contentsOf({ rows: ROWS, columns: [given.columns[2]!] }));
      expect(await store.features.loadColumns("alpha")).toBe(whole);
      await expect(store.features.load("alpha", { columns: ["wrod"] })).rejects.toMatchObject({
        code: "ERR_NOT_FOUND",
      });
    }));

  it("costs nothing where a column has not changed, and about a row where one was added", () =>
    withStore(async (store) => {
      await store.features.publish("alpha", table(ROWS));
      const same = await store.features.publish("alpha", table(ROWS));
      expect(same.newChunks).toBe(0);
      expect(same.storedBytes).toBeLessThan(1024);
      const grown = await store.features.publish("alpha", table(ROWS + 1));
      expect(grown.storedBytes).toBeLessThan(2048);
      const changed = table(ROWS + 1);
      changed.columns[1] = table(ROWS + 1, 2).columns[1]!;
      const oneColumn = await store.features.publish("alpha", changed);
      expect(oneColumn.storedBytes).toBeLessThan(ROWS * 8 * 1.1);
      expect(contentsOf(await store.features.loadColumns("alpha", { version: 3 }))).toEqual(
        contentsOf(table(ROWS + 1)),
      );
    }));

  it("is found by version, by instant, and by fingerprint, or not at all", () =>
    withStore(async (store) => {
      const first = await store.features.publish("alpha", table(10), { asOf: 1000n, sources: ["bars"] });
      await store.features.publish("alpha", table(20), { asOf: 2000n });
      await store.features.publish("alpha", table(15), { asOf: 1500n, schemaVersion: 2 });
      expect((await store.features.load("alpha", { asOf: 1999n })).numRows).toBe(15);
      expect((await store.features.load("alpha", { asOf: 2000n })).numRows).toBe(20);
      expect((await store.features.load("alpha")).numRows).toBe(15);
      await expect(store.features.load("alpha", { asOf: 999n })).rejects.toMatchObject({
        code: "ERR_NOT_FOUND",
      });
      await expect(store.features.load("alhpa")).rejects.toMatchObject({
        code: "ERR_NOT_FOUND",
        context: { nearest: ["alpha"] },
      });
      await expect(store.features.load("alpha", { version: 9 })).rejects.toMatchObject({
        code: "ERR_NOT_FOUND",
      });
      const { fingerprint } = first;
      expect(
        (await store.features.load("alpha", { version: 2, expectFingerprint: fingerprint })).numRows,
      ).toBe(20);
      await expect(store.features.load("alpha", { expectFingerprint: fingerprint })).rejects.toMatchObject({
        code: "ERR_CONFLICT",
      });
      expect(store.features.list()).toMatchObject([
        { name: "alpha", version: 3, rows: 15, schemaVersion: 2 },
      ]);
      expect(store.features.versions("alpha")[0]).toMatchObject({ sources: ["bars"], asOfUs: 1000n });
      expect(store.checkpoints.refs()).toEqual([]);
    }));

  it("survives gc, and damage to it is named and put on record", async () => {
    const path = join(directory, "damaged");
    await withStore(async (store) => {
      await store.features.publish("alpha", table(70_000));
      await store.features.publish("beta", table(10));
      await store.gc();
      expect((await store.check({ readData: true })).ok).toBe(true);
      expect((await store.features.load("alpha")).numRows).toBe(70_000);
    }, path);
    const packs = join(path, "chunks/packs");
    const pack = join(packs, readdirSync(packs).find((name) => name.endsWith(".pack"))!);
    const bytes = readFileSync(pack);
    // Two bits of one frame: found, and past mending.
    bytes[200_000]! ^= 1;
    bytes[200_100]! ^= 1;
    writeFileSync(pack, bytes);
    const { checkStore, repairStore } = await import("../../index.ts");
    const found = await checkStore(path, { readData: true });
    expect(found.damagedVersions).toEqual(["features:alpha@1"]);
    await withStore(async (store) => {
      await expect(store.features.load("alpha")).rejects.toMatchObject({ code: "ERR_STORE_CORRUPT" });
      expect((await store.features.load("beta")).numRows).toBe(10);
    }, path);
    const repaired = await repairStore(path);
    expect(repaired.damagedVersions).toEqual(["features:alpha@1"]);
    expect(repaired.check.ok).toBe(true);
    await withStore(async (store) => {
      expect(store.features.versions("alpha")[0]!.damaged).toBe(true);
      await store.gc();
    }, path);
  });

  it("is there whole or not at all when its publisher is killed at any moment", async () => {
    const path = join(directory, "killed");
    await withStore((store) => store.features.publish("alpha", table(100)), path);
    const child = join(import.meta.dirname, "publish.child.mjs");
    let versions = 1;
    for (const afterMs of [150, 250, 350, 450, 600]) {
      const publisher = spawn(process.execPath, [child, path], { stdio: ["ignore", "pipe", "inherit"] });
      let acknowledged = versions;
      publisher.stdout.on("data", (data: Buffer) => {
        const lines = data.toString().trim().split("\n");
        acknowledged = Math.max(acknowledged, Number(lines.at(-1)));
      });
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      publisher.kill("SIGKILL");
      await new Promise((resolve) => publisher.on("close", resolve));
      versions = await withStore(async (store) => {
        const all = store.features.versions("alpha");
        expect(all.length).toBeGreaterThanOrEqual(acknowledged);
        for (const { version, rows } of all) {
          const loaded = await store.features.loadColumns("alpha", { version });
          expect(contentsOf(loaded)).toEqual(contentsOf(table(rows)));
        }
        return all.length;
      }, path);
    }
    await withStore(async (store) => expect((await store.check({ readData: true })).ok).toBe(true), path);
  });
});

describe("a training set", () => {
  it("has what was known at each row's instant, in which version it was known then", () =>
    withStore(async (store) => {
      const us = (values: bigint[]) => ({
        name: "ts",
        type: "i64" as const,
        unit: "us" as const,
        rows: values.length,
        values: BigInt64Array.from(values),
      });
      const f64 = (name: string, values: number[]) => ({
        name,
        type: "f64" as const,
        rows: values.length,
        values: Float64Array.from(values),
      });
      await store.features.publish(
        "f",
        { rows: 2, columns: [us([100n, 200n]), f64("x", [1, 2])] },
        { asOf: 250n },
      );
      // The same rows, corrected later.
      await store.features.publish(
        "f",
        { rows: 3, columns: [us([100n, 200n, 300n]), f64("x", [10, 20, 30])] },
        { asOf: 350n },
      );
      const spine = { rows: 5, columns: [us([240n, 250n, 349n, 350n, 205n])] };
      const series = { table: { rows: 1, columns: [us([245n]), f64("price", [7])] }, tolerance: 10n };
      const set = fromArrow(
        await store.features.trainingSet({ spine, on: "ts", features: [{ name: "f" }], series: [series] }),
      );
      const column = (name: string) => {
        const found = set.columns.find((each) => each.name === name)!;
        return Array.from({ length: 5 }, (_, row) =>
          (found.validity?.[0] ?? 255) & (1 << row) ? found.values[row] : null,
        );
      };
      expect(column("x")).toEqual([null, 2, 2, 30, null]);
      expect(column("price")).toEqual([null, 7, null, null, null]);
      const pinned = fromArrow(
        await store.features.trainingSet({ spine, on: "ts", features: [{ name: "f", version: 1 }] }),
      );
      expect([...pinned.columns[1]!.values]).toEqual([2, 2, 2, 2, 2]);
    }));
});
