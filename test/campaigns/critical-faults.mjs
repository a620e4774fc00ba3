// Everything that can be done to critical state on a real disk, in one script: killed at every write of a trace, EIO and
// ENOSPC on writes and syncs, random SIGKILLs, a full tmpfs, and the power cut of an ext4 file system on a loop device.
// After each, every acknowledged order must be there, whole, and no nonce may come twice.
//
//   node test/campaigns/critical-faults.mjs [--quick]       (needs dist/; strace, root and loop devices where named)
//
// What this machine does not allow is said and left out. Exit code 1 when anything was lost.
import { spawn, spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const quick = process.argv.includes("--quick");
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const ENGINE = fileURLToPath(new URL("../critical/fixtures/orders.mjs", import.meta.url));
const { Critical } = await import(`${DIST}/src/critical/critical.js`);
const { realDisk } = await import(`${DIST}/src/disk/real-disk.js`);

const root = mkdtempSync(join(tmpdir(), "varve-faults-"));
const isRoot = process.getuid?.() === 0;
let failures = 0;

const report = (name, detail) => console.log(`${name.padEnd(34)} ${detail}`);

async function check(name, reason, run) {
  if (reason !== undefined) return report(name, `skipped: ${reason}`);
  try {
    report(name, await run());
  } catch (error) {
    failures++;
    report(name, `FAILED: ${error.stack ?? error}`);
  }
}

/** What the engine printed. */
const acksOf = (text) => [...text.matchAll(/^ack (\d+)\n/gm)].map((match) => BigInt(match[1]));
const errorsOf = (text) => [...text.matchAll(/^error (\w+)\n/gm)].map((match) => match[1]);

/** Opens what a run left and compares; `seen` are all nonces ever acknowledged for this directory. */
async function verify(directory, acks, { seen = new Set(), durable, readOnly = false } = {}) {
  for (const n of acks) {
    if (seen.has(n)) throw new Error(`nonce ${n} came twice`);
    seen.add(n);
  }
  const critical = Critical.open({
    directory,
    disk: realDisk,
    storeId: new Uint8Array(16).fill(7),
    log: durable === undefined ? {} : { durable },
    readOnly,
    socket: false,
    reserveBytes: 0,
  });
  try {
    const orders = critical.map("orders");
    for (const n of seen) {
      if (orders.get(`order-${n}`)?.n !== n) throw new Error(`acknowledged order ${n} is missing`);
    }
    const position = critical.map("position").get("BTCUSDT") ?? 0n;
    if (position !== BigInt(orders.size)) throw new Error(`position ${position} of ${orders.size} orders`);
    const highest = [...seen].reduce((most, n) => (n > most ? n : most), 0n);
    if (critical.sequence("nonce").upcoming <= highest) throw new Error("a nonce would come twice");
    const audit = critical.verifyAudit();
    if (!audit.whole) throw new Error(`the audit trail is broken: ${JSON.stringify(audit.firstBad, text)}`);
  } finally {
    await critical.close();
  }
}

const text = (_, value) => (typeof value === "bigint" ? String(value) : value);

function strace(directory, orders, inject, durable) {
  const files = ["-f", "-qq", "-o", join(root, "trace"), "-e", "trace=pwrite64,fdatasync", ...inject];
  const more = durable === undefined ? [] : [durable];
  return spawnSync("strace", [...files, process.execPath, ENGINE, DIST, directory, String(orders), ...more], {
    encoding: "utf8",
    env: { ...process.env, UV_THREADPOOL_SIZE: "1", VARVE_RESERVE: "0" },
    timeout: 600_000,
  });
}

/** Calls of the busiest thread: strace counts an injection's place for each thread. */
function callsOf(directory, orders, call, durable) {
  const run = strace(directory, orders, [], durable);
  if (acksOf(run.stdout).length !== orders)
    throw new Error(`the trace run did not end: ${run.stdout}${run.stderr}`);
  const trace = spawnSync("cat", [join(root, "trace")], { encoding: "utf8" }).stdout;
  const byThread = new Map();
  for (const [, thread] of trace.matchAll(new RegExp(`^(\\d+)\\s+${call}\\(`, "gm"))) {
    byThread.set(thread, (byThread.get(thread) ?? 0) + 1);
  }
  return Math.max(...byThread.values());
}

const mayTrace = spawnSync("strace", ["-f", "-qq", "-o", "/dev/null", "true"]).status === 0;
const noStrace = mayTrace ? undefined : "there is no strace that may trace";

await check("killed at every write", noStrace, async () => {
  const orders = 32;
  const writes = callsOf(join(root, "count"), orders, "pwrite64");
  const step = quick ? Math.ceil(writes / 12) : 1;
  let killed = 0;
  for (let at = 1; at <= writes; at += step) {
    const directory = join(root, `kill-${at}`);
    const run = strace(directory, orders, ["-e", `inject=pwrite64:signal=KILL:when=${at}`]);
    if (acksOf(run.stdout).length < orders) killed++;
    await verify(directory, acksOf(run.stdout));
    rmSync(directory, { recursive: true, force: true });
  }
  return `${killed} of ${writes} places, nothing acknowledged was lost`;
});

for (const [call, errno, durable] of [
  ["pwrite64", "EIO"],
  ["pwrite64", "ENOSPC"],
  ["fdatasync", "EIO", "fdatasync"],
  ["fdatasync", "ENOSPC", "fdatasync"],
]) {
  const what = call === "pwrite64" ? "write" : "sync";
  await check(`${errno} on every ${what}`, noStrace, async () => {
    const orders = 24;
    const calls = callsOf(join(root, `count-${call}-${errno}`), orders, call, durable);
    const step = quick ? Math.ceil(calls / 5) : 1;
    let poisoned = 0;
    for (let at = 1; at <= calls; at += step) {
      const directory = join(root, `error-${at}`);
      const run = strace(directory, orders, ["-e", `inject=${call}:error=${errno}:when=${at}+`], durable);
      const [acks, errors] = [acksOf(run.stdout), errorsOf(run.stdout)];
      if (run.status !== 0) throw new Error(`the engine ended with ${run.status}: ${run.stderr}`);
      if (acks.length < orders && errors.length === 0)
        throw new Error("orders were neither acknowledged nor refused");
      // After the first failed commit nothing is acknowledged any more.
      const lines = run.stdout.split("\n");
      const firstPoison = lines.indexOf("error ERR_POISONED");
      if (firstPoison >= 0) {
        poisoned++;
        if (lines.slice(firstPoison).some((line) => line.startsWith("ack "))) {
          throw new Error("an order was acknowledged after the log was poisoned");
        }
      }
      await verify(directory, acks, { durable });
      rmSync(directory, { recursive: true, force: true });
    }
    return `${Math.ceil(calls / step)} of ${calls} places, ${poisoned} poisoned, nothing acknowledged was lost`;
  });
}

await check("random SIGKILLs", undefined, async () => {
  const directory = join(root, "sigkill");
  const seen = new Set();
  const kills = quick ? 6 : 200;
  for (let kill = 0; kill < kills; kill++) {
    const acks = await killAfter(directory, 20 + Math.random() * 250);
    await verify(directory, acks, { seen });
  }
  return `${kills} kills, ${seen.size} orders acknowledged, none lost, no nonce twice`;
});

/** Lets an engine trade for a while and kills it. */
async function killAfter(directory, ms, { onRunning = () => {}, environment = {} } = {}) {
  const child = spawn(process.execPath, [ENGINE, DIST, directory, "0"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, VARVE_RESERVE: "0", ...environment },
  });
  let out = "";
  const ended = new Promise((resolve) => child.once("close", resolve));
  const started = new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.on("data", (data) => {
    out += data;
  });
  try {
    await Promise.race([started, ended]);
    await onRunning(() => out);
    await new Promise((resolve) => setTimeout(resolve, ms));
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
  return Object.assign(acksOf(out), { output: out });
}

/** Root in a container may not mount anything. */
function canMount(...what) {
  const place = mkdtempSync(join(root, "probe-"));
  const isMounted = spawnSync("mount", [...what, place]).status === 0;
  if (isMounted) run("umount", place);
  return isMounted;
}

const noTmpfs =
  isRoot && canMount("-t", "tmpfs", "-o", "size=1m", "tmpfs") ? undefined : "needs root that may mount";

/** Waits for what an engine says; for much longer than any takes. */
async function said(output, what) {
  const end = performance.now() + 300_000;
  while (!what.test(output()) && performance.now() < end)
    await new Promise((resolve) => setTimeout(resolve, 10));
}

await check("full tmpfs", noTmpfs, () =>
  mounted(["-t", "tmpfs", "-o", "size=64m", "tmpfs"], async (place) => {
    const directory = join(place, "critical");
    const environment = { VARVE_RESERVE: String(64 << 20), VARVE_PAUSE_MS: "2" };
    let before = 0;
    const acks = await killAfter(directory, quick ? 1000 : 20_000, {
      environment,
      onRunning: async (output) => {
        // Once the engine has its reserve, something else takes all the rest and never gives it back.
        await said(output, /^reserved$/m);
        fill(join(place, "filler"));
        before = acksOf(output()).length;
        await said(output, /^warning .*disk is full/m);
      },
    });
    const errors = errorsOf(acks.output);
    if (errors.length > 0) throw new Error(`commits were refused: ${[...new Set(errors)]}`);
    if (!/warning .*disk is full/.test(acks.output)) throw new Error("nobody was told that the disk is full");
    await verify(directory, acks);
    return `${acks.length - before} commits on a full disk, said aloud, nothing was lost`;
  }),
);

await check("tmpfs too small for anything", noTmpfs, () =>
  mounted(["-t", "tmpfs", "-o", "size=6m", "tmpfs"], async (place) => {
    const directory = join(place, "critical");
    const run = spawnSync(process.execPath, [ENGINE, DIST, directory, "4000"], {
      encoding: "utf8",
      env: { ...process.env, VARVE_RESERVE: "0" },
    });
    const [acks, errors] = [acksOf(run.stdout), errorsOf(run.stdout)];
    // Not even an opening for writing has room for its first block there.
    await verify(directory, acks, { readOnly: true });
    return `${acks.length} acknowledged, then ${[...new Set(errors)].join(", ") || "nothing refused"}; none lost`;
  }),
);

const noLoop = !isRoot
  ? "needs root"
  : !exists("/dev/loop-control")
    ? "there are no loop devices"
    : spawnSync("mkfs.ext4", ["-V"]).error !== undefined
      ? "mkfs.ext4 is not installed"
      : spawnSync("perl", ["-v"]).status !== 0
        ? "perl is not installed"
        : canMount("-o", "loop", emptyExt4())
          ? undefined
          : "loop devices cannot be mounted";

function emptyExt4() {
  const image = join(root, "ext4.img");
  rmSync(image, { force: true });
  run("truncate", "-s", "96M", image);
  run("mkfs.ext4", "-q", "-F", image);
  return image;
}

await check("power cut of ext4", noLoop, async () => {
  const cuts = quick ? 2 : 25;
  let acknowledged = 0;
  for (let cut = 0; cut < cuts; cut++) {
    const image = emptyExt4();
    let acks;
    const what = ["-o", "loop", image];
    await mounted(what, async (place) => {
      acks = await killAfter(join(place, "critical"), 0, {
        onRunning: async () => {
          await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 300));
          // FS_IOC_SHUTDOWN, 2: at once, without flushing the journal.
          run(
            "perl",
            "-e",
            'open(F,"<",$ARGV[0]) or die; my $how=pack("L",2); defined ioctl(F,0x8004587D,$how) or die $!',
            join(place, "critical/writer.lock"),
          );
        },
      });
    });
    await mounted(what, (place) => verify(join(place, "critical"), acks));
    acknowledged += acks.length;
    rmSync(image);
  }
  return `${cuts} cuts, ${acknowledged} orders acknowledged before them, none lost`;
});

async function mounted(what, work) {
  const place = mkdtempSync(join(root, "mount-"));
  run("mount", ...what, place);
  try {
    return await work(place);
  } finally {
    run("umount", place);
  }
}

function run(command, ...args) {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

/** Writes until not a byte more fits. */
function fill(path) {
  const fd = openSync(path, "a");
  for (const size of [1 << 20, 4096, 1]) {
    const bytes = Buffer.alloc(size, 1);
    try {
      while (writeSync(fd, bytes) === size);
    } catch (error) {
      if (error.code !== "ENOSPC") throw error;
    }
  }
  closeSync(fd);
}

function exists(path) {
  try {
    statSync(path);
    return true;
  } catch {
    return false;
  }
}

rmSync(root, { recursive: true, force: true });
process.exit(failures === 0 ? 0 : 1);
