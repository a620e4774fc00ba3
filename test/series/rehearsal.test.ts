import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { SERIES_REHEARSAL_SEGMENTS } from "../../src/limits.ts";
import type { SeriesDefinition } from "../../src/series/series-file.ts";
import type { SeriesReads } from "../../src/series/series-reads.ts";
import { SeriesStore } from "../../src/series/series-store.ts";
import { createInlinePool } from "../../src/workers/pool.ts";
import { openSeries, simulatedDisk, storeId } from "./open.ts";

const columns = { ts: "ts_ns", x: "f64" } as const;
const nowUs = () => 1_700_000_000_000_000n;

async function sealed(segments: number) {
  const disk = simulatedDisk();
  const store = openSeries(disk);
  const series = store.open("s", { columns, key: "ts", ring: { segmentRows: 2 } });
  for (let n = 0; n < segments * 2; n++) series.append({ ts: BigInt(n), x: n });
  await series.seal();
  await store.close();
  return disk;
}

/** A store that may rehearse; a module is loaded once a test file, so its first series with sealed rows is the one. */
function rehearsing(disk: ReturnType<typeof simulatedDisk>): SeriesStore {
  const pool = createInlinePool();
  return new SeriesStore({
    disk,
    directory: "/store/series",
    storeId,
    pool,
    readOnly: true,
    nowUs,
    rehearse: true,
  });
}

describe("what is read ahead of the first read of a process", () => {
  it("is of the newest sealed segments, once a process, and leaves reads as they are", async () => {
    const segments = SERIES_REHEARSAL_SEGMENTS + 3;
    const disk = await sealed(segments);
    const store = rehearsing(disk);
    const series = store.open("s");
    const blocks = async () => (await store.stats()).blockCache;
    await expect.poll(async () => (await blocks()).misses).toBe(SERIES_REHEARSAL_SEGMENTS * 2);
    await pause(20);
    expect(await blocks()).toMatchObject({ misses: SERIES_REHEARSAL_SEGMENTS * 2 });
    for (const row of [0, 5, segments * 2 - 1]) {
      expect((await series.asOf(BigInt(row)))?.values).toEqual({ ts: BigInt(row), x: row });
    }
    await store.close();
    const another = rehearsing(disk);
    another.open("s");
    await pause(20);
    expect((await another.stats()).blockCache.misses).toBe(0);
    await another.close();
  });

  it("ends when the store is closed, and asks for no column that is derived", async () => {
    vi.resetModules();
    const { rehearse } = await import("../../src/series/rehearsal.ts");
    const asked: unknown[] = [];
    const stop = new AbortController();
    const reads = {
      load: async () => {},
      sealedTimesNs: () => [9n, 8n, 7n, 6n],
      asOf: async (tsNs: bigint, { columns }: { columns: string[] }) => {
        asked.push([tsNs, ...columns]);
        if (asked.length === 2) stop.abort();
      },
    } as unknown as SeriesReads;
    const names = ["ts", "a", "b", "c", "d", "e", "f"];
    const definition = {
      schema: { columns: names.map((name) => ({ name })), key: "ts" },
      derive: { b: {} },
    } as unknown as SeriesDefinition;
    await rehearse(reads, definition, stop.signal);
    expect(asked).toEqual([
      [9n, "a", "c", "d", "e"],
      [8n, "a", "c", "d", "e"],
    ]);
  });

  it("does not keep a store open while decoders are loaded", async () => {
    vi.resetModules();
    const { rehearse } = await import("../../src/series/rehearsal.ts");
    const stop = new AbortController();
    const reads = {
      load: () => new Promise(() => {}),
      sealedTimesNs: () => [1n],
      asOf: () => Promise.reject(new Error("nothing is read any more")),
    } as unknown as SeriesReads;
    const definition = { schema: { columns: [{ name: "ts" }], key: "ts" } } as unknown as SeriesDefinition;
    const rehearsal = rehearse(reads, definition, stop.signal);
    stop.abort();
    await rehearsal;
  });
});
