// What a durable append costs, against the bare device write it cannot beat.
//
//   npm run build && node bench/wal.mjs [--dir DIR] [--rounds 4000] [--json]
//
// Appends and floor writes alternate one by one in the same process and directory, so that a busy machine slows
// both; ratios are the result. `--dir` on a tmpfs (/dev/shm) shows the software's own cost.
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { allocatePages } from "../dist/src/disk/aligned.js";
import { preallocateSync } from "../dist/src/disk/preallocate.js";
import { realDisk } from "../dist/src/disk/real-disk.js";
import { openLog } from "../dist/src/wal/open-log.js";

const { values } = parseArgs({
  options: {
    dir: { type: "string", default: tmpdir() },
    rounds: { type: "string", default: "4000" },
    json: { type: "boolean", default: false },
  },
});
const ROUNDS = Number(values.rounds);
const PAYLOAD = new Uint8Array(200).fill(7);
const STORE_ID = new Uint8Array(16).fill(1);
const FLOOR_BLOCKS = 2048;

const directory = mkdtempSync(join(values.dir, "varve-bench-"));
let timeUs = 1n;
const record = () => ({ payload: PAYLOAD, timeUs: timeUs++ });

function quantiles(samples) {
  const sorted = Float64Array.from(samples).sort();
  const at = (share) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] * 10) / 10;
  return { p50Us: at(0.5), p90Us: at(0.9), p99Us: at(0.99), p999Us: at(0.999) };
}

/** The bare write: one aligned block, durable on return, in a file of real zeros. */
function openFloor(name) {
  const path = join(directory, name);
  preallocateSync(realDisk, path, FLOOR_BLOCKS * 4096);
  const file = realDisk.open(path, { access: "write", durable: true });
  const block = allocatePages(4096).fill(7);
  let next = 0;
  return {
    method: file.durability,
    write: () => file.writeSync(block, (next++ % FLOOR_BLOCKS) * 4096),
    close: () => file.close(),
  };
}

/** In turn, so that both see the same machine; who goes first changes each round. */
function alternate(rounds, one, other) {
  const samples = [[], []];
  const time = (index, call) => {
    const started = performance.now();
    call();
    samples[index].push((performance.now() - started) * 1000);
  };
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) time(0, one);
    time(1, other);
    if (round % 2 === 1) time(0, one);
  }
  return samples;
}

function soloAppends() {
  const log = openLog({ disk: realDisk, directory: join(directory, "solo"), storeId: STORE_ID });
  const floor = openFloor("floor-solo");
  alternate(300, () => log.appendSync(record()), floor.write);
  const before = log.stats();
  const [append, bare] = alternate(ROUNDS, () => log.appendSync(record()), floor.write).map(quantiles);
  const after = log.stats();
  floor.close();
  return {
    log,
    result: {
      durability: after.durability,
      append,
      floor: bare,
      ratioP50: Math.round((append.p50Us / bare.p50Us) * 100) / 100,
      overFloorUs: Math.round((append.p50Us - bare.p50Us) * 10) / 10,
      deviceBytesPerAppend: (after.deviceBytes - before.deviceBytes) / (after.records - before.records),
    },
  };
}

async function groupedAppends(inFlight, total) {
  const log = openLog({
    disk: realDisk,
    directory: join(directory, `grouped-${inFlight}`),
    storeId: STORE_ID,
  });
  const floor = openFloor(`floor-${inFlight}`);
  const run = async (count) => {
    let started = 0;
    const loop = async () => {
      while (started < count) {
        started++;
        await log.append(record());
      }
    };
    await Promise.all(Array.from({ length: inFlight }, loop));
  };
  await run(total / 10);
  const rates = [];
  const floors = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  for (let slice = 0; slice < 8; slice++) {
    for (let round = 0; round < 200; round++) {
      const started = performance.now();
      floor.write();
      floors.push((performance.now() - started) * 1000);
    }
    delay.enable();
    const started = performance.now();
    await run(total / 8);
    rates.push((total / 8 / (performance.now() - started)) * 1000);
    delay.disable();
    // Old segments go, as they would after a snapshot.
    log.trim(log.durableLsn);
  }
  rates.sort((a, b) => a - b);
  const idle = monitorEventLoopDelay({ resolution: 1 });
  idle.enable();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  idle.disable();
  const stats = log.stats();
  await log.close();
  floor.close();
  return {
    inFlight,
    idleLoopDelayP999Ms: Math.round(idle.percentile(99.9) / 1e4) / 100,
    appendsPerSecond: Math.round(rates[4]),
    spread: [Math.round(rates[0]), Math.round(rates[7])],
    floor: quantiles(floors),
    writeP50Us: Math.round(stats.write.p50Us),
    recordsPerWrite: Math.round(stats.records / stats.writes),
    eventLoopDelayP999Ms: Math.round(delay.percentile(99.9) / 1e4) / 100,
  };
}

async function reopening(log) {
  await log.close();
  const samples = [];
  for (let round = 0; round < 5; round++) {
    const started = performance.now();
    const again = openLog({ disk: realDisk, directory: join(directory, "solo"), storeId: STORE_ID });
    samples.push(performance.now() - started);
    await again.close();
  }
  samples.sort((a, b) => a - b);
  return { blocks: Number(log.durableLsn), medianMs: Math.round(samples[2] * 10) / 10 };
}

try {
  const solo = soloAppends();
  const grouped = [];
  for (const inFlight of [1, 8, 64])
    grouped.push(await groupedAppends(inFlight, inFlight === 1 ? 8000 : 120_000));
  const report = {
    machine: `${cpus().length} × ${cpus()[0].model}, Node ${process.version}, ${values.dir}`,
    solo: solo.result,
    grouped,
    reopen: await reopening(solo.log),
  };
  if (values.json) console.log(JSON.stringify(report, undefined, 2));
  else print(report);
} finally {
  rmSync(directory, { recursive: true });
}

function print({ machine, solo, grouped, reopen }) {
  console.log(`${machine}; writes durable by ${solo.durability}`);
  console.log(`appendSync of 200 bytes: p50 ${solo.append.p50Us} µs, floor ${solo.floor.p50Us} µs`);
  console.log(
    `  ratio ${solo.ratioP50}, ${solo.overFloorUs} µs over the floor; p99 ${solo.append.p99Us} against ${solo.floor.p99Us}`,
  );
  console.log(`  ${solo.deviceBytesPerAppend} device bytes each`);
  for (const each of grouped) {
    console.log(
      `append, ${each.inFlight} in flight: ${each.appendsPerSecond}/s (${each.spread.join("–")}), ${each.recordsPerWrite} records a write,` +
        ` floor p50 ${each.floor.p50Us} µs, event loop p99.9 ${each.eventLoopDelayP999Ms} ms (idle ${each.idleLoopDelayP999Ms})`,
    );
  }
  console.log(`opening ${reopen.blocks} blocks: ${reopen.medianMs} ms`);
}
