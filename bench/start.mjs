// How fast programs start: loading the library, opening a store and loading 100 MB of features, the strategy example up
// to its first decision. Every round is a process of its own, in turn with a bare one; the floors are in the same process.
//
//   npm run build && node bench/start.mjs [--rounds 7] [--json]
//
// With VARVE_DATA (default ../shared/data) real market data is repeated to 100 MB too, else only numbers that do not
// compress and counters that do.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openStore } from "../dist/index.js";
import { median, table } from "./lib/tables.mjs";

const { values: flags } = parseArgs({
  options: { json: { type: "boolean", default: false }, rounds: { type: "string", default: "7" } },
});
const rounds = Number(flags.rounds);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const scratch = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-start-"));
const directory = join(scratch, "features");
const SIZE_BYTES = 100_000_000;

function run(args) {
  const startMs = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  return { ms: performance.now() - startMs, stdout };
}

const numbers = (names, rows, values) => ({
  rows,
  columns: names.map((name, at) => ({ name, type: "f64", rows, values: values(at) })),
});

/** The numbers of a market data file, again and again. */
function repeated({ rows, columns }) {
  const kept = columns.filter(({ values }) => values.BYTES_PER_ELEMENT === 8);
  const times = Math.ceil(SIZE_BYTES / (rows * 8 * kept.length));
  return {
    rows: rows * times,
    columns: kept.map(({ name, type, unit, values }) => {
      const all = new values.constructor(rows * times);
      for (let i = 0; i < times; i++) all.set(values, i * rows);
      return { name, type, ...(unit && { unit }), rows: rows * times, values: all };
    }),
  };
}

async function prepare() {
  const store = await openStore(directory, { create: true });
  const names = Array.from({ length: 12 }, (_, i) => `f${i}`);
  const rows = Math.round(SIZE_BYTES / 12 / 8);
  const made = {
    "full-precision": numbers(names, rows, (at) =>
      Float64Array.from({ length: rows }, (_, i) => Math.cos(i * (at + 1))),
    ),
    counters: numbers(names, rows, (at) =>
      Float64Array.from({ length: rows }, (_, i) => ((i * (at + 3)) % 9973) / 100),
    ),
  };
  const market = join(resolve(process.env.VARVE_DATA ?? "../shared/data"), "market");
  for (const [name, file] of [
    ["real features", "features_btcperp.csv.gz"],
    ["real bars", "bars1m_btcperp.csv.gz"],
  ]) {
    if (!existsSync(join(market, file))) continue;
    await store.publishFeatures("file", join(market, file));
    made[name] = repeated(await store.features.loadColumns("file"));
  }
  for (const [name, features] of Object.entries(made))
    await store.features.publish(name.replace(" ", "-"), features);
  await store.close();
  return Object.keys(made).map((name) => name.replace(" ", "-"));
}

const all = {};
const note = (row, values) => {
  all[row] ??= {};
  for (const [key, value] of Object.entries(values)) {
    all[row][key] ??= [];
    all[row][key].push(value);
  }
};

try {
  const names = await prepare();
  const strategy = join(scratch, "strategy");
  run([here("../dist/examples/strategy.js"), "prepare", strategy]);
  for (let round = 0; round < rounds; round++) {
    note("a bare process", { total: run(["-e", "0"]).ms });
    note("import", {
      total: run(["--input-type=module", "-e", `await import("${here("../dist/index.js")}")`]).ms,
    });
    note("varve --version", { total: run([here("../dist/cli/main.js"), "--version"]).ms });
    note("strategy", {
      decision: JSON.parse(run([here("../dist/examples/strategy.js"), strategy]).stdout).sinceProcessStartMs,
    });
    for (const name of names) {
      for (const form of ["columns", "arrow"]) {
        if (form === "arrow" && name !== names[0]) continue;
        const { stdout } = run([here("./lib/start-features.child.mjs"), directory, name, form]);
        note(`${name}, ${form}`, JSON.parse(stdout));
      }
    }
  }
  if (flags.json) console.log(JSON.stringify(all, null, 2));
  else {
    const shown = (values) =>
      values === undefined
        ? ""
        : `${median(values).toFixed(0)} (${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)})`;
    const keys = ["total", "decision", "import", "first", "second", "floorRead", "floorHash", "floorFaults"];
    console.log("milliseconds: median (least–most)");
    console.log(
      table(
        ["", ...keys],
        Object.entries(all).map(([row, values]) => [row, ...keys.map((key) => shown(values[key]))]),
      ),
    );
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
