import { describe, expect, it } from "vitest";
import { isStoreError } from "../../src/errors.ts";
import {
  SERIES_COLUMNS_MAX,
  SERIES_LIST_SIZE_MAX,
  SERIES_ROW_BYTES_MAX,
  SERIES_SEALS_WAITING_BYTES,
  SERIES_SEALS_WAITING_MAX,
  SERIES_SEGMENT_ROWS_MAX,
} from "../../src/limits.ts";
import type { Series } from "../../src/series/series.ts";
import { openSeries, type Row, rowsOf, simulatedDisk } from "./open.ts";

const trades = { ts: "ts_ns", price: "f64", id: "i64" } as const;
const trade = (i: number) => ({
  ts: 1_723_161_255_088_176_367n + BigInt(i) * 1000n,
  price: 61_800 + i / 8,
  id: BigInt(i),
});

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe("what a row may hold", () => {
  const columns = {
    ts: "ts_ns",
    f64: "f64",
    f32: "f32",
    i64: "i64",
    u64: "u64",
    i32: "i32",
    u32: "u32",
    i16: "i16",
    u16: "u16",
    i8: "i8",
    u8: "u8",
    bool: "bool",
    utf8: { type: "utf8", nullable: true },
    binary: "binary",
    list: { type: "f32", listSize: 3, nullable: true },
    ms: { type: "ts_ms", nullable: true },
  } as const;
  const extreme = (i: number): Row => ({
    ts: BigInt(i) - 3n,
    f64: [0, -0, Number.NaN, Number.POSITIVE_INFINITY, -5e-324, 0.1][i % 6]!,
    f32: [0, -0, Number.NaN, 0.5, Number.NEGATIVE_INFINITY][i % 5]!,
    i64: i % 2 ? -(2n ** 63n) : 2n ** 63n - 1n,
    u64: i % 2 ? 0n : 2n ** 64n - 1n,
    i32: i % 2 ? -(2 ** 31) : 2 ** 31 - 1,
    u32: i % 2 ? 0 : 2 ** 32 - 1,
    i16: i % 2 ? -32_768 : 32_767,
    u16: i % 2 ? 0 : 65_535,
    i8: i % 2 ? -128 : 127,
    u8: i % 2 ? 0 : 255,
    bool: i % 3 === 0,
    utf8: i % 4 === 0 ? null : ["", "ümläut", "💰 and more", "x"][i % 4]!,
    binary: new Uint8Array(i % 5).fill(i),
    list: i % 7 === 0 ? null : new Float32Array([i, -i, i / 2]),
    ms: i % 2 ? null : BigInt(i),
  });

  it("comes back the same, hot, from another process' view, sealed and after reopening", async () => {
    const disk = simulatedDisk();
    const rows = Array.from({ length: 700 }, (_, i) => extreme(i));
    const series = openSeries(disk).open("all", { columns, key: "ts", ring: { segmentRows: 300 } });
    for (const row of rows.slice(0, 350)) series.append(row);
    series.appendColumns(
      Object.fromEntries(Object.keys(columns).map((name) => [name, rows.slice(350).map((row) => row[name])])),
    );
    expect(await rowsOf(series)).toEqual(rows);
    const reader = openSeries(disk).open("all", { readOnly: true });
    expect(await rowsOf(reader)).toEqual(rows);
    await series.seal();
    expect(await rowsOf(series)).toEqual(rows);
    expect((await series.stats()).segments).toBe(3);
    await series.close();
    const again = openSeries(disk).open("all");
    expect(await rowsOf(again)).toEqual(rows);
    expect(await rowsOf(again, { fromRow: 298, toRow: 303, columns: ["utf8", "list"] })).toEqual(
      rows.slice(298, 303).map(({ utf8, list }) => ({ utf8, list })),
    );
  });

  it("keeps the payload of a NaN that comes in a typed array", async () => {
    const bits = new BigUint64Array([0x7ff8_0000_dead_beefn, 0xfff0_0000_0000_0001n]);
    const series = openSeries().open("nan", { columns: { x: "f64" } });
    series.appendColumns({ x: new Float64Array(bits.buffer) });
    await series.seal();
    for await (const { slices } of series.range().runs()) {
      const values = slices[0]!.values;
      expect(new BigUint64Array(values.buffer, values.byteOffset, 2)).toEqual(bits);
    }
  });

  it("takes 64-bit integers as bigint, halves or safe integers, by row and by column", async () => {
    const series = openSeries().open("pairs", { columns: { ts: "ts_ns", id: "i64" }, key: "ts" });
    const ts = 1_723_161_255_088_176_367n;
    series.append({ ts: { hi: Number(ts >> 32n), lo: Number(ts & 0xffff_ffffn) }, id: -5 });
    series.append({ ts: ts + 1n, id: { hi: -1, lo: 0xffff_fffb } });
    series.appendColumns({
      ts: { hi: [Number(ts >> 32n)], lo: new Uint32Array([Number((ts + 2n) & 0xffff_ffffn)]) },
      id: [-5n],
    });
    expect(await rowsOf(series)).toEqual([0n, 1n, 2n].map((more) => ({ ts: ts + more, id: -5n })));
  });

  it("is refused with the column's name where it does not fit", () => {
    const series = openSeries().open("strict", {
      columns: { ts: "ts_ns", u8: "u8", text: "utf8" },
      key: "ts",
    });
    const good = { ts: 1n, u8: 1, text: "a" };
    for (const [name, value] of [
      ["u8", 256],
      ["u8", 1.5],
      ["u8", "1"],
      ["u8", null],
      ["text", 5],
      ["text", "\ud800"],
      ["ts", 1.5],
      ["ts", 2n ** 63n],
      ["ts", { hi: 2 ** 31, lo: 0 }],
    ] as const) {
      expect(() => series.append({ ...good, [name]: value }), `${name} ${String(value)}`).toThrow(
        `"${name}"`,
      );
    }
    expect(series.count()).toBe(0);
    expect(codeOf(() => series.appendColumns({ ts: [1n, 2n], u8: [1], text: ["a", "b"] }))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
    expect(codeOf(() => series.appendColumns({ ts: [1n], u8: [1] }))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => series.appendColumns({ ts: [1n], u8: [1], text: ["a"], more: [1] }))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
    // A batch with one wrong value in its last row appends nothing.
    expect(codeOf(() => series.appendColumns({ ts: [1n, 2n], u8: [1, 300], text: ["a", "b"] }))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
    expect(series.count()).toBe(0);
  });
});

describe("order", () => {
  it("is kept by refusing what is older, whether it comes alone or in a batch", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns: trades, key: "ts" });
    series.append(trade(5));
    expect(codeOf(() => series.append(trade(4)))).toBe("ERR_CONFLICT");
    const batch = [6, 8, 7].map(trade);
    const columns = {
      ts: batch.map((row) => row.ts),
      price: batch.map((row) => row.price),
      id: batch.map((row) => row.id),
    };
    expect(() => series.appendColumns(columns)).toThrow("row 3 of the batch");
    series.append(trade(5));
    expect(series.count()).toBe(2);
    await series.seal();
    await series.close();
    const again = openSeries(disk).open("s");
    expect(codeOf(() => again.append(trade(4)))).toBe("ERR_CONFLICT");
  });

  it("is put right within the window, ties in the order they came", async () => {
    const series = openSeries().open("s", {
      columns: { ts: "ts_ms", n: "i32" },
      key: "ts",
      order: { sortWithinMs: 10 },
    });
    const keys = [100, 95, 100, 99, 107, 103, 120, 115, 140];
    for (const [n, ts] of keys.entries()) series.append({ ts, n });
    expect((await rowsOf(series)).map(({ ts }) => ts)).toEqual([
      95n,
      99n,
      100n,
      100n,
      103n,
      107n,
      115n,
      120n,
    ]);
    expect((await rowsOf(series)).map(({ n }) => n)).toEqual([1, 3, 0, 2, 5, 4, 7, 6]);
    expect(codeOf(() => series.append({ ts: 110, n: 9 }))).toBe("ERR_CONFLICT");
    await series.seal();
    expect(series.count()).toBe(9);
  });

  it("is left as it came under allow", async () => {
    const series = openSeries().open("s", { columns: { ts: "ts_ns" }, key: "ts", order: "allow" });
    for (const ts of [5n, 3n, 9n, 3n]) series.append({ ts });
    expect((await rowsOf(series)).map(({ ts }) => ts)).toEqual([5n, 3n, 9n, 3n]);
  });

  it("of duplicates: kept, dropped or refused, by all columns at one key", () => {
    const open = (duplicates: "keep" | "drop" | "reject") =>
      openSeries().open("s", { columns: trades, key: "ts", duplicates });
    const kept = open("keep");
    kept.append(trade(1));
    expect(kept.append(trade(1))).toBe(1);
    const dropped = open("drop");
    dropped.append(trade(1));
    expect(dropped.append(trade(1))).toBeUndefined();
    expect(dropped.append({ ...trade(1), price: 1 })).toBe(1);
    expect(dropped.append(trade(1))).toBeUndefined();
    const refusing = open("reject");
    refusing.append(trade(1));
    expect(codeOf(() => refusing.append(trade(1)))).toBe("ERR_CONFLICT");
  });
});

