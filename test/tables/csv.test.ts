import { gzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collect } from "../../formats/compression/streams.ts";
import { inferCsv, readCsv } from "../../formats/csv/reader.ts";
import { type ReadTablesOptions, readTable, writeTables } from "../../formats/tables/files.ts";
import { type Table, typeText } from "../../formats/tables/table.ts";
import { ROW_BYTES_MAX } from "../../src/limits.ts";
import { cellAt } from "./cell-at.ts";
import { chunks, textTable } from "./contents.ts";
import { checkAsync } from "./property.ts";

const read = (text: string, options: ReadTablesOptions = {}) => readTable(textTable(text), options);
const typesOf = (table: Table) => table.columns.map(typeText);
const column = (table: Table, at = 0) =>
  Array.from({ length: table.rows }, (_, row) => cellAt(table.columns[at]!, row));

describe("types inferred from a CSV file", () => {
  const cases: [what: string, cells: string[], type: string][] = [
    ["whole numbers", ["1", "-2", "+3", "0"], "i64"],
    ["the largest i64", ["9223372036854775807", "-9223372036854775808"], "i64"],
    ["one past the largest i64", ["9223372036854775808", "1"], "u64"],
    ["the largest u64", ["18446744073709551615"], "u64"],
    ["past u64, and no double", ["18446744073709551617"], "utf8"],
    ["past i64 beside a negative number", ["9223372036854775809", "-1"], "utf8"],
    ["a float as large as that, printed in full", ["12345678901234567000", "0.5"], "f64"],
    ["an integer no double equals beside a float", ["9007199254740993", "0.5"], "utf8"],
    ["decimals", ["1.5", "2", "-0.25"], "f64"],
    ["exponents and bare points", ["1e5", ".5", "5.", "-1E-3"], "f64"],
    ["negative zero", ["-0", "1"], "f64"],
    ["not a number and infinities", ["nan", "NaN", "inf", "-Infinity"], "f64"],
    ["truth", ["true", "False", "TRUE"], "bool"],
    ["codes with leading zeros", ["007", "012"], "utf8"],
    ["words", ["buy", "sell"], "utf8"],
    ["nothing at all", ["", ""], "utf8"],
    ["spaces around numbers", [" 1", "2 "], "i64"],
  ];
  for (const [what, cells, type] of cases) {
    it(`${what}: ${type}`, async () => {
      expect(typesOf(await read(`x,y\n${cells.map((cell) => `${cell},1`).join("\n")}\n`))[0]).toBe(type);
    });
  }

  it("keeps integers beyond 2^53 exact", async () => {
    const table = await read(
      "x\n9007199254740993\n-9007199254740995\n9223372036854775807\n-9223372036854775808\n",
    );
    expect(column(table)).toEqual([9007199254740993n, -9007199254740995n, 2n ** 63n - 1n, -(2n ** 63n)]);
  });

  it("reads every double from its shortest text, whatever path the text takes", () =>
    checkAsync(
      fc.array(fc.double({ noNaN: true }), { minLength: 1, maxLength: 30 }),
      async (values) => {
        const table = await read(`x\n${values.map(String).join("\n")}\n`, { types: { x: "f64" } });
        expect(column(table)).toEqual(values.map((value) => (Object.is(value, -0) ? 0 : value)));
      },
      200,
    ));

  it("takes an empty cell for null and an empty text in quotes for a text", async () => {
    expect(column(await read('s,n\n,1\n"",\na,3\n'))).toEqual([null, "", "a"]);
  });
});

