import { describe, expect, it } from "vitest";
import { crashStates } from "../../src/disk/crash-states.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { Random } from "../../src/disk/random.ts";
import { checksumOf, checksumWithin } from "../../src/series/checksum.ts";
import type { Series } from "../../src/series/series.ts";
import { openSeries, rowsOf, simulatedDisk } from "./open.ts";

// Hot files are mapped once they have grown to 64 KiB, so rows are wide here. The disk is simulated, and so is the map:
// what is put into it is in the page cache, and reaches the device sector by sector.

const columns = { ts: "ts_us", data: "binary" } as const;
const rowAt = (i: number) => ({
  ts: BigInt(i),
  data: Uint8Array.from({ length: 5000 + (i % 7) * 900 }, (_, k) => (i * 31 + k) & 255),
});
const ring = { segmentRows: 40 };
const known = Array.from({ length: 110 }, (_, i) => rowAt(i));

/** Checks that a series holds the first so many rows and no others. */
async function expectRows(series: Series, count: number, note = ""): Promise<void> {
  const rows = await rowsOf(series);
  const differs = rows.findIndex(({ ts, data }, i) => {
    return ts !== known[i]?.ts || Buffer.compare(data as Uint8Array, known[i]!.data) !== 0;
  });
  expect({ rows: rows.length, differs }, note).toEqual({ rows: count, differs: -1 });
}

/** How often rows were put into memory rather than written. */
function countPuts(disk: Disk): () => number {
  const { open } = disk;
  let puts = 0;
  disk.open = (path, options) => {
    const file = open.call(disk, path, options);
    const { map } = file;
    if (map === undefined) return file;
    file.map = (position, end) => {
      const found = map.call(file, position, end);
      if (found === undefined) return undefined;
      const { put } = found;
      found.put = (source, sizeBytes, at) => {
        puts++;
        return put.call(found, source, sizeBytes, at);
      };
      return found;
    };
    return file;
  };
  return () => puts;
}

interface Mark {
  /** Rows whose append had returned. */
  appended: number;
  /** Rows known durable. */
  durable: number;
}

function appendUpTo(series: Series, count: number): void {
  for (let i = series.positions().endRow; i < count; i++) series.append(known[i]!);
}