describe("a float", () => {
  it("keeps its bits, a NaN's payload and the sign of zero too, appended alone or with others", async () => {
    const bits = [0x7ff8_0000_dead_beefn, 0xfff0_0000_0000_0001n, 1n << 63n, 0x7ff0_0000_0000_0000n, 1n, 0n];
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", {
      columns: { ts: "ts_ns", x: "f64", pair: { type: "f64", listSize: 2 } },
      key: "ts",
      ring: { segmentRows: 1000 },
    });
    const floats = (values: bigint[]) => new Float64Array(BigUint64Array.from(values).buffer);
    bits.forEach((value, i) => {
      series.appendColumns({ ts: [BigInt(i)], x: floats([value]), pair: floats([value, value]) });
    });
    series.appendColumns({
      ts: bits.map((_, i) => BigInt(10 + i)),
      x: floats(bits),
      pair: floats(bits.flatMap((value) => [value, value])),
    });
    const found = async (from: Series) => {
      const all: bigint[][] = [[], []];
      for await (const { slices } of from.range({ columns: ["x", "pair"] }).runs()) {
        for (const [i, { values }] of slices.entries()) {
          const { buffer, byteOffset, length } = (values as Float64Array).slice();
          all[i]!.push(...new BigUint64Array(buffer, byteOffset, length));
        }
      }
      return all;
    };
    const twice = [...bits, ...bits];
    const expected = [twice, twice.flatMap((value) => [value, value])];
    expect(await found(series)).toEqual(expected);
    expect(await found(openSeries(disk.killed()).open("s"))).toEqual(expected);
    await series.seal();
    expect(await found(series)).toEqual(expected);
  });
});

