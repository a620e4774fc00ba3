// How often each store of `varve bench critical` makes something durable for one commit, as the kernel sees it.
//
//   npm run build && node bench/critical-trace.mjs [--directory DIR] [--commits 200] [--json]
//
// Runs each of them alone under strace and counts, between two marks, the calls that make data durable: fsync,
// fdatasync, msync, and writes to a file opened with O_SYNC or O_DSYNC. Files that are opened read-only or never
// synced are not counted, and neither is what a store does before the first mark and after the last.
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    directory: { type: "string", default: tmpdir() },
    commits: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
    child: { type: "string" },
  },
});
const COMMITS = Number(values.commits);
const WARM_UP = 50;
const MARK = "varve-bench-mark";
const CALLS = "openat,close,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,msync,sync_file_range";

if (values.child === undefined) run();
else await commitAlone(values.child);

function run() {
  try {
    execFileSync("strace", ["-V"], { stdio: "ignore" });
  } catch {
    console.error("strace is not installed: nothing was measured");
    process.exitCode = 1;
    return;
  }
  const rows = [];
  for (const name of ["floor", "varve", "better-sqlite3", "lmdb", "classic-level"]) {
    const directory = mkdtempSync(join(values.directory, "varve-trace-"));
    const trace = join(directory, "trace");
    const own = [fileURLToPath(import.meta.url), "--child", name, "--commits", String(COMMITS)];
    const child = spawnSync(
      "strace",
      ["-f", "-qq", "-o", trace, "-e", `trace=${CALLS}`, process.execPath, ...own, "--directory", directory],
      { encoding: "utf8" },
    );
    if (child.status === 0) rows.push({ name, commits: COMMITS, ...count(readFileSync(trace, "utf8")) });
    else rows.push({ name, missing: child.stderr.trim().split("\n")[0] });
    rmSync(directory, { recursive: true, force: true });
  }
  if (values.json) console.log(JSON.stringify(rows, undefined, 2));
  else for (const row of rows) console.log(describe(row));
}

function describe({ name, missing, commits, flushes, writes, bytes, kinds }) {
  if (missing !== undefined) return `${name.padEnd(16)} ${missing}`;
  const how = Object.entries(kinds)
    .map(([kind, times]) => `${times} × ${kind}`)
    .join(", ");
  return (
    `${name.padEnd(16)} ${(flushes / commits).toFixed(2)} durable flushes, ` +
    `${(writes / commits).toFixed(2)} writes of ${Math.round(bytes / commits)} bytes a commit (${how})`
  );
}

/** Between the marks: what made data durable, and the writes to those same files. */
function count(trace) {
  const found = { flushes: 0, writes: 0, bytes: 0, kinds: {} };
  const durableFiles = new Set();
  const started = new Map();
  let isCounting = false;
  for (const line of trace.split("\n")) {
    const pid = line.slice(0, line.indexOf(" "));
    let call = line.slice(pid.length).trim();
    // A call of one thread may be cut in two by one of another.
    if (call.endsWith("<unfinished ...>")) {
      started.set(pid, call.slice(0, -"<unfinished ...>".length));
      continue;
    }
    if (call.startsWith("<...")) call = (started.get(pid) ?? "") + call.slice(call.indexOf(">") + 1);
    const [, name, file] = /^(\w+)\((-?\w+)/.exec(call) ?? [];
    const result = Number(/= (-?\d+)/.exec(call.slice(call.lastIndexOf(")")))?.[1] ?? -1);
    if (name === "openat" && result >= 0) {
      if (/O_D?SYNC/.test(call)) durableFiles.add(String(result));
      else durableFiles.delete(String(result));
    } else if (name === "close") durableFiles.delete(file);
    else if (call.includes(MARK)) isCounting = !isCounting;
    else if (isCounting && result >= 0)
      note(found, { name, result, isDurable: durableFiles.has(file), file });
  }
  return found;
}

function note(found, { name, result, isDurable, file }) {
  const isWrite = name.includes("write");
  if (isWrite && Number(file) > 2 && result > 8) {
    found.writes++;
    found.bytes += result;
  }
  const kind = isWrite ? (isDurable ? `${name} to an O_DSYNC file` : undefined) : name;
  if (kind === undefined) return;
  found.flushes++;
  found.kinds[kind] = (found.kinds[kind] ?? 0) + 1;
}

/** The child: some commits, a mark, the commits that count, a mark. */
async function commitAlone(name) {
  const { Place } = await import("../dist/cli/bench/place.js");
  const { openPeers } = await import("../dist/cli/bench/peers.js");
  const { key, order } = await import("../dist/cli/bench/workload.js");
  const place = new Place(values.directory);
  let commit;
  if (name === "floor") commit = place.openFloor("floor").write;
  else if (name === "varve") {
    const critical = place.openPartition("varve");
    const orders = critical.map("orders", { version: 1 });
    commit = (at, value) => critical.commit((tx) => tx.put(orders, at, value));
  } else {
    const { installed, missing } = await openPeers(place.directory, name);
    if (installed.length === 0) {
      console.error(missing[0].reason);
      process.exit(1);
    }
    commit = installed[0].commit;
  }
  const mark = () => writeSync(2, `${MARK}\n`);
  for (let i = 0; i < WARM_UP; i++) await commit(key(i), order(i));
  // What opening left to do in the background is not part of a commit.
  await new Promise((resolve) => setTimeout(resolve, 300));
  mark();
  for (let i = 0; i < COMMITS; i++) {
    const pending = commit(key(WARM_UP + i), order(WARM_UP + i));
    if (pending instanceof Promise) await pending;
  }
  mark();
  process.exit(0);
}
