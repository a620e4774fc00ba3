import { describe, expect, it } from "vitest";
import { Random } from "../../src/disk/random.ts";
import type { Series } from "../../src/series/series.ts";
import { openSeries, rowsOf, simulatedDisk } from "./open.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
console.log(`series reads seed ${seed}`);

const columns = { ts: "ts_us", known: "ts_us", x: "f64" } as const;
interface Row {
  ts: bigint;
  known: bigint;
  x: number;
}

/** Random rows with many ties; sealed in parts, the last ones hot. */
async function fill(random: Random, order: "reject" | "allow"): Promise<{ series: Series; rows: Row[] }> {
  const series = openSeries().open("s", {
    columns,
    key: "ts",
    knownKey: "known",
    order,
    ring: { segmentRows: 3000 },
  });
  const rows: Row[] = [];
  let ts = 1000n;
  for (let i = 0; i < 8000; i++) {
    ts += BigInt(random.below(3));
    const late = order === "allow" && random.below(50) === 0 ? BigInt(random.below(2000)) : 0n;
    rows.push({ ts: ts - late, known: ts + BigInt(random.below(40)), x: i });
  }
  for (let at = 0; at < rows.length; ) {
    const part = rows.slice(at, at + 1 + random.below(700));
    series.appendColumns({
      ts: BigInt64Array.from(part, (row) => row.ts),
      known: BigInt64Array.from(part, (row) => row.known),
      x: Float64Array.from(part, (row) => row.x),
    });
    at += part.length;
    await series.settled();
  }
  return { series, rows };
}

function asOf(rows: readonly Row[], by: "ts" | "known", most: bigint, known?: bigint): Row | undefined {
  let best: Row | undefined;
  for (const row of rows) {
    if (row[by] > most || (known !== undefined && row.known > known)) continue;
    if (best === undefined || row[by] >= best[by]) best = row;
  }
  return best;
}

describe.each(["reject", "allow"] as const)("reads of a series with order %s", (order) => {
  it("give what a scan of all rows gives", async () => {
    const random = new Random(seed);
    const { series, rows } = await fill(random, order);
    const last = rows.at(-1)!.ts;
    for (let i = 0; i < 60; i++) {
      const at = 900n + BigInt(random.below(Number(last)));
      const ns = at * 1000n + BigInt(random.below(1000));
      const note = `VARVE_SEED=${seed}, ${order}, ${ns}`;
      expect((await series.asOf(ns))?.values, note).toEqual(asOf(rows, "ts", at));
      expect((await series.asOf(ns, { by: "known" }))?.values, note).toEqual(asOf(rows, "known", at));
      const knownAt = at - 20n;
      expect((await series.asOf(ns, { knownAtNs: knownAt * 1000n }))?.values, note).toEqual(
        asOf(rows, "ts", at, knownAt),
      );
      const to = at + BigInt(random.below(3000));
      expect(await rowsOf(series, { fromNs: at * 1000n, toNs: to * 1000n }), note).toEqual(
        rows.filter(({ ts }) => ts >= at && ts < to),
      );
      expect(
        await rowsOf(series, { fromNs: ns, toNs: to * 1000n, by: "known", columns: ["x"] }),
        note,
      ).toEqual(rows.filter(({ known }) => known * 1000n >= ns && known < to).map(({ x }) => ({ x })));
    }
    expect(await rowsOf(series)).toEqual(rows);
    expect((await series.first())?.values).toEqual(rows[0]);
    const table = await series.last(5);
    expect(table.numRows).toBe(5);
    expect([...table.getChild("x")!.toArray()]).toEqual(rows.slice(-5).map(({ x }) => x));
  });

  it("make the bars that a scan makes", async () => {
    const random = new Random(seed);
    const { series, rows } = await fill(random, order);
    const table = await series.resample({ everyNs: 500_000n, price: "x", size: "x" });
    const bars = new Map<bigint, Row[]>();
    for (const row of rows) {
      const start = row.ts - (((row.ts % 500n) + 500n) % 500n);
      bars.set(start, [...(bars.get(start) ?? []), row]);
    }
    const starts = [...bars.keys()].sort((a, b) => Number(a - b));
    const column = (name: string) => [...table.getChild(name)!.toArray()];
    expect(column("count")).toEqual(starts.map((start) => bars.get(start)!.length));
    // A stable sort: of equal times the first appended opens, the last one closes.
    const inOrder = (start: bigint) => bars.get(start)!.toSorted((a, b) => Number(a.ts - b.ts));
    expect(column("open")).toEqual(starts.map((start) => inOrder(start)[0]!.x));
    expect(column("close")).toEqual(starts.map((start) => inOrder(start).at(-1)!.x));
    expect(column("high")).toEqual(starts.map((start) => Math.max(...bars.get(start)!.map(({ x }) => x))));
    expect(column("low")).toEqual(starts.map((start) => Math.min(...bars.get(start)!.map(({ x }) => x))));
    expect(column("volume")).toEqual(
      starts.map((start) => bars.get(start)!.reduce((sum, { x }) => sum + x, 0)),
    );
  });
});

