import { describe, expect, it } from "vitest";
import { Random } from "../../src/disk/random.ts";
import type { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { checkSeries } from "../../src/series/check-series.ts";
import { healSeriesFile } from "../../src/series/repair-series.ts";
import { openSeries, rowsOf, simulatedDisk, storeId } from "./open.ts";

const columns = { ts: "ts_ns", price: "f64", note: "utf8" } as const;
const rowAt = (i: number) => ({ ts: BigInt(i * i), price: i / 4, note: `n${i % 5}` });
const expected = Array.from({ length: 60 }, (_, i) => rowAt(i));

/** 40 sealed rows and 20 hot ones, closed. */
async function filled(): Promise<SimulatedDisk> {
  const disk = simulatedDisk();
  const series = openSeries(disk).open("s", { columns, key: "ts", ring: { segmentRows: 40 } });
  for (const row of expected) series.append(row);
  await series.settled();
  await series.close();
  return disk;
}

/** What a damaged series gives: its rows, or an error that names the file. */
async function readAll(disk: SimulatedDisk, readOnly: boolean): Promise<unknown> {
  try {
    const store = openSeries(disk);
    if (store.list().length === 0) return "gone";
    const series = store.open("s", { readOnly });
    return await rowsOf(series);
  } catch (error) {
    if (isStoreError(error, "ERR_STORE_CORRUPT") || isStoreError(error, "ERR_STORE_VERSION")) {
      expect(error.message).toMatch(/\/store\/series\/s/);
      return "named";
    }
    throw error;
  }
}

describe("a flipped bit", () => {
  for (const ending of [".seg", ".hot", "series.json"]) {
    it(`anywhere in ${ending} is named, never read as data`, async () => {
      const random = new Random(Math.floor(Math.random() * 2 ** 31));
      const disk = await filled();
      const directory = "/store/series/s";
      const name = disk.list(directory).find((each) => each.endsWith(ending))!;
      const bits = disk.stat(`${directory}/${name}`)!.sizeBytes * 8;
      let named = 0;
      for (let bit = random.below(11); bit < bits; bit += 11) {
        const copy = disk.killed();
        copy.flipBit(`${directory}/${name}`, bit);
        const result = await readAll(copy, false);
        if (result === "named") named++;
        // What is padding or a mark may be flipped without harm; no row may be lost or changed by it.
        else expect(result, `bit ${bit} of ${name}`).toEqual(expected);
      }
      expect(named).toBeGreaterThan(bits / 11 / 3);
    });
  }

  it("is turned back by repair, wherever it is", async () => {
    const random = new Random(Math.floor(Math.random() * 2 ** 31));
    const disk = await filled();
    const directory = "/store/series/s";
    for (const name of disk.list(directory).filter((each) => /seg|hot|json/.test(each))) {
      const bits = disk.stat(`${directory}/${name}`)!.sizeBytes * 8;
      for (let bit = random.below(97); bit < bits; bit += 97) {
        const copy = disk.killed();
        copy.flipBit(`${directory}/${name}`, bit);
        if ((await readAll(copy, false)) !== "named") continue;
        const damaged = disk.killed();
        damaged.flipBit(`${directory}/${name}`, bit);
        expect(healSeriesFile(damaged, `${directory}/${name}`), `bit ${bit} of ${name}`).toBe(true);
        expect(await readAll(damaged, false), `bit ${bit} of ${name}`).toEqual(expected);
      }
    }
  });

  it("is found by a check, with its file and what it hit", async () => {
    const disk = await filled();
    const options = { directory: "/store/series", storeId, readData: true };
    expect(await checkSeries(disk, options)).toMatchObject({ problems: [] });
    const name = disk.list("/store/series/s").find((each) => each.endsWith(".seg"))!;
    disk.flipBit(`/store/series/s/${name}`, 40 * 8);
    const { problems } = await checkSeries(disk, options);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({ series: "s", path: `/store/series/s/${name}` });
    expect(problems[0]!.what).toContain('column "ts"');
  });

  it("in one column leaves the others readable", async () => {
    const disk = await filled();
    disk.flipBit(
      `/store/series/s/${disk.list("/store/series/s").find((name) => name.endsWith(".seg"))}`,
      40 * 8,
    );
    const series = openSeries(disk).open("s");
    await expect(rowsOf(series, { columns: ["ts"] })).rejects.toMatchObject({
      code: "ERR_STORE_CORRUPT",
      context: { column: "ts" },
    });
    expect(await rowsOf(series, { columns: ["price"] })).toEqual(expected.map(({ price }) => ({ price })));
  });
});

describe("a file cut short", () => {
  it("is named, or a torn end that held nothing durable", async () => {
    const disk = await filled();
    for (const name of disk.list("/store/series/s").filter((each) => /seg|hot/.test(each))) {
      const path = `/store/series/s/${name}`;
      const { sizeBytes } = disk.stat(path)!;
      for (let size = 0; size < sizeBytes; size += 7) {
        const copy = disk.killed();
        const file = copy.open(path, { access: "write" });
        file.truncate(size);
        file.close();
        const result = await readAll(copy, false);
        if (name.endsWith(".seg")) expect(result, `${name} cut to ${size}`).toBe("named");
        else if (result !== "named")
          expect(expected, `${name} cut to ${size}`).toEqual(expect.arrayContaining(result as object[]));
      }
    }
  });

  it("that is missing is named by its rows", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns, key: "ts", ring: { segmentRows: 10 } });
    for (const row of expected) series.append(row);
    await series.seal();
    await series.close();
    disk.remove(`/store/series/s/${disk.list("/store/series/s")[2]}`);
    expect(() => openSeries(disk).open("s")).toThrow("rows 20 to 29 are missing");
  });
});