describe("rows of a CSV file", () => {
  it("agrees with another parser on any cells, in pieces of any size", () =>
    checkAsync(
      fc.tuple(
        fc.integer({ min: 1, max: 4 }).chain((width) =>
          fc.array(
            fc.array(fc.oneof(fc.constantFrom("a", '"', ",", "\n", "\r\n", "x y", "é", '""'), fc.string()), {
              minLength: width,
              maxLength: width,
            }),
            { minLength: 1, maxLength: 12 },
          ),
        ),
        fc.integer({ min: 1, max: 40 }),
        fc.constantFrom("\n", "\r\n"),
      ),
      async ([rows, pieceBytes, newline]) => {
        const quote = (cell: string) => `"${cell.replaceAll('"', '""')}"`;
        const header = rows[0]!.map((_, at) => `c${at}`);
        const text = `${[header, ...rows].map((row) => row.map(quote).join(",")).join(newline)}${newline}`;
        const expected = parse(text, { columns: false, from_line: 2 }) as string[][];
        expect(expected.length).toBe(rows.length);
        const types = Object.fromEntries(header.map((name) => [name, "utf8" as const]));
        const source = { name: "t.csv", stream: () => chunks(Buffer.from(text), pieceBytes) };
        const table = await readTable(source, { types });
        const found = Array.from({ length: table.rows }, (_, row) =>
          table.columns.map((each) => cellAt(each, row)),
        );
        expect(found).toEqual(rows);
      },
      150,
    ));

  it("reads LF and CRLF, with and without the last one, behind a byte order mark", async () => {
    for (const text of ["a,b\n1,2\n3,4", "a,b\r\n1,2\r\n3,4\r\n", "\ufeffa,b\n1,2\n\n3,4\n"]) {
      const table = await read(text);
      expect(table.columns.map((each) => each.name)).toEqual(["a", "b"]);
      expect(column(table, 1)).toEqual([2n, 4n]);
    }
  });

  it("names row and column of a cell that is no number, or leaves the row out", async () => {
    const text = "ts,price\n1,1.5\n2,abc\n3,2.5\n4,3.5\n";
    await expect(read(text)).rejects.toMatchObject({
      code: "ERR_FORMAT_CSV",
      context: { row: 2, column: "price", text: "abc" },
    });
    const skipped: unknown[] = [];
    const table = await read(text, { onError: "skip", onSkip: (row) => skipped.push(row) });
    expect(column(table)).toEqual([1n, 3n, 4n]);
    expect(column(table, 1)).toEqual([1.5, 2.5, 3.5]);
    expect(skipped).toEqual([{ row: 2, column: "price", what: '"abc" is no f64' }]);
  });

  it("names a row of another width, and one whose quote is never closed", async () => {
    await expect(read("a,b\n1,2\n3\n")).rejects.toMatchObject({
      code: "ERR_FORMAT_CSV",
      context: { row: 2 },
    });
    await expect(read('a,b\n1,"2\n')).rejects.toMatchObject({ code: "ERR_FORMAT_CSV" });
    const table = await read("a,b\n1,2\n3\n4,5,6\n7,8\n", { onError: "skip" });
    expect(column(table)).toEqual([1n, 7n]);
  });

  it("refuses a column named twice, one without a name, and an empty file", async () => {
    for (const text of ["a,a\n1,2\n", "a,\n1,2\n", ""]) {
      await expect(read(text)).rejects.toMatchObject({ code: "ERR_FORMAT_CSV" });
    }
  });

  it("refuses a row over the limit instead of holding the file", async () => {
    const endless = async function* () {
      yield Buffer.from('a\n"');
      for (let i = 0; i <= ROW_BYTES_MAX / (1 << 20); i++) yield Buffer.alloc(1 << 20, 0x78);
    };
    await expect(inferCsv(endless())).rejects.toMatchObject({ code: "ERR_LIMIT" });
  });

  it("hands out batches of the size asked for", async () => {
    const text = `x\n${Array.from({ length: 1000 }, (_, at) => at).join("\n")}\n`;
    const fields = [{ name: "x", type: "i64" as const }];
    const sizes: number[] = [];
    const all: bigint[] = [];
    for await (const batch of readCsv(chunks(Buffer.from(text), 100), fields, { batchRows: 300 })) {
      sizes.push(batch.rows);
      all.push(...(batch.columns[0]!.values as BigInt64Array));
    }
    expect(sizes).toEqual([300, 300, 300, 100]);
    expect(all).toEqual(Array.from({ length: 1000 }, (_, at) => BigInt(at)));
  });

  it("says that a gzip file was cut off", async () => {
    const whole = gzipSync(Buffer.from(`x\n${"12345\n".repeat(20_000)}`));
    const source = { name: "t.csv.gz", stream: () => chunks(whole.subarray(0, whole.length - 20), 1000) };
    await expect(readTable(source)).rejects.toMatchObject({ code: "ERR_FORMAT_COMPRESSED" });
  });

  it("writes a file that reads back as the same text", async () => {
    const text =
      'ts,price,side,ok\n1723161255088176367,61800.3,buy,true\n2,,"a ""b"", c",false\n3,-0.0,,\n4,nan,x,true\n';
    const bytes = await collect(writeTables([await read(text)], { format: "csv" }));
    expect(Buffer.from(bytes).toString()).toBe(text);
  });
});

describe("lines of JSON", () => {
  const readJson = (text: string, options: ReadTablesOptions = {}) =>
    readTable(textTable(text, "t.ndjson"), options);

  it("takes every key for a column, keeps integers exact, and a missing key for null", async () => {
    const table = await readJson('{"a":9007199254740993,"s":"x\\n\\u00e9"}\n{"b":1.5,"a":null}\n');
    expect(table.columns.map((each) => `${each.name} ${typeText(each)}`)).toEqual([
      "a i64",
      "s utf8",
      "b f64",
    ]);
    expect([column(table, 0), column(table, 1), column(table, 2)]).toEqual([
      [9007199254740993n, null],
      ["x\né", null],
      [null, 1.5],
    ]);
  });

  for (const line of [
    '{"a":1',
    '{"a" 1}',
    '{"a":1,}',
    "[1]",
    '{"a":01}',
    '{"a":1}x',
    '{"a":1,"a":2}',
    '{"a":"x}',
    "{a:1}",
  ]) {
    it(`refuses ${line}`, async () => {
      await expect(readJson(`{"a":1}\n${line}\n`)).rejects.toMatchObject({
        code: "ERR_FORMAT_NDJSON",
        context: { row: 2 },
      });
      expect((await readJson(`{"a":1}\n${line}\n{"a":2}\n`, { onError: "skip" })).rows).toBe(2);
    });
  }
});
