// How many bytes a trading day of critical state writes to the device. The whole store's day: `bench/capture.mjs day`.
//
//   npm run build && node bench/trading-day.mjs [--directory DIR] [--hours 8] [--json]
//
// The day is fixed: every half hour begins with a burst of two minutes, then it is quiet.
//   burst   five market events a second, each answered with 40 commits at once, which is 200 commits a second:
//           16 new orders     order, nonce, order-ID map, rate-limit counter
//           12 changes        order
//           10 fills          order, position, balance
//            2 session states sequence number of an exchange session
//   quiet   one event every 20 seconds, a single commit: heartbeat, limit or cancellation in turn
// All commits of an event are handed over together (`commitAsync`) and the next event waits for them, as an engine
// would; 600 orders are open at a time, 40 positions, 20 balances. Random numbers come from a fixed seed.
//
// Time is compressed: the waits between events are left out, all but one turn of the event loop. What depends on
// time is not left to chance: after each quiet event the log's idle seal is written for real, and snapshots are
// taken whenever the log has grown enough, without the pacing that real time would add. Rates are over the hours
// the day stands for. Two hours of the day before come first and are not counted: they make the log's
// segments, which are then used again and again.
//
// Logical bytes are the keys and encoded values that the callbacks put, and 8 bytes for each sequence number or
// counter. Device bytes are what the kernel says this process caused to be written (/proc/self/io).
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Critical } from "../dist/src/critical/critical.js";
import { realDisk } from "../dist/src/disk/real-disk.js";
import { orderFlow } from "./lib/order-flow.mjs";

const { values } = parseArgs({
  options: {
    directory: { type: "string", default: tmpdir() },
    hours: { type: "string", default: "8" },
    json: { type: "boolean", default: false },
  },
});
const HOURS = Number(values.hours);
const BURST_EVENTS = 2 * 60 * 5;
const QUIET_EVENTS = (28 * 60) / 20;
const SEAL_AFTER_MS = 1;

const directory = mkdtempSync(join(values.directory, "varve-day-"));
function openPartition() {
  mkdirSync(join(directory, "critical"));
  const critical = Critical.open({
    directory: join(directory, "critical"),
    disk: realDisk,
    storeId: new Uint8Array(16).fill(1),
    log: { sealAfterMs: SEAL_AFTER_MS },
    snapshots: { bytesPerSecond: 1e12 },
    onWarning: (message, error) => console.error(message, error ?? ""),
  });
  return { critical, flow: orderFlow(critical) };
}

async function trade({ critical, flow }, halfHours) {
  let commits = 0;
  for (let halfHour = 0; halfHour < halfHours; halfHour++) {
    for (let event = 0; event < BURST_EVENTS; event++) {
      flow.nowUs += 200_000n;
      const changes = flow.burst();
      await Promise.all(changes.map((change) => critical.commitAsync(change)));
      commits += changes.length;
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (let event = 0; event < QUIET_EVENTS; event++) {
      flow.nowUs += 20_000_000n;
      await critical.commitAsync(flow.quiet(event));
      commits++;
      await new Promise((resolve) => setTimeout(resolve, SEAL_AFTER_MS + 1));
    }
  }
  return commits;
}

function times(part, whole) {
  return part === undefined ? undefined : Math.round((part / whole) * 100) / 100;
}

/** What the kernel counts for this process; undefined where it does not say. */
function writtenBytes() {
  try {
    return Number(/^write_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))[1]);
  } catch {
    return undefined;
  }
}

try {
  const load = loadavg()[0];
  const store = openPartition();
  const { critical, flow } = store;
  await trade(store, 4);
  for (let i = 0; i < 2; i++) await critical.snapshot();
  const [before, beforeBytes] = [critical.stats(), writtenBytes()];
  flow.logicalBytes = 0;
  const startMs = performance.now();
  const commits = await trade(store, HOURS * 2);
  const tookSeconds = Math.round((performance.now() - startMs) / 1000);
  const [after, afterBytes] = [critical.stats(), writtenBytes()];
  await critical.close();
  const grown = (of) => of(after) - of(before);
  const logBytes = grown(({ log }) => log.deviceBytes);
  const writes = grown(({ log }) => log.writes - log.sealBlocks);
  const deviceBytes = beforeBytes === undefined ? undefined : afterBytes - beforeBytes;
  const report = {
    hours: HOURS,
    commits,
    tookSeconds,
    loadBefore: load,
    recordsPerWrite: Math.round((grown(({ log }) => log.records) / writes) * 10) / 10,
    logicalBytes: flow.logicalBytes,
    logBytes,
    ofTheseSealBytes: grown(({ log }) => log.sealBlocks) * 4096,
    snapshotBytes: grown(({ snapshots }) => snapshots.writtenBytes),
    snapshots: grown(({ snapshots }) => snapshots.taken),
    historyBytes: grown(({ history }) => history.writtenBytes),
    deviceBytes,
    timesLogical: times(deviceBytes, flow.logicalBytes),
    bytesPerSecond: times(deviceBytes, HOURS * 3600),
    logBytesPerSecondInBursts: times(logBytes, HOURS * 2 * 120),
  };
  if (values.json) console.log(JSON.stringify(report, undefined, 2));
  else for (const [name, value] of Object.entries(report)) console.log(`${name.padEnd(20)} ${value}`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