describe("a ring", () => {
  it("evicts the oldest segments, counts their rows and never uses a number again", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", {
      columns: trades,
      key: "ts",
      ring: { segmentRows: 10, segments: 2 },
    });
    for (let i = 0; i < 95; i++) {
      expect(series.append(trade(i))).toBe(i);
      await series.settled();
    }
    const stats = await series.stats();
    expect(stats).toMatchObject({ rows: 25, firstRow: 70, endRow: 95, evictedRows: 70, segments: 2 });
    expect(await rowsOf(series)).toEqual(Array.from({ length: 25 }, (_, i) => trade(70 + i)));
    await series.close();
    const again = openSeries(disk).open("s");
    expect(again.append(trade(95))).toBe(95);
    expect((await again.stats()).evictedRows).toBe(70);
  });

  it("keeps what is pinned until it is released", async () => {
    const series = openSeries().open("s", {
      columns: trades,
      key: "ts",
      ring: { segmentRows: 10, segments: 1 },
    });
    for (let i = 0; i < 10; i++) series.append(trade(i));
    const release = series.pin(5);
    for (let i = 10; i < 60; i++) {
      series.append(trade(i));
      await series.settled();
    }
    expect(series.positions().firstRow).toBe(0);
    release();
    expect(series.positions().firstRow).toBe(40);
  });

  it("keeps a duration of event time, or bytes", async () => {
    const columns = { ts: "ts_ms" } as const;
    const timed = openSeries().open("t", { columns, key: "ts", ring: { segmentRows: 10, keep: "60s" } });
    for (let i = 0; i < 200; i++) {
      timed.append({ ts: i * 1000 });
      await timed.settled();
    }
    // Segments of ten seconds: those that end more than a minute before the newest row are gone.
    expect(timed.positions().firstRow).toBe(130);
    const sized = openSeries().open("b", { columns, key: "ts", ring: { segmentRows: 10, keep: 1000 } });
    for (let i = 0; i < 200; i++) {
      sized.append({ ts: i * 1000 });
      await sized.settled();
    }
    const { storedBytes, evictedRows } = await sized.stats();
    expect(evictedRows).toBeGreaterThan(0);
    expect(storedBytes).toBeLessThan(2000);
  });

  it.each([
    { what: "segments", bytes: 1, segments: SERIES_SEALS_WAITING_MAX },
    { what: "bytes", bytes: 1_000_000, segments: Math.ceil(SERIES_SEALS_WAITING_BYTES / 1_000_121) },
  ])(
    "refuses rows when too many $what wait to be sealed, and takes them again",
    async ({ bytes, segments }) => {
      const columns = { ts: "ts_ms", data: "binary" } as const;
      const series = openSeries().open("s", { columns, key: "ts", ring: { segmentRows: 1, segments: 3 } });
      const row = (ts: number) => ({ ts, data: new Uint8Array(bytes) });
      for (let i = 0; i <= segments; i++) expect(series.append(row(i))).toBe(i);
      expect(codeOf(() => series.append(row(segments + 1)))).toBe("ERR_LIMIT");
      await series.settled();
      expect(series.append(row(segments + 1))).toBe(segments + 1);
    },
  );

  it("refuses a batch that is larger than itself", () => {
    const series = openSeries().open("s", { columns: { x: "i32" }, ring: { segmentRows: 10, segments: 2 } });
    expect(series.appendColumns({ x: new Int32Array(30) })).toBe(30);
    expect(codeOf(() => series.appendColumns({ x: new Int32Array(31) }))).toBe("ERR_LIMIT");
  });
});

