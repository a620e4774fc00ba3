import { describe, expect, it } from "vitest";
import { crashStates } from "../../src/disk/crash-states.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { Random } from "../../src/disk/random.ts";
import type { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import type { SeriesOptions } from "../../src/series/series-options.ts";
import { openSeries, rowsOf, simulatedDisk } from "./open.ts";

const columns = { ts: "ts_us", price: "f64", note: { type: "utf8", nullable: true } } as const;
const rowAt = (i: number) => ({ ts: BigInt(i) * 10n, price: i / 8, note: i % 3 === 0 ? null : `n${i}` });

interface Mark {
  /** Rows whose append had returned. */
  appended: number;
  /** Rows known durable. */
  durable: number;
}

/** Appends rows singly and in batches, flushes now and then, over several seals. */
async function scenario(disk: SimulatedDisk, random: Random, options: SeriesOptions): Promise<void> {
  const store = openSeries(disk);
  const series = store.open("s", { columns, key: "ts", flushIntervalMs: 1_000_000, ...options });
  const mark: Mark = { appended: 0, durable: 0 };
  for (let step = 0; step < 14; step++) {
    if (random.below(3) === 0) {
      const rows = Array.from({ length: 1 + random.below(9) }, (_, i) => rowAt(mark.appended + i));
      series.appendColumns({
        ts: rows.map((row) => row.ts),
        price: rows.map((row) => row.price),
        note: rows.map((row) => row.note),
      });
      mark.appended += rows.length;
    } else series.append(rowAt(mark.appended++));
    disk.mark({ ...mark });
    if (random.below(4) === 0) {
      const before = mark.appended;
      await series.flush();
      mark.durable = before;
      disk.mark({ ...mark });
    }
    if (random.below(4) === 0) await series.settled();
  }
  await series.close();
  mark.durable = mark.appended;
  disk.mark({ ...mark });
}

/** Opens the series for writing and checks that it holds rows from the oldest kept one on, each as it was appended. */
async function recovered(disk: Disk, options: SeriesOptions): Promise<{ firstRow: number; endRow: number }> {
  const store = openSeries(disk);
  if (!store.list().includes("s")) return { firstRow: 0, endRow: 0 };
  const series = store.open("s", options);
  const positions = series.positions();
  const rows = await rowsOf(series);
  const expected = Array.from({ length: positions.endRow - positions.firstRow }, (_, i) =>
    rowAt(positions.firstRow + i),
  );
  expect(rows).toEqual(expected);
  // And it can be continued: the next number follows.
  expect(series.append(rowAt(positions.endRow))).toBe(positions.endRow);
  await series.close();
  return positions;
}

describe("a series after a power cut", () => {
  for (const ring of [{ segmentRows: 16 }, { segmentRows: 8, segments: 1 }]) {
    it(`holds every durable row, none twice, none out of order (${JSON.stringify(ring)})`, async () => {
      const seed = Math.floor(Math.random() * 2 ** 31);
      console.log(`series crash seed ${seed}`);
      const random = new Random(seed);
      let states = 0;
      for (let round = 0; round < 4; round++) {
        const disk = simulatedDisk({ trace: true, seed: random.next() });
        await scenario(disk, random, { ring });
        for (const state of crashStates(disk, random, { samples: 2 })) {
          const mark = (state.marks.at(-1) as Mark | undefined) ?? { appended: 0, durable: 0 };
          const { endRow } = await recovered(state.disk, { ring });
          const note = `seed ${seed} round ${round} events ${state.events}`;
          expect(endRow, note).toBeGreaterThanOrEqual(mark.durable);
          expect(endRow, note).toBeLessThanOrEqual(mark.appended + 9);
          states++;
        }
      }
      expect(states).toBeGreaterThan(200);
    });
  }

  it("gives the same rows when recovery itself is cut off", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`series recovery crash seed ${seed}`);
    const random = new Random(seed);
    const disk = simulatedDisk({ trace: true, seed: random.next() });
    await scenario(disk, random, { ring: { segmentRows: 16 } });
    for (const state of crashStates(disk, random, { stride: 6, disk: { trace: true } })) {
      const mark = (state.marks.at(-1) as Mark | undefined) ?? { appended: 0, durable: 0 };
      await recovered(state.disk, {});
      for (const second of crashStates(state.disk, random, { stride: 3 })) {
        const { endRow } = await recovered(second.disk, {});
        expect(endRow, `seed ${seed} events ${state.events}, ${second.events}`).toBeGreaterThanOrEqual(
          mark.durable,
        );
      }
    }
  });
});

describe("a series whose process was killed", () => {
  it("has every row whose append had returned, at whatever moment", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = new Random(seed);
    const disk = simulatedDisk({ seed: random.next() });
    const series = openSeries(disk).open("s", { columns, key: "ts", ring: { segmentRows: 8 } });
    for (let i = 0; i < 60; i++) {
      series.append(rowAt(i));
      if (i % 7 === 0) await new Promise(setImmediate);
      const { endRow } = await recovered(disk.killed(), {});
      expect(endRow, `seed ${seed}`).toBe(i + 1);
    }
  });

  it("keeps rows that waited to be sorted, over segments", async () => {
    const disk = simulatedDisk();
    const order = { sortWithinMs: 0.05 };
    const open = (where: Disk) =>
      openSeries(where).open("s", { columns, key: "ts", ring: { segmentRows: 8 }, order });
    const series = open(disk);
    const appended: number[] = [];
    for (let i = 0; i < 60; i += 2) {
      for (const n of [i + 1, i]) {
        series.append(rowAt(n));
        appended.push(n);
        const again = open(disk.killed());
        await again.seal();
        const rows = await rowsOf(again);
        expect(rows).toEqual([...appended].sort((a, b) => a - b).map(rowAt));
        await again.close();
      }
      if (i % 6 === 0) await series.settled();
    }
    await series.seal();
    expect(await rowsOf(series)).toEqual(Array.from({ length: 60 }, (_, i) => rowAt(i)));
  });
});
