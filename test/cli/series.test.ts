import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { tableFromIPC } from "apache-arrow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

/** The built command line on a store of its own: files go in and come out. */
const main = join(import.meta.dirname, "../../dist/cli/main.js");
const CSV = "ts,price,note\n1000,61800.25,a\n2000,-0.5,\n3000,61801,b\n";

let scratch: string;
beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), "varve-cli-series-"));
  writeFileSync(join(scratch, "trades.csv"), CSV);
  const imported = await varve(
    "series",
    "import",
    "trades",
    file("trades.csv"),
    "--ts",
    "ts",
    "--unit",
    "ms",
  );
  expect(imported).toMatchObject({ exitCode: 0 });
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const file = (name: string) => join(scratch, name);

async function varve(...argv: string[]): Promise<{ exitCode: number; out: string; err: string }> {
  const all = [main, "--store", file("store"), "--json", ...argv];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, all);
    return { exitCode: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { exitCode: code, out: stdout, err: stderr };
  }
}

describe("varve series export", () => {
  const cases: [name: string, format: string, looks: (bytes: Buffer) => void][] = [
    ["t.csv", "csv", (bytes) => expect(bytes.toString().split("\n")[2]).toContain("-0.5")],
    ["t.csv.gz", "csv", (bytes) => expect(gunzipSync(bytes).toString()).toContain("61800.25")],
    ["t.ndjson", "ndjson", (bytes) => expect(JSON.parse(bytes.toString().split("\n")[0]!).note).toBe("a")],
    ["t.arrow", "arrow", (bytes) => expect(tableFromIPC(bytes).numRows).toBe(3)],
    ["t.parquet", "parquet", (bytes) => expect(bytes.subarray(0, 4).toString()).toBe("PAR1")],
    ["t.dat", "csv", (bytes) => expect(bytes.toString()).toMatch(/^ts,price,note\n/)],
  ];

  it.each(cases)("writes %s as %s, by the file's name", async (name, format, looks) => {
    const { exitCode, out, err } = await varve("series", "export", "trades", "--out", file(name));
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
    expect(JSON.parse(out)).toMatchObject({ series: "trades", format, rows: 3 });
    looks(readFileSync(file(name)));
  });

  it("lets --format overrule the name, and refuses one it does not know, and a file that is there", async () => {
    const named = await varve("series", "export", "trades", "--out", file("u.csv"), "--format", "ndjson");
    expect(named.exitCode).toBe(0);
    expect(readFileSync(file("u.csv"), "utf8").startsWith("{")).toBe(true);
    expect((await varve("series", "export", "trades", "--out", file("u.csv"))).exitCode).not.toBe(0);
    expect(readFileSync(file("u.csv"), "utf8").startsWith("{")).toBe(true);
    const unknown = await varve("series", "export", "trades", "--out", file("v.csv"), "--format", "xls");
    expect(unknown.exitCode).toBe(2);
    expect(unknown.err).toContain("parquet");
  });
});

describe("varve series stats, as-of and range", () => {
  it("print the fields that scripts read", async () => {
    const stats = JSON.parse((await varve("series", "stats", "trades")).out);
    expect(stats).toMatchObject({ rows: 3, rawBytes: 3 * 3 * 8, evictedRows: 0 });
    expect(stats.storedBytes).toBeGreaterThan(0);
    expect(Object.keys(stats.columns)).toEqual(["ts", "price", "note"]);
    expect(stats.columns.price).toMatchObject({
      encoding: expect.any(String),
      storedBytes: expect.any(Number),
    });
    const found = JSON.parse((await varve("series", "as-of", "trades", "1970-01-01T00:00:02.999Z")).out);
    expect(JSON.stringify(found)).toContain("-0.5");
    expect((await varve("series", "ls")).out).toContain("trades");
  });

  it("name the row and the column of a cell that is no number", async () => {
    writeFileSync(file("bad.csv"), "ts,price\n1,1.5\n2,2.5\n3,oops\n4,4.5\n");
    const failed = await varve("series", "import", "bad", file("bad.csv"), "--ts", "ts", "--unit", "ms");
    expect(failed.exitCode).not.toBe(0);
    expect(failed.err).toMatch(/price/);
    expect(failed.err).toMatch(/\b[34]\b/);
    const skipping = ["--ts", "ts", "--unit", "ms", "--on-error", "skip"];
    const skipped = await varve("series", "import", "bad2", file("bad.csv"), ...skipping);
    expect(skipped.exitCode).toBe(0);
    expect(JSON.parse((await varve("series", "stats", "bad2")).out).rows).toBe(3);
  });
});
