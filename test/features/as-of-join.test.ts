import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { joinTables } from "../../features/as-of-join.ts";
import type { Column, Table } from "../../formats/tables/table.ts";
import { cellAt } from "../tables/cell-at.ts";
import { duckSkipped, hasDuck, openDuck } from "../tables/peers.ts";
import { checkAsync } from "../tables/property.ts";

function ints(name: string, values: readonly (bigint | null)[]): Column {
  const validity = new Uint8Array(Math.ceil(values.length / 8));
  values.forEach((value, at) => {
    if (value !== null) validity[at >> 3]! |= 1 << (at & 7);
  });
  const column = {
    name,
    type: "i64" as const,
    rows: values.length,
    values: BigInt64Array.from(values, (value) => value ?? 0n),
  };
  return values.includes(null) ? { ...column, validity } : column;
}

function table(columns: Record<string, readonly (bigint | null)[]>): Table {
  const made = Object.entries(columns).map(([name, values]) => ints(name, values));
  return { rows: made[0]!.rows, columns: made };
}

const values = (joined: Table, name: string) => {
  const column = joined.columns.find((each) => each.name === name)!;
  return Array.from({ length: joined.rows }, (_, row) => cellAt(column, row));
};

describe("an as-of join", () => {
  it("takes the newest row at or before each instant, never a later one", () => {
    const left = table({ ts: [0n, 10n, 15n, 20n] });
    const right = table({ ts: [10n, 20n, 21n], v: [1n, 2n, 3n] });
    expect(values(joinTables(left, right, { on: "ts" }), "v")).toEqual([null, 1n, 1n, 2n]);
  });

  it("takes the last of rows at the same instant", () => {
    const right = table({ ts: [10n, 10n, 10n], v: [1n, 2n, 3n] });
    expect(values(joinTables(table({ ts: [10n] }), right, { on: "ts" }), "v")).toEqual([3n]);
  });

  it("does not see a row that came to be known later, nor a correction of one", () => {
    const right = table({ ts: [10n, 12n, 10n], known: [11n, 30n, 25n], v: [1n, 2n, 100n] });
    const joined = joinTables(table({ ts: [10n, 11n, 24n, 25n, 30n] }), right, { on: "ts", known: "known" });
    expect(values(joined, "v")).toEqual([null, 1n, 1n, 100n, 2n]);
  });

  it("leaves out rows older than the tolerance, and takes one exactly as old", () => {
    const right = table({ ts: [10n], v: [1n] });
    const joined = joinTables(table({ ts: [14n, 15n, 16n] }), right, { on: "ts", tolerance: 5n });
    expect(values(joined, "v")).toEqual([1n, 1n, null]);
  });

  it("matches within keys alone; nulls match nothing", () => {
    const left = table({ ts: [10n, 10n, 10n, null], k: [1n, 2n, null, 1n] });
    const right = table({ ts: [5n, 6n, 7n, null], k: [1n, 2n, null, 1n], v: [1n, 2n, 3n, 4n] });
    expect(values(joinTables(left, right, { on: "ts", by: ["k"] }), "v")).toEqual([1n, 2n, null, null]);
  });

  it("compares columns of different units in the finer one", () => {
    const left: Table = { rows: 1, columns: [{ ...ints("ts", [1_000_000_001n]), unit: "ns" }] };
    const right: Table = {
      rows: 2,
      columns: [{ ...ints("ts", [1000n, 1001n]), unit: "ms" }, ints("v", [1n, 2n])],
    };
    expect(values(joinTables(left, right, { on: "ts" }), "v")).toEqual([1n]);
  });

  it("refuses a column of both tables, one there is not, and times that are no numbers", () => {
    const left = table({ ts: [1n], v: [1n] });
    expect(() => joinTables(left, left, { on: "ts" })).toThrow(
      expect.objectContaining({ code: "ERR_CONFLICT" }),
    );
    expect(() => joinTables(left, left, { on: "tz", prefix: "r_" })).toThrow(
      expect.objectContaining({ code: "ERR_NOT_FOUND" }),
    );
    const words: Table = {
      rows: 0,
      columns: [{ name: "ts", type: "utf8", rows: 0, values: new Uint8Array(0), offsets: new Int32Array(1) }],
    };
    expect(() => joinTables(words, left, { on: "ts" })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
    );
  });
});

const small = fc.bigInt({ min: 0n, max: 20n });
const sides = fc.record({
  left: fc.array(fc.record({ ts: small, k: fc.bigInt({ min: 0n, max: 2n }) }), {
    minLength: 1,
    maxLength: 30,
  }),
  right: fc.array(
    fc.record({ ts: small, k: fc.bigInt({ min: 0n, max: 2n }), late: fc.bigInt({ min: 0n, max: 9n }) }),
    { maxLength: 30 },
  ),
  tolerance: fc.option(fc.bigInt({ min: 0n, max: 8n }), { nil: undefined }),
});

