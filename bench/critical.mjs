// What a durable commit of critical state costs: against the bare device write it cannot beat, and against other
// embedded stores.
//
//   npm run build && node bench/critical.mjs [--dir DIR] [--rounds 3000] [--records 100000] [--json]
//
// Commits, floor writes and the peers' commits alternate one by one in the same process and directory, so that a
// busy machine slows all of them; ratios are the result. `--dir /dev/shm` shows the software's own cost. Peers that
// are not installed are said to be skipped. Every peer does one prepared single-row upsert with one durable flush:
//   lmdb            putSync, overlappingSync off
//   better-sqlite3  WAL, synchronous FULL, prepared INSERT OR REPLACE
//   classic-level   put with sync (asynchronous: its thread hop is part of its cost)
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { Critical } from "../dist/src/critical/critical.js";
import { allocatePages } from "../dist/src/disk/aligned.js";
import { preallocateSync } from "../dist/src/disk/preallocate.js";
import { realDisk } from "../dist/src/disk/real-disk.js";

const { values } = parseArgs({
  options: {
    dir: { type: "string", default: tmpdir() },
    rounds: { type: "string", default: "3000" },
    records: { type: "string", default: "100000" },
    json: { type: "boolean", default: false },
  },
});
const ROUNDS = Number(values.rounds);
const RECORDS = Number(values.records);
const FLOOR_BLOCKS = 2048;
const directory = mkdtempSync(join(values.dir, "varve-bench-"));
const warnings = [];

/** About 200 bytes encoded: an order as an engine keeps it. */
const order = (i) => ({
  symbol: "BTCUSDT",
  side: "buy",
  quantity: "0.12500000",
  price: "64210.50",
  status: "new",
  orderId: 123_456_789_012_345_678n + BigInt(i),
  openedUs: 1_700_000_000_000_000n,
  filled: "0.00000000",
  strategy: "mean-reversion",
  client: "x-8f2c",
});
const key = (i) => `order-${String((i * 7919) % RECORDS).padStart(8, "0")}`;

function openPartition(name, more = {}) {
  const path = join(directory, name);
  mkdirSync(path, { recursive: true });
  return Critical.open({
    directory: path,
    disk: realDisk,
    storeId: new Uint8Array(16).fill(1),
    onWarning: (message) => warnings.push(message),
    ...more,
  });
}

function quantiles(samples) {
  const sorted = Float64Array.from(samples).sort();
  const at = (share) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] * 10) / 10;
  return { p50Us: at(0.5), p90Us: at(0.9), p99Us: at(0.99) };
}

function openFloor(name = "floor") {
  const path = join(directory, name);
  preallocateSync(realDisk, path, FLOOR_BLOCKS * 4096);
  const file = realDisk.open(path, { access: "write", durable: true });
  const block = allocatePages(4096).fill(7);
  return { method: file.durability, write: (i) => file.writeSync(block, (i % FLOOR_BLOCKS) * 4096) };
}

/** The stores to compare with, as far as they are installed. */
async function openPeers() {
  const peers = [];
  const skipped = [];
  const attempt = async (name, open) => {
    try {
      peers.push({ name, commit: await open() });
    } catch (error) {
      skipped.push(`${name}: ${String(error.message ?? error).split("\n")[0]}`);
    }
  };
  await attempt("lmdb putSync", async () => {
    const { open } = await import("lmdb");
    const db = open({ path: join(directory, "lmdb"), overlappingSync: false });
    return (i) => db.putSync(key(i), order(i));
  });
  await attempt("better-sqlite3 WAL FULL", async () => {
    const { default: Database } = await import("better-sqlite3");
    const { pack } = await import("msgpackr");
    const db = new Database(join(directory, "sqlite.db"));
    db.pragma("journal_mode = WAL");
    db.pragma("synchronous = FULL");
    db.exec("CREATE TABLE orders (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID");
    const upsert = db.prepare("INSERT OR REPLACE INTO orders VALUES (?, ?)");
    return (i) => upsert.run(key(i), pack(order(i)));
  });
  await attempt("classic-level sync", async () => {
    const { ClassicLevel } = await import("classic-level");
    const { pack } = await import("msgpackr");
    const db = new ClassicLevel(join(directory, "level"), { valueEncoding: "buffer" });
    await db.open();
    return (i) => db.put(key(i), pack(order(i)), { sync: true });
  });
  return { peers, skipped };
}

