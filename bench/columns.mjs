// Ratio and speed of the column encodings on market data, beside Parquet with zstd as DuckDB writes it.
//
//   npm run build && node bench/columns.mjs [ratio] [speed] [recipes] [--columns] [--json]
//
// Data: VARVE_DATA (default ../shared/data beside the project), its folder market; skipped when it is not there. Segments
// of 65,536 rows; all bytes of the encoded columns count, and 8 bytes a value are the raw size. Every column is decoded
// again and compared. Speeds are per second of processor time on one core, all threads of the process counted, medians of
// alternating rounds after a few that warm up. Decoding goes into Arrow buffers that exist already. Beside it, in the same
// rounds, are what no decoder can beat: filling these buffers, and copying as many values into them. `recipes` finds recipes for
// the files of features and stores them with those.
import { Buffer } from "node:buffer";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadColumnCodec } from "../dist/src/series/columns/column-codec.js";
import { describe, machine } from "./lib/machine.mjs";
import { marketFiles, sliceRows } from "./lib/market.mjs";

const SEGMENT_ROWS = 65_536;
const ENCODE_ROUNDS = 5;
const DECODE_ROUNDS = 21;
const WARM_ROUNDS = 4;
const root = fileURLToPath(new URL("..", import.meta.url));
const data = process.env.VARVE_DATA ?? join(root, "../shared/data");
const asked = new Set(process.argv.slice(2));
const wants = (what) => !["ratio", "speed", "recipes"].some((name) => asked.has(name)) || asked.has(what);
const report = {};
const say = (line) => asked.has("--json") || console.log(line);

const files = marketFiles(data);
if (files === undefined) {
  console.error(`skipped: no market data in ${data} (VARVE_DATA names another place)`);
  process.exit(0);
}
const codec = await loadColumnCodec();
const tables = files.map(({ name, file, load }) => ({ name, file, columns: load() }));
say(describe(machine(tmpdir())));

const isFeatures = ({ name }) => name.startsWith("features");
const rowsOf = ({ columns }) => columns[0].rows;
const rawBytes = (table) => table.columns.length * rowsOf(table) * 8;
const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);

function segmentsOf({ columns }) {
  const segments = [];
  for (let from = 0; from < columns[0].rows; from += SEGMENT_ROWS) {
    segments.push(sliceRows(columns, from, Math.min(columns[0].rows, from + SEGMENT_ROWS)));
  }
  return segments;
}

/** Encoded bytes of a table, each segment decoded and compared. */
function store(table, options) {
  const byColumn = new Map();
  for (const segment of segmentsOf(table)) {
    const encoded = codec.encode(segment, options);
    const decoder = codec.decoder(encoded, segment[0].rows);
    for (const [i, { name, bytes, encoding }] of encoded.entries()) {
      if (Buffer.compare(bytesOf(decoder.decode(name).values), bytesOf(segment[i].values)) !== 0) {
        throw new Error(`${table.name}: column ${name} came back changed`);
      }
      const known = byColumn.get(name) ?? { bytes: 0, encoding };
      byColumn.set(name, { ...known, bytes: known.bytes + bytes.length });
    }
  }
  return { bytes: sum([...byColumn.values()], ({ bytes }) => bytes), byColumn };
}

const bytesOf = (values) => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

