// What market data takes as sealed series, and what reading a range costs, beside Parquet-zstd (DuckDB) and Arrow IPC
// with zstd, and joining trades with quotes as of their time, in one run. Every file is imported, sealed, exported as CSV and compared with itself, value by value.
//
//   npm run build && node bench/series.mjs [--json]
//
// Needs VARVE_DATA (default ../shared/data) with market/*.csv.gz; says so and measures nothing without it. Appends and
// as-of reads alone: `varve bench series`.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import { openStore } from "../dist/index.js";
import { joinTrades } from "./lib/series-join.mjs";
import { exact, median, table } from "./lib/tables.mjs";

const { values: flags } = parseArgs({ options: { json: { type: "boolean", default: false } } });
const data = join(resolve(process.env.VARVE_DATA ?? "../shared/data"), "market");
if (!existsSync(data)) {
  console.error(`skipped: there is no ${data}; set VARVE_DATA`);
  process.exit(0);
}
const scratch = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-series-"));
const { DuckDBInstance } = await import("@duckdb/node-api");
const duck = await (await DuckDBInstance.create(":memory:")).connect();

/** Cells that do not come back as the same number, or the same text. */
function differences(original, exported) {
  const rows = (text) =>
    text
      .trimEnd()
      .split("\n")
      .map((line) => line.replace(/\r$/, "").split(","));
  const [before, after] = [rows(original), rows(exported)];
  if (before.length !== after.length) return before.length;
  let count = 0;
  for (let row = 0; row < before.length; row++) {
    for (let at = 0; at < before[row].length; at++) {
      const [a, b] = [before[row][at], after[row]?.[at]];
      if (a === b) continue;
      const same =
        a.toLowerCase() === "nan" ? b === "nan" : Object.is(Number(a), Number(b)) && /[.e]/.test(b);
      if (!same) count++;
    }
  }
  return count;
}

async function timed(call) {
  const samples = [];
  for (let i = 0; i < 5; i++) {
    const startMs = performance.now();
    await call();
    samples.push(performance.now() - startMs);
  }
  return median(samples);
}

async function bench(store, file) {
  const path = join(data, file);
  const name = file.replace(/\..*$/, "");
  const first = gunzipSync(readFileSync(path)).toString("latin1");
  const header = first.slice(0, first.indexOf("\n")).split(",");
  const ts = ["local_ts", "ts_recv", "ts"].find((column) => header.includes(column));
  const unit = /^bars|^features/.test(name) ? "us" : "ns";
  await store.importSeries(name, path, ts === undefined ? {} : { ts, unit });
  let csv = "";
  for await (const bytes of store.exportSeries(name, { format: "csv" }))
    csv += Buffer.from(bytes).toString("latin1");
  const arrow = [];
  for await (const bytes of store.exportSeries(name, { format: "arrow" })) arrow.push(bytes);
  const { tableFromIPC } = await import("apache-arrow");
  const { zstdCompressSync } = await import("node:zlib");
  const series = store.series.open(name, { readOnly: true });
  const stats = await series.stats();
  const parquet = join(scratch, `${name}.parquet`);
  await duck.run(
    `COPY (SELECT * FROM read_csv('${path}')) TO '${parquet}' (FORMAT parquet, COMPRESSION zstd)`,
  );
  const column = header.at(-1);
  const [fromRow, toRow] = [Math.floor(stats.rows * 0.4), Math.floor(stats.rows * 0.5)];
  const plain = Buffer.concat(arrow);
  if (tableFromIPC(plain).numRows !== stats.rows) throw new Error(`${name}: Arrow has other rows`);
  return {
    file,
    rows: stats.rows,
    wrong: differences(first, csv),
    rawBytes: stats.rawBytes,
    varve: stats.storedBytes,
    parquetZstd: statSync(parquet).size,
    // Node has zstd from 22.15 on.
    arrowZstd: zstdCompressSync?.(plain).length,
    rangeMs: await timed(async () => {
      for await (const _ of series.range({ fromRow, toRow, columns: [column] }).runs());
    }),
    duckRangeMs: await timed(() =>
      duck.runAndReadAll(`SELECT "${column}" FROM '${parquet}' LIMIT ${toRow - fromRow} OFFSET ${fromRow}`),
    ),
  };
}

const store = await openStore(join(scratch, "store"), { create: true });
try {
  const results = [];
  for (const file of readdirSync(data).filter((name) => name.endsWith(".csv.gz")))
    results.push(await bench(store, file));
  const joined = await joinTrades({ store, duck, directory: scratch, timed });
  if (flags.json) console.log(JSON.stringify({ files: results, asOfJoin: joined }, null, 2));
  else {
    const ratio = (raw, bytes) => (bytes === undefined ? "–" : (raw / bytes).toFixed(2));
    const columns = [
      "file",
      "rows",
      "wrong cells",
      "varve",
      "Parquet-zstd",
      "Arrow+zstd",
      "range ms",
      "DuckDB ms",
    ];
    const row = (each) => [
      each.file,
      exact(each.rows),
      each.wrong,
      ratio(each.rawBytes, each.varve),
      ratio(each.rawBytes, each.parquetZstd),
      ratio(each.rawBytes, each.arrowZstd),
      each.rangeMs.toFixed(2),
      each.duckRangeMs.toFixed(2),
    ];
    console.log(table(columns, results.map(row)));
    for (const [what, some] of [
      ["all files", results],
      ["without features_*", results.filter(({ file }) => !file.startsWith("features_"))],
    ]) {
      const sum = (key) => some.reduce((total, each) => total + each[key], 0);
      const [varve, parquet] = [sum("varve"), sum("parquetZstd")].map((bytes) =>
        ratio(sum("rawBytes"), bytes),
      );
      console.log(`${what}: varve ${varve}, Parquet-zstd ${parquet} (8 bytes a value ÷ stored)`);
    }
    if (joined === undefined) console.log("as-of join: skipped, there are no trades and quotes");
    else {
      const { rows, matched, ownMatched, bidsDiffer, varveMs, duckMs } = joined;
      console.log(
        `as-of join of ${exact(rows)} trades with quotes: varve ${varveMs.toFixed(1)} ms, DuckDB from Parquet ` +
          `${duckMs.toFixed(1)} ms; matched ${exact(ownMatched)} and ${exact(matched)}, bids differ by ${bidsDiffer}`,
      );
    }
  }
} finally {
  await store.close();
  rmSync(scratch, { recursive: true, force: true });
}
