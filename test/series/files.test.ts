import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type Store } from "../../index.ts";
import { rowsOf } from "./open.ts";

let directory: string;
let store: Store;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "varve-files-"));
  store = await openStore(join(directory, "store"), { create: true, workers: 0 });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true });
});

function file(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

async function exported(name: string): Promise<string> {
  let text = "";
  for await (const bytes of store.exportSeries(name, { format: "csv" }))
    text += Buffer.from(bytes).toString("utf8");
  return text;
}

describe("an import", () => {
  it("gives back every value, whatever its type, with the file's order and duplicates", async () => {
    const csv =
      "ts,px,big,code,on,mixed,odd\n" +
      "1723161255088176367,0.1,18446744073709551615,007,true,a,nan\n" +
      "1723161255088176365,-0.0,1,010,false,,inf\n" +
      "1723161255088176365,-0.0,1,010,false,,inf\n" +
      '1723161255088176369,5e-324,2,011,true,"x, ""y""",-inf\n';
    const result = await store.importSeries("s", file("a.csv.gz", gzipSync(csv)), { ts: "ts" });
    expect(result).toEqual({ series: "s", rows: 4, skippedRows: 0 });
    expect(await exported("s")).toBe(csv);
    const series = store.series.open("s", { readOnly: true });
    const stats = await series.stats();
    expect(stats).toMatchObject({ rows: 4, rawBytes: 4 * 7 * 8, segments: 1, evictedRows: 0 });
    expect(Object.values(stats.columns).map(({ type }) => type)).toEqual([
      "ts_ns",
      "f64",
      "u64",
      "utf8",
      "bool",
      "utf8",
      "f64",
    ]);
    expect(series.key).toBe("ts");
  });

  it("without a time column keys rows by arrival; a second file goes on behind the first", async () => {
    await store.importSeries("s", file("a.csv", "price\n1.5\n2.25\n"));
    await store.importSeries("s", file("b.ndjson", '{"price":3.5}\n'));
    expect(await exported("s")).toBe("price\n1.5\n2.25\n3.5\n");
  });

  it("sorts by time when asked to, equal times in the file's order", async () => {
    const path = file("a.csv", "ts,n\n30,1\n10,2\n20,3\n10,4\n");
    await store.importSeries("s", path, { ts: "ts", unit: "ms", order: "sort" });
    expect(await exported("s")).toBe("ts,n\n10,2\n10,4\n20,3\n30,1\n");
  });

  it("that is refused leaves nothing of a new series, and says what was wrong", async () => {
    const failing = async (name: string, content: string | Uint8Array, options = {}) => {
      await expect(store.importSeries("bad", file(name, content), options), name).rejects.toMatchObject(
        expectations[name]!,
      );
      expect(store.series.list(), name).toEqual([]);
    };
    const expectations: Record<string, object> = {
      "unsorted.csv": { code: "ERR_CONFLICT" },
      "word.csv": { code: "ERR_FORMAT_CSV", context: { row: 3, column: "px" } },
      "time.csv": { code: "ERR_FORMAT_CSV", context: { row: 2, column: "ts" } },
      "missing.csv": { code: "ERR_FORMAT_CSV", context: { row: 2, column: "ts" } },
      "wide.csv": { code: "ERR_FORMAT_CSV", context: { row: 2 } },
      "cut.csv.gz": { code: "ERR_FORMAT_COMPRESSED" },
      "empty.csv": { code: "ERR_FORMAT_CSV" },
      "other.csv": { code: "ERR_NOT_FOUND" },
    };
    await failing("unsorted.csv", "ts,px\n2,1\n1,2\n", { ts: "ts", order: "reject" });
    await failing("word.csv", "px\n1\n2\nthree\n4\n");
    await failing("time.csv", "ts,px\n1,1\nnoon,2\n", { ts: "ts" });
    await failing("missing.csv", "ts,px\n1,1\n,2\n", { ts: "ts" });
    await failing("wide.csv", "a,b\n1,2\n1,2,3\n");
    const zipped = gzipSync(`a\n${"123456\n".repeat(5000)}`);
    await failing("cut.csv.gz", zipped.subarray(0, zipped.length - 20));
    await failing("empty.csv", "");
    await failing("other.csv", "a,b\n1,2\n", { ts: "ts" });
  });

  it("leaves out bad rows when told to, and counts them", async () => {
    const skipped: unknown[] = [];
    const path = file("a.csv", "px\n1\nx\n3\n4\n");
    const options = { onError: "skip" as const, onSkip: (row: unknown) => skipped.push(row) };
    expect(await store.importSeries("s", path, options)).toMatchObject({ rows: 3, skippedRows: 1 });
    expect(skipped).toMatchObject([{ row: 2, column: "px" }]);
  });

  it("into a series of another schema names the column", async () => {
    await store.importSeries("s", file("a.csv", "a,b\n1,2\n"));
    await expect(store.importSeries("s", file("b.csv", "a,c\n1,2\n"))).rejects.toMatchObject({
      code: "ERR_CONFLICT",
      context: { column: "b" },
    });
    await expect(store.importSeries("s", file("c.csv", "a,b\n1,2.5\n"))).rejects.toMatchObject({
      context: { row: 1, column: "b" },
    });
    expect(await exported("s")).toBe("a,b\n1,2\n");
  });

  it("keeps so much as it is told to", async () => {
    const rows = Array.from({ length: 1000 }, (_, i) => `${i * 1000},${i}`).join("\n");
    await store.importSeries("s", file("a.csv", `ts,n\n${rows}\n`), {
      ts: "ts",
      unit: "ms",
      keep: "100s",
      segmentRows: 50,
    });
    const series = store.series.open("s", { readOnly: true });
    expect((await series.stats()).evictedRows).toBe(850);
    expect((await rowsOf(series))[0]).toMatchObject({ n: 850n });
  });
});

describe("an export", () => {
  it("is read back as the same rows from every format", async () => {
    await store.importSeries("s", file("a.csv", "ts,x,t\n1,0.5,a\n2,,b\n3,nan,\n"), { ts: "ts", unit: "us" });
    const rows = await rowsOf(store.series.open("s", { readOnly: true }));
    for (const format of ["arrow", "parquet", "csv", "ndjson"] as const) {
      const chunks: Uint8Array[] = [];
      for await (const bytes of store.exportSeries("s", { format })) chunks.push(bytes);
      const path = file(`out.${format}`, Buffer.concat(chunks));
      expect(readFileSync(path).length).toBeGreaterThan(0);
      await store.importSeries(format, path, { ts: "ts", unit: "us" });
      expect(await rowsOf(store.series.open(format, { readOnly: true })), format).toEqual(rows);
    }
  });

  it("of no rows is a file of no rows", async () => {
    await store.importSeries("s", file("a.csv", "ts,x\n1,0.5\n"), { ts: "ts" });
    let text = "";
    for await (const bytes of store.exportSeries("s", { format: "csv", fromNs: 5n }))
      text += Buffer.from(bytes);
    expect(text).toBe("ts,x\n");
  });
});