describe("reopening with another schema", () => {
  it("goes on with a wider one, whose rows read old and new alike", async () => {
    const disk = simulatedDisk();
    const first = openSeries(disk).open("s", { columns: { ts: "ts_ns", n: "i32", x: "f32" }, key: "ts" });
    first.append({ ts: 1n, n: 7, x: 0.5 });
    await first.seal();
    first.append({ ts: 2n, n: 8, x: 1.5 });
    await first.close();
    const columns = {
      ts: "ts_ns",
      n: "i64",
      x: { type: "f64", nullable: true },
      tag: { type: "utf8", nullable: true },
    } as const;
    const wider = openSeries(disk).open("s", { columns, key: "ts" });
    wider.append({ ts: 3n, n: 2n ** 40n, x: null, tag: "new" });
    expect(await rowsOf(wider)).toEqual([
      { ts: 1n, n: 7n, x: 0.5, tag: null },
      { ts: 2n, n: 8n, x: 1.5, tag: null },
      { ts: 3n, n: 2n ** 40n, x: null, tag: "new" },
    ]);
    await wider.seal();
    expect(await rowsOf(wider, { fromNs: 2n, columns: ["tag", "n"] })).toEqual([
      { tag: null, n: 8n },
      { tag: "new", n: 2n ** 40n },
    ]);
  });

  it("is refused with the name of the column that does not fit", async () => {
    const disk = simulatedDisk();
    await openSeries(disk)
      .open("s", { columns: { ts: "ts_ns", n: "i64", text: "utf8" }, key: "ts" })
      .close();
    const open = (columns: Record<string, "ts_ns" | "i32" | "i64" | "f64" | "utf8">) => () =>
      openSeries(disk).open("s", { columns, key: "ts" });
    expect(open({ ts: "ts_ns", n: "i32", text: "utf8" })).toThrow('"n"');
    expect(open({ ts: "ts_ns", n: "f64", text: "utf8" })).toThrow('"n"');
    expect(open({ ts: "ts_ns", n: "i64" })).toThrow('"text"');
    expect(open({ ts: "ts_ns", n: "i64", text: "utf8", more: "i64" })).toThrow('"more"');
    expect(codeOf(open({ ts: "ts_ns", n: "i32", text: "utf8" }))).toBe("ERR_CONFLICT");
  });
});