describe("an as-of join on random tables", () => {
  it("is what looking at every pair of rows finds, with known times, keys and tolerance", () =>
    checkAsync(
      sides,
      async ({ left, right, tolerance }) => {
        const joined = joinTables(
          table({ ts: left.map((row) => row.ts), k: left.map((row) => row.k) }),
          table({
            ts: right.map((row) => row.ts),
            known: right.map((row) => row.ts + row.late),
            k: right.map((row) => row.k),
            v: right.map((_, at) => BigInt(at)),
          }),
          { on: "ts", known: "known", by: ["k"], ...(tolerance === undefined ? {} : { tolerance }) },
        );
        const expected = left.map(({ ts, k }) => {
          let best = -1;
          right.forEach((row, at) => {
            if (row.k !== k || row.ts > ts || row.ts + row.late > ts) return;
            const current = right[best];
            if (
              current === undefined ||
              row.ts > current.ts ||
              (row.ts === current.ts && row.late >= current.late)
            )
              best = at;
          });
          if (best < 0 || (tolerance !== undefined && ts - right[best]!.ts > tolerance)) return null;
          return BigInt(best);
        });
        expect(values(joined, "v")).toEqual(expected);
      },
      300,
    ));

  it.skipIf(!hasDuck)(`is row for row what DuckDB's ASOF JOIN gives${duckSkipped}`, async () => {
    const duck = await openDuck();
    await checkAsync(
      sides,
      async ({ left, right }) => {
        // Of equal instants DuckDB may take any row: the value is a function of key and instant.
        const v = (row: { ts: bigint; k: bigint }) => row.ts * 10n + row.k;
        const joined = joinTables(
          table({ ts: left.map((row) => row.ts), k: left.map((row) => row.k) }),
          table({ ts: right.map((row) => row.ts), k: right.map((row) => row.k), v: right.map(v) }),
          { on: "ts", by: ["k"] },
        );
        const rows = (
          list: { ts: bigint; k: bigint }[],
          more: (row: { ts: bigint; k: bigint }, at: number) => bigint,
        ) =>
          list.length === 0
            ? "(select 0::bigint ts, 0::bigint k, 0::bigint x where false)"
            : `(select * from (values ${list.map((row, at) => `(${row.ts}::bigint, ${row.k}::bigint, ${more(row, at)}::bigint)`).join(",")}) t(ts, k, x))`;
        const sql = `select r.x::varchar from ${rows(left, (_, at) => BigInt(at))} l asof left join ${rows(right, v)} r on l.k = r.k and l.ts >= r.ts order by l.x`;
        const found = (await duck.runAndReadAll(sql))
          .getRowsJson()
          .map(([x]) => (x === null ? null : BigInt(x as string)));
        expect(values(joined, "v")).toEqual(found);
      },
      40,
    );
  });

  const rowsOf = (list: readonly (readonly bigint[])[], names: string) => {
    const width = names.split(",").length;
    const empty = Array.from({ length: width }, () => "0::bigint").join(",");
    const text = list.map((row) => `(${row.map((value) => `${value}::bigint`).join(",")})`).join(",");
    return list.length === 0
      ? `(select * from (select ${empty}) t(${names}) where false)`
      : `(select * from (values ${text}) t(${names}))`;
  };
  const within = (tolerance: bigint | undefined) =>
    tolerance === undefined ? "true" : `l.ts - r.ts <= ${tolerance}`;

  it.skipIf(!hasDuck)(
    `takes the last of ties, within a tolerance, as DuckDB's ASOF JOIN does${duckSkipped}`,
    async () => {
      const duck = await openDuck();
      await checkAsync(
        sides,
        async ({ left, right, tolerance }) => {
          const joined = joinTables(
            table({ ts: left.map((row) => row.ts), k: left.map((row) => row.k) }),
            table({
              ts: right.map((row) => row.ts),
              k: right.map((row) => row.k),
              v: right.map((_, at) => BigInt(at)),
            }),
            { on: "ts", by: ["k"], ...(tolerance === undefined ? {} : { tolerance }) },
          );
          const l = rowsOf(
            left.map(({ ts, k }, at) => [ts, k, BigInt(at)]),
            "ts,k,x",
          );
          const r = rowsOf(
            right.map(({ ts, k }, at) => [ts, k, BigInt(at)]),
            "ts,k,x",
          );
          // Of equal instants DuckDB may take any row: it is shown the last of them.
          const last = `(select * from ${r} qualify row_number() over (partition by k, ts order by x desc) = 1)`;
          const sql = `select (case when ${within(tolerance)} then r.x end)::varchar
          from ${l} l asof left join ${last} r on l.k = r.k and l.ts >= r.ts order by l.x`;
          const found = (await duck.runAndReadAll(sql)).getRowsJson().map(([x]) => x);
          expect(values(joined, "v").map((value) => (value === null ? null : String(value)))).toEqual(found);
        },
        40,
      );
    },
  );

  it.skipIf(!hasDuck)(`sees what was known at each instant, as DuckDB orders it${duckSkipped}`, async () => {
    const duck = await openDuck();
    await checkAsync(
      sides,
      async ({ left, right, tolerance }) => {
        const joined = joinTables(
          table({ ts: left.map((row) => row.ts), k: left.map((row) => row.k) }),
          table({
            ts: right.map((row) => row.ts),
            known: right.map((row) => row.ts + row.late),
            k: right.map((row) => row.k),
            v: right.map((_, at) => BigInt(at)),
          }),
          { on: "ts", known: "known", by: ["k"], ...(tolerance === undefined ? {} : { tolerance }) },
        );
        const l = rowsOf(
          left.map(({ ts, k }, at) => [ts, k, BigInt(at)]),
          "ts,k,x",
        );
        const r = rowsOf(
          right.map(({ ts, k, late }, at) => [ts, k, ts + late, BigInt(at)]),
          "ts,k,known,x",
        );
        // An ASOF JOIN knows one inequality: two times are put in order by a window.
        const sql = `with best as (
            select l.x as lx, case when ${within(tolerance)} then r.x end as v,
              row_number() over (partition by l.x order by r.ts desc, r.known desc, r.x desc) as n
            from ${l} l join ${r} r on l.k = r.k and r.ts <= l.ts and r.known <= l.ts)
          select best.v::varchar from ${l} l left join best on best.lx = l.x and best.n = 1 order by l.x`;
        const found = (await duck.runAndReadAll(sql)).getRowsJson().map(([x]) => x);
        expect(values(joined, "v").map((value) => (value === null ? null : String(value)))).toEqual(found);
      },
      40,
    );
  });
});