describe("a series whose hot file is mapped", () => {
  it("shows rows to readers, and to whoever opens it after it was killed, at once", async () => {
    const disk = simulatedDisk();
    const puts = countPuts(disk);
    const series = openSeries(disk).open("s", { columns, key: "ts", ring });
    const reader = openSeries(disk).open("s", { readOnly: true });
    for (let count = 1; count <= 90; count += 4) {
      appendUpTo(series, count);
      if (count % 20 === 1) await series.flush();
      expect(openSeries(disk.killed()).open("s").positions().endRow).toBe(count);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    await expectRows(reader, 89);
    expect(puts()).toBeGreaterThan(40);
    await series.seal();
    await expectRows(series, 89);
  });

  it("is written until maps can be had, so that no append waits for a library to be loaded", async () => {
    const disk = simulatedDisk();
    const puts = countPuts(disk);
    const { open } = disk;
    let ready = false;
    let asked = 0;
    disk.open = (path, options) =>
      Object.assign(open.call(disk, path, options), {
        readyToMap: () => {
          asked++;
          return ready;
        },
      });
    const series = openSeries(disk).open("s", { columns, key: "ts", ring });
    appendUpTo(series, 60);
    expect(asked).toBeGreaterThan(0);
    expect(puts()).toBe(0);
    ready = true;
    appendUpTo(series, 100);
    expect(puts()).toBeGreaterThan(0);
    expect(openSeries(disk.killed()).open("s").positions().endRow).toBe(100);
    await expectRows(series, 100);
    await series.close();
  });

  it("holds every durable row, and a beginning of the others, after a power cut", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    console.log(`mapped series crash seed ${seed}`);
    const random = new Random(seed);
    const disk = simulatedDisk({ trace: true, seed: random.next() });
    const puts = countPuts(disk);
    const series = openSeries(disk).open("s", { columns, key: "ts", ring, flushIntervalMs: 1_000_000 });
    const mark: Mark = { appended: 0, durable: 0 };
    while (mark.appended < 60) {
      appendUpTo(series, ++mark.appended);
      disk.mark({ ...mark });
      if (random.below(5) !== 0) continue;
      const before = mark.appended;
      await series.flush();
      mark.durable = before;
      disk.mark({ ...mark });
    }
    await series.settled();
    await series.close();
    expect(puts()).toBeGreaterThan(25);
    let states = 0;
    for (const state of crashStates(disk, random, { stride: 2 })) {
      const mark = (state.marks.at(-1) as Mark | undefined) ?? { appended: 0, durable: 0 };
      const store = openSeries(state.disk);
      if (!store.list().includes("s")) continue;
      const again = store.open("s");
      const { endRow } = again.positions();
      const note = `seed ${seed} events ${state.events}`;
      expect(endRow, note).toBeGreaterThanOrEqual(mark.durable);
      expect(endRow, note).toBeLessThanOrEqual(mark.appended + 1);
      await expectRows(again, endRow, note);
      // And it can be continued.
      expect(again.append(rowAt(endRow))).toBe(endRow);
      await again.close();
      states++;
    }
    expect(states).toBeGreaterThan(30);
  });

  it("is written on where the system has no page for it, and where no map can be had", async () => {
    for (const on of ["put", "map"] as const) {
      const disk = simulatedDisk();
      disk.inject({ on, after: on === "put" ? 3 : 0, effect: { kind: "EIO" } });
      const series = openSeries(disk).open("s", { columns, key: "ts", ring });
      appendUpTo(series, 100);
      expect(openSeries(disk.killed()).open("s").positions().endRow).toBe(100);
      await series.seal();
      await expectRows(series, 100);
      await series.close();
    }
  });

  it("refuses a row when the disk is full, and takes it when there is room again", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns, key: "ts", ring });
    appendUpTo(series, 20);
    // What could not be reserved is written, and a full disk shows as it does without a map.
    disk.inject({ on: "put", effect: { kind: "ENOSPC" } });
    disk.inject({ on: "write", path: ".hot", times: 2, effect: { kind: "ENOSPC", shortBytes: 700 } });
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(() => series.append(rowAt(20))).toThrow(
        expect.objectContaining({ code: "ERR_DISK_FULL", retryable: true }),
      );
      expect(openSeries(disk.killed()).open("s").positions().endRow).toBe(20);
    }
    appendUpTo(series, 60);
    await expectRows(openSeries(disk.killed()).open("s"), 60);
  });

  it("takes nothing more after a failed sync", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns, key: "ts", ring });
    appendUpTo(series, 30);
    await series.flush();
    appendUpTo(series, 35);
    disk.inject({ on: "sync", path: ".hot", effect: { kind: "EIO" } });
    await expect(series.flush()).rejects.toMatchObject({ code: "ERR_IO" });
    expect(() => series.append(rowAt(35))).toThrow(expect.objectContaining({ code: "ERR_POISONED" }));
    expect(series.positions().endRow).toBe(35);
  });

  it("names a flipped bit, or reads past it unharmed", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = new Random(seed);
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns, key: "ts", ring });
    appendUpTo(series, 35);
    await series.flush();
    const path = `/store/series/s/${disk.list("/store/series/s").find((name) => name.endsWith(".hot"))}`;
    const bits = 8 * disk.stat(path)!.sizeBytes;
    let named = 0;
    for (let round = 0; round < 150; round++) {
      const copy = disk.killed();
      const bit = random.below(bits);
      copy.flipBit(path, bit);
      try {
        await expectRows(openSeries(copy).open("s"), 35, `seed ${seed} bit ${bit}`);
      } catch (error) {
        expect(error, `seed ${seed} bit ${bit}`).toMatchObject({
          code: "ERR_STORE_CORRUPT",
          context: { path },
        });
        named++;
      }
    }
    // The rest fell into the room kept ahead.
    expect(named).toBeGreaterThan(50);
  });
});

describe("the checksum of a short record", () => {
  it("is the one that is worked out by native code", () => {
    const bytes = Uint8Array.from({ length: 300 }, (_, i) => (i * i * 31) & 255);
    const view = new DataView(bytes.buffer);
    for (let from = 0; from < 9; from++) {
      for (let to = from; to <= bytes.length; to++) {
        expect(checksumWithin(bytes, view, from, to)).toBe(checksumOf(bytes.subarray(from, to)));
      }
    }
  });
});
