import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { collect } from "../../formats/compression/streams.ts";
import { type WriteTablesOptions, writeTables } from "../../formats/tables/files.ts";
import type { Table } from "../../formats/tables/table.ts";
import { cellAt } from "./cell-at.ts";
import { duckSkipped, hasDuck, openDuck, polars, polarsSkipped } from "./peers.ts";

const directory = mkdtempSync(join(tmpdir(), "varve-peers-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const ROWS = 5000;

/** Columns that compress and columns that do not, with nulls, in two batches. */
function table(): Table {
  const ts = BigInt64Array.from(
    { length: ROWS },
    (_, at) => 1_723_161_255_030_314_667n + BigInt(at) * 1_000_003n,
  );
  const price = Float64Array.from({ length: ROWS }, (_, at) => 61_800 + (at % 97) / 10);
  const noise = Float64Array.from({ length: ROWS }, (_, at) => Math.sin(at * 12.9898) * 43758.5453);
  const validity = new Uint8Array(Math.ceil(ROWS / 8)).fill(0b1101_1111);
  const words = Array.from({ length: ROWS }, (_, at) => Buffer.from(at % 3 === 0 ? "buy" : "sell é"));
  const offsets = new Int32Array(ROWS + 1);
  words.forEach((word, at) => {
    offsets[at + 1] = offsets[at]! + word.length;
  });
  return {
    rows: ROWS,
    columns: [
      { name: "ts", type: "i64", unit: "ns", rows: ROWS, values: ts },
      { name: "price", type: "f64", rows: ROWS, values: price },
      { name: "noise", type: "f64", rows: ROWS, values: noise, validity },
      { name: "side", type: "utf8", rows: ROWS, values: new Uint8Array(Buffer.concat(words)), offsets },
      { name: "size", type: "u8", rows: ROWS, values: Uint8Array.from({ length: ROWS }, (_, at) => at) },
    ],
  };
}

const bytesOf = (tables: Table[], options: WriteTablesOptions) => collect(writeTables(tables, options));

describe.skipIf(polars === undefined)(`Arrow files, as Polars reads them${polarsSkipped}`, () => {
  for (const buffers of ["none", "lz4", "zstd"] as const) {
    it(`accepts buffers ${buffers}, every value equal`, async () => {
      const whole = table();
      const frame = polars!.readIPC(Buffer.from(await bytesOf([whole, whole], { format: "arrow", buffers })));
      expect(frame.height).toBe(2 * ROWS);
      for (const name of ["price", "noise", "side", "size"]) {
        const column = whole.columns.find((each) => each.name === name)!;
        const expected = Array.from({ length: ROWS }, (_, row) => cellAt(column, row));
        expect(frame.getColumn(name).toArray(), name).toEqual([...expected, ...expected]);
      }
    });
  }
});

describe.skipIf(!hasDuck)(`Parquet files, as DuckDB reads them${duckSkipped}`, () => {
  it("accepts them, every value equal, and we read what it writes", async () => {
    const duck = await openDuck();
    const whole = table();
    const path = join(directory, "t.parquet");
    writeFileSync(path, await bytesOf([whole, whole], { format: "parquet" }));
    const rows = await duck.runAndReadAll(
      `select epoch_ns(ts)::varchar, price, noise, side, size from '${path}' limit ${ROWS}`,
    );
    const expected = Array.from({ length: ROWS }, (_, row) =>
      whole.columns.map((column) => {
        const value = cellAt(column, row);
        return column.name === "ts" ? String(value) : value;
      }),
    );
    expect(rows.getRowsJson()).toEqual(expected);
    for (const codec of ["zstd", "snappy", "gzip", "lz4_raw", "uncompressed"]) {
      const back = join(directory, `${codec}.parquet`);
      await duck.run(`copy (select * from '${path}') to '${back}' (format parquet, codec '${codec}')`);
      const { readTable } = await import("../../formats/tables/files.ts");
      const { createReadStream } = await import("node:fs");
      const read = await readTable({
        name: back,
        stream: () => createReadStream(back) as AsyncIterable<Uint8Array>,
      });
      expect(read.rows, codec).toBe(2 * ROWS);
      for (const [at, column] of whole.columns.entries()) {
        for (const row of [0, 1, 5, 777, ROWS - 1])
          expect(cellAt(read.columns[at]!, row), codec).toEqual(cellAt(column, row));
      }
    }
  });
});