async function parquetSizes() {
  let duckdb;
  try {
    duckdb = await import("@duckdb/node-api");
  } catch {
    say("skipped: Parquet (run npm ci in bench/ for DuckDB)");
    return undefined;
  }
  const directory = mkdtempSync(join(tmpdir(), "varve-bench-columns-"));
  try {
    const connection = await (await duckdb.DuckDBInstance.create(":memory:")).connect();
    const sizes = new Map();
    for (const { name, file, columns } of tables) {
      const target = join(directory, `${name}.parquet`);
      const types = columns.map((column) => `'${column.name}': '${SQL_TYPES[column.type]}'`).join(", ");
      await connection.run(
        `COPY (SELECT * FROM read_csv('${file}', header = true, nullstr = '', columns = {${types}}))
         TO '${target}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${SEGMENT_ROWS})`,
      );
      sizes.set(name, statSync(target).size);
    }
    return sizes;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
const SQL_TYPES = { f64: "DOUBLE", i64: "BIGINT", u8: "UTINYINT" };

async function ratios() {
  const parquet = await parquetSizes();
  const rows = tables.map((table) => {
    const { bytes, byColumn } = store(table, { profile: "compact" });
    const light = store(table, { profile: "light" }).bytes;
    return {
      table,
      name: table.name,
      raw: rawBytes(table),
      compact: bytes,
      light,
      parquet: parquet?.get(table.name),
      byColumn,
    };
  });
  say(
    `\n${"file".padEnd(34)}${"compact".padStart(9)}${"light".padStart(9)}${"parquet".padStart(9)}   raw / stored`,
  );
  const line = (name, list) => {
    const raw = sum(list, (row) => row.raw);
    const ratio = (of) => (raw / sum(list, of)).toFixed(2).padStart(9);
    say(
      `${name.padEnd(34)}${ratio((row) => row.compact)}${ratio((row) => row.light)}${parquet ? ratio((row) => row.parquet) : ""}`,
    );
    return {
      compact: raw / sum(list, (row) => row.compact),
      light: raw / sum(list, (row) => row.light),
      parquet: parquet && raw / sum(list, (row) => row.parquet),
    };
  };
  for (const row of rows) {
    line(row.name, [row]);
    if (!asked.has("--columns")) continue;
    for (const [name, { bytes, encoding }] of row.byColumn)
      say(`    ${name.padEnd(12)}${String(bytes).padStart(9)}  ${encoding}`);
  }
  const market = rows.filter((row) => !isFeatures(row.table));
  report.withoutFeatures = { ...line("all without features_*", market), must: 12, aim: 13.5 };
  report.all = { ...line("all, no recipes", rows), must: 5.9, aim: 6.2 };
  if (parquet) {
    report.besideParquet = {
      ratio: report.withoutFeatures.compact / report.withoutFeatures.parquet,
      ratioOfAll: report.all.compact / report.all.parquet,
      must: 1.8,
    };
    say(
      `beside Parquet-zstd: ${report.besideParquet.ratio.toFixed(2)} times its ratio without features_*, ${report.besideParquet.ratioOfAll.toFixed(2)} with`,
    );
  }
  return rows;
}

function recipes() {
  const stored = tables.map((table) => {
    if (!isFeatures(table)) return { table, bytes: store(table, {}).bytes };
    const start = performance.now();
    const found = codec.inferRecipes(table.columns);
    const seconds = (performance.now() - start) / 1000;
    const derive = Object.fromEntries(found.map(({ column, recipe }) => [column, recipe]));
    const { bytes } = store(table, { derive });
    say(`\n${table.name}: ${found.length} recipes in ${seconds.toFixed(1)} s`);
    for (const { column, recipe, plainBytes, derivedBytes } of found) {
      say(
        `    ${column.padEnd(12)}${String(plainBytes).padStart(8)} → ${String(derivedBytes).padStart(6)}  ${JSON.stringify(recipe)}`,
      );
    }
    return { table, bytes };
  });
  const ratio = (list) => sum(list, ({ table }) => rawBytes(table)) / sum(list, ({ bytes }) => bytes);
  const features = ratio(stored.filter(({ table }) => isFeatures(table)));
  report.recipes = {
    features,
    all: ratio(stored),
    must: { features: 2.5, all: 8 },
    aim: { features: 3, all: 8.9 },
  };
  say(`with inferred recipes: features_* ${features.toFixed(2)}, all files ${report.recipes.all.toFixed(2)}`);
}

const processorMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

function speeds() {
  const jobs = tables.flatMap((table) => segmentsOf(table));
  const raw = sum(jobs, (segment) => segment.length * segment[0].rows * 8);
  const outs = jobs.map((segment) => segment.map(({ values }) => new values.constructor(values.length)));
  const eachColumn = (work) => {
    for (const [i, segment] of jobs.entries())
      for (const [k, column] of segment.entries()) work(outs[i][k], column);
  };
  // The floors move as many bytes as are counted: 8 of each value, where a flag's buffer has one.
  const wide = outs.map((columns) => columns.map(({ length }) => new Float64Array(length)));
  const from = wide.map((columns) => columns.map((values) => values.slice()));
  const decode = (encoded) => {
    for (const [i, segment] of jobs.entries()) {
      const { rows } = segment[0];
      const decoder = codec.decoder(encoded[i], rows);
      for (const [k, { name }] of segment.entries()) decoder.decode(name, 0, rows, outs[i][k]);
    }
  };
  const stored = {};
  const encodings = ["light", "compact"].map((profile) => [
    `encode ${profile}`,
    () => {
      stored[profile] = jobs.map((segment) => codec.encode(segment, { profile }));
    },
  ]);
  const encodeTimes = measure(new Map(encodings), ENCODE_ROUNDS, 1);
  const decodeTimes = measure(
    new Map([
      ["fill", () => eachPair(wide, (values, i, k) => values.fill(i + k))],
      ["copy", () => eachPair(wide, (values, i, k) => values.set(from[i][k]))],
      ["decode light", () => decode(stored.light)],
      ["decode compact", () => decode(stored.compact)],
    ]),
    DECODE_ROUNDS,
    WARM_ROUNDS,
  );
  eachColumn((out, { name, values }) => {
    if (Buffer.compare(bytesOf(out), bytesOf(values)) !== 0)
      throw new Error(`column ${name} came back changed`);
  });
  say(
    `\n${"".padEnd(18)}${"GB/s of 8-byte values".padStart(24)}   one core, median (slowest to fastest), times a copy`,
  );
  report.speed = {};
  const copyMs = median(decodeTimes.get("copy"));
  for (const [what, times] of [...decodeTimes, ...encodeTimes]) {
    const speed = (ms) => (raw / ms / 1e6).toFixed(3);
    const copies = median(times) / copyMs;
    report.speed[what] = { median: raw / median(times) / 1e6, best: raw / Math.min(...times) / 1e6, copies };
    say(
      `${what.padEnd(18)}${speed(median(times)).padStart(24)}   (${speed(Math.max(...times))} to ${speed(Math.min(...times))})   ${copies.toFixed(1)}`,
    );
  }
  say("must: decode light 2.5, compact 1; encode 0.06");
}

function eachPair(arrays, work) {
  for (const [i, columns] of arrays.entries())
    for (const [k, values] of columns.entries()) work(values, i, k);
}

/** Milliseconds of every round of each job, the jobs alternating; the first `warm` rounds do not count. */
function measure(jobs, rounds, warm) {
  const times = new Map([...jobs.keys()].map((what) => [what, []]));
  for (let round = -warm; round < rounds; round++) {
    for (const [what, work] of jobs) {
      const start = processorMs();
      work();
      if (round >= 0) times.get(what).push(processorMs() - start);
    }
  }
  return times;
}

if (wants("ratio")) await ratios();
if (wants("recipes")) recipes();
if (wants("speed")) speeds();
if (asked.has("--json")) console.log(JSON.stringify(report));