async function soloCommits() {
  const critical = openPartition("solo");
  const orders = critical.map("orders", { version: 1 });
  const floor = openFloor();
  const { peers, skipped } = await openPeers();
  const commit = (i) => critical.commit((tx) => tx.put(orders, key(i), order(i)));
  const runners = [{ name: "varve commit", commit }, { name: "floor", commit: floor.write }, ...peers];
  const samples = runners.map(() => []);
  const warmUp = Math.min(500, ROUNDS);
  let before;
  for (let round = -warmUp; round < ROUNDS; round++) {
    if (round === 0) before = critical.stats().log;
    for (let turn = 0; turn < runners.length; turn++) {
      const at = (turn + Math.abs(round)) % runners.length;
      const startMs = performance.now();
      const pending = runners[at].commit(round + warmUp);
      if (pending instanceof Promise) await pending;
      if (round >= 0) samples[at].push((performance.now() - startMs) * 1000);
    }
    if (round % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const after = critical.stats().log;
  await critical.close();
  const results = runners.map(({ name }, i) => ({ name, ...quantiles(samples[i]) }));
  const [own, bare, ...others] = results;
  const best = others.reduce((least, each) => Math.min(least, each.p50Us), Number.POSITIVE_INFINITY);
  return {
    durability: floor.method,
    results,
    skipped,
    ratioToFloor: Math.round((own.p50Us / bare.p50Us) * 100) / 100,
    overFloorUs: Math.round((own.p50Us - bare.p50Us) * 10) / 10,
    timesFasterThanBestPeer: others.length === 0 ? undefined : Math.round((best / own.p50Us) * 100) / 100,
    deviceBytesPerCommit: Math.round(
      (after.deviceBytes - before.deviceBytes) / (after.records - before.records),
    ),
  };
}

/** Runs of commits and of floor writes in turn: what the software adds when nothing else pushes it out of the caches. */
async function softwareCost() {
  const critical = openPartition("software");
  const orders = critical.map("orders", { version: 1 });
  const floor = openFloor("floor-software");
  const samples = [[], []];
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 1000; i++) {
      const value = order(i);
      const at = key(round * 1000 + i);
      const startMs = performance.now();
      critical.commit((tx) => tx.put(orders, at, value));
      if (round > 2) samples[0].push((performance.now() - startMs) * 1000);
    }
    for (let i = 0; i < 1000; i++) {
      const startMs = performance.now();
      floor.write(i);
      if (round > 2) samples[1].push((performance.now() - startMs) * 1000);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await critical.close();
  const [commit, bare] = samples.map(quantiles);
  return { commit, floor: bare };
}

async function groupedCommits() {
  const critical = openPartition("grouped");
  const orders = critical.map("orders", { version: 1 });
  const run = async (count) => {
    let started = 0;
    const loop = async () => {
      while (started < count) {
        const i = started++;
        await critical.commitAsync((tx) => tx.put(orders, key(i), order(i)));
      }
    };
    await Promise.all(Array.from({ length: 64 }, loop));
  };
  await run(20_000);
  const idle = await loopDelay(() => new Promise((resolve) => setTimeout(resolve, 1000)));
  const rates = [];
  const busy = await loopDelay(async () => {
    for (let slice = 0; slice < 6; slice++) {
      const startMs = performance.now();
      await run(30_000);
      rates.push((30_000 / (performance.now() - startMs)) * 1000);
    }
  });
  await critical.close();
  rates.sort((a, b) => a - b);
  return {
    commitsPerSecond: Math.round(rates[3]),
    spread: [Math.round(rates[0]), Math.round(rates.at(-1))],
    loopDelayP999Ms: busy,
    idleLoopDelayP999Ms: idle,
  };
}

async function loopDelay(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return Math.round(delay.percentile(99.9) / 1e4) / 100;
}

/** A full log behind a snapshot of all records; then an opening as after a crash, and a snapshot. */
async function reopening() {
  const never = { snapshots: { everyRecords: 1e12, everyBytes: 1e15 } };
  const critical = openPartition("reopen", never);
  const orders = critical.map("orders", { version: 1 });
  for (let from = 0; from < RECORDS; from += 500) {
    critical.commit((tx) => {
      for (let i = from; i < from + 500; i++) tx.put(orders, key(i), order(i));
    });
  }
  await critical.snapshot();
  await critical.snapshot();
  const tail = [];
  for (let i = 0; i < 40_000; i++) {
    tail.push(critical.commitAsync((tx) => tx.put(orders, key(i * 17), order(i))));
    if (tail.length === 4096) await Promise.all(tail.splice(0));
  }
  await Promise.all(tail);
  await critical.close();
  const openings = [];
  for (let round = 0; round < 5; round++) {
    const startMs = performance.now();
    const again = openPartition("reopen", never);
    const openMs = performance.now() - startMs;
    const { snapshotMs, replayMs, replayedRecords } = again.stats().recovery;
    openings.push({ openMs, snapshotMs, replayMs, replayedRecords });
    if (round < 4) await again.close();
    else return { opening: openings.sort((a, b) => a.openMs - b.openMs)[2], ...(await snapshotting(again)) };
  }
}

async function snapshotting(critical) {
  const orders = critical.map("orders");
  let commits = 0;
  let running = true;
  const startMs = performance.now();
  const idle = await loopDelay(() => new Promise((resolve) => setTimeout(resolve, 500)));
  let longestMs = 0;
  let lastMs = performance.now();
  const tick = () => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
    if (running) setImmediate(tick);
  };
  setImmediate(tick);
  const committing = (async () => {
    while (running) {
      await critical.commitAsync((tx) => tx.put(orders, key(commits++), order(1)));
    }
  })();
  const { sizeBytes } = await critical.snapshot();
  running = false;
  await committing;
  await critical.close();
  return {
    snapshot: { sizeBytes, ms: performance.now() - startMs - 500, commits, longestMs, idleP999Ms: idle },
  };
}

async function reads() {
  const critical = openPartition("reads");
  const orders = critical.map("orders", { version: 1 });
  for (let from = 0; from < RECORDS; from += 500) {
    critical.commit((tx) => {
      for (let i = from; i < from + 500; i++) tx.put(orders, key(i), order(i));
    });
  }
  const keys = Array.from({ length: RECORDS }, (_, i) => key(i * 31));
  const perCallUs = (call) => {
    const startMs = performance.now();
    for (const each of keys) call(each);
    return Math.round(((performance.now() - startMs) / keys.length) * 1e5) / 100;
  };
  perCallUs((each) => orders.get(each));
  const get = perCallUs((each) => orders.get(each));
  const one = (each) => orders.entries({ from: each, limit: 1 }).next();
  perCallUs(one);
  const range = perCallUs(one);
  await critical.close();
  return { getUs: get, firstOfRangeUs: range };
}

try {
  const report = {
    machine: `${cpus().length} × ${cpus()[0].model}, Node ${process.version}, ${values.dir}`,
    solo: await soloCommits(),
    software: await softwareCost(),
    grouped: await groupedCommits(),
    reads: await reads(),
    ...(await reopening()),
    warnings,
  };
  if (values.json) console.log(JSON.stringify(report, undefined, 2));
  else print(report);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function print({ machine, solo, software, grouped, reads: read, opening, snapshot }) {
  console.log(`${machine}; log durable by ${solo.durability}`);
  for (const { name, p50Us, p90Us, p99Us } of solo.results) {
    console.log(`  ${name.padEnd(26)} p50 ${p50Us} µs  p90 ${p90Us}  p99 ${p99Us}`);
  }
  for (const each of solo.skipped) console.log(`  skipped ${each}`);
  console.log(`  ${solo.ratioToFloor} × the floor, ${solo.overFloorUs} µs over it`);
  console.log(
    `  ${solo.timesFasterThanBestPeer} × as fast as the best peer, ${solo.deviceBytesPerCommit} device bytes each`,
  );
  console.log(`in runs of 1,000: commit p50 ${software.commit.p50Us} µs, floor ${software.floor.p50Us} µs`);
  console.log(
    `commitAsync, 64 in flight: ${grouped.commitsPerSecond}/s (${grouped.spread.join("–")}),` +
      ` event loop p99.9 ${grouped.loopDelayP999Ms} ms (idle ${grouped.idleLoopDelayP999Ms})`,
  );
  console.log(`get ${read.getUs} µs, first of a range ${read.firstOfRangeUs} µs`);
  const { openMs, snapshotMs, replayMs, replayedRecords } = opening;
  console.log(
    `open with ${RECORDS} records and ${replayedRecords} to replay: ${openMs.toFixed(0)} ms` +
      ` (snapshot ${snapshotMs.toFixed(0)}, replay ${replayMs.toFixed(0)})`,
  );
  console.log(
    `snapshot of ${RECORDS} records: ${snapshot.ms.toFixed(0)} ms, ${snapshot.commits} commits meanwhile,` +
      ` longest hold ${snapshot.longestMs.toFixed(2)} ms`,
  );
}