describe("reading while rows come", () => {
  it("gives hot numbers without a copy, which later appends do not change", async () => {
    const series = openSeries().open("s", { columns: { x: "f64" } });
    series.append({ x: 1 });
    const [first] = (await series.range().table()).batches;
    for (let i = 0; i < 3000; i++) series.append({ x: i });
    const [second] = (await series.range().table()).batches;
    expect(first!.numRows).toBe(1);
    expect(second!.getChild("x")!.data[0]!.values.buffer).toBe(first!.getChild("x")!.data[0]!.values.buffer);
  });

  it("tails every row once, in order, over seals, from this store and from another", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns: { n: "i32" }, ring: { segmentRows: 20 } });
    const tailed = async (of: Series) => {
      const seen: number[] = [];
      for await (const batch of of.tail({ fromRow: 0 })) {
        seen.push(...(batch.getChild("n")!.toArray() as Int32Array));
        if (seen.length >= 150) return seen;
      }
      return seen;
    };
    const both = Promise.all([tailed(series), tailed(openSeries(disk).open("s", { readOnly: true }))]);
    for (let n = 0; n < 150; n++) {
      series.append({ n });
      if (n % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const expected = Array.from({ length: 150 }, (_, n) => n);
    expect(await both).toEqual([expected, expected]);
  });

  it("ends a tail when it is told to", async () => {
    const series = openSeries().open("s", { columns: { n: "i32" } });
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 5);
    for await (const _ of series.tail({ signal: controller.signal })) throw new Error("no row was appended");
  });

  it("reports where a sequence does not go on", async () => {
    const series = openSeries().open("s", { columns: { id: "i64" } });
    for (const id of [5n, 6n, 9n, 10n, 10n]) series.append({ id });
    expect(await series.sequenceGaps("id")).toEqual([
      { row: 2, before: 6n, after: 9n },
      { row: 4, before: 10n, after: 10n },
    ]);
  });

  it("appends an Arrow table it has read", async () => {
    const source = openSeries().open("s", {
      columns: {
        ts: "ts_ns",
        x: { type: "f64", nullable: true },
        text: "utf8",
        on: "bool",
        v: { type: "f32", listSize: 2 },
      },
      key: "ts",
    });
    for (let i = 0; i < 20; i++) {
      source.append({ ts: BigInt(i), x: i % 3 ? i : null, text: `t${i}`, on: i % 2 === 0, v: [i, -i] });
    }
    const target = openSeries().open("t", {
      columns: {
        ts: "ts_ns",
        x: { type: "f64", nullable: true },
        text: "utf8",
        on: "bool",
        v: { type: "f32", listSize: 2 },
      },
      key: "ts",
    });
    expect(target.appendTable(await source.range().table())).toBe(20);
    expect(target.appendTable(await source.range({ fromRow: 19 }).table())).toBe(1);
    expect(await rowsOf(target, { toRow: 20 })).toEqual(await rowsOf(source));
    expect(() => target.appendTable(source as never)).toThrow();
  });
});