describe("limits", () => {
  const columnsOf = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`c${i}`, "i8" as const]));

  it("hold at the limit and refuse one past it", () => {
    const store = openSeries();
    store.open("columns", { columns: columnsOf(SERIES_COLUMNS_MAX) });
    expect(codeOf(() => store.open("more", { columns: columnsOf(SERIES_COLUMNS_MAX + 1) }))).toBe(
      "ERR_LIMIT",
    );
    const list = (listSize: number) => ({ columns: { v: { type: "f32", listSize } } }) as const;
    store.open("list", list(SERIES_LIST_SIZE_MAX));
    expect(codeOf(() => store.open("longer", list(SERIES_LIST_SIZE_MAX + 1)))).toBe("ERR_LIMIT");
    const ring = (segmentRows: number) => ({ columns: { x: "i8" }, ring: { segmentRows } }) as const;
    store.open("rows", ring(SERIES_SEGMENT_ROWS_MAX));
    expect(codeOf(() => store.open("bigger", ring(SERIES_SEGMENT_ROWS_MAX + 1)))).toBe("ERR_LIMIT");
    const wide = store.open("wide", { columns: { b: "binary" } });
    wide.append({ b: new Uint8Array(SERIES_ROW_BYTES_MAX - 4) });
    expect(codeOf(() => wide.append({ b: new Uint8Array(SERIES_ROW_BYTES_MAX - 3) }))).toBe("ERR_LIMIT");
    expect(wide.count()).toBe(1);
  });
});

describe("one writer", () => {
  it("is let in; another is told who writes", () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns: trades, key: "ts" });
    series.append(trade(0));
    expect(codeOf(() => openSeries(disk).open("s"))).toBe("ERR_STORE_LOCKED");
    expect(openSeries(disk).open("s", { readOnly: true }).count()).toBe(1);
  });

  it("acknowledges nothing after a sync has failed", async () => {
    const disk = simulatedDisk();
    const errors: unknown[] = [];
    const series = openSeries(disk, errors).open("s", { columns: trades, key: "ts" });
    series.append(trade(0));
    disk.inject({ on: "sync", path: ".hot", effect: { kind: "EIO" } });
    await expect(series.flush()).rejects.toMatchObject({ code: "ERR_IO" });
    expect(codeOf(() => series.append(trade(1)))).toBe("ERR_POISONED");
  });

  it("appends again once a full disk has room", async () => {
    const disk = simulatedDisk();
    const series = openSeries(disk).open("s", { columns: trades, key: "ts" });
    series.append(trade(0));
    disk.inject({ on: "write", path: ".hot", effect: { kind: "ENOSPC", shortBytes: 30 } });
    expect(codeOf(() => series.append(trade(1)))).toBe("ERR_DISK_FULL");
    expect(series.append(trade(1))).toBe(1);
    await series.close();
    expect(await rowsOf(openSeries(disk).open("s"))).toEqual([trade(0), trade(1)]);
  });
});
