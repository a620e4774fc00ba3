import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hammer, httpAnswerEnd, redisAnswerEnd } from "./line-clients.mjs";

const VALUE = "x".repeat(100);
const CLI = new URL("../../dist/cli/main.js", import.meta.url).pathname;

/** Durable commits over HTTP beside Redis with `appendfsync always`, on one disk, at 1 and at 64 clients, in turns. */
export async function commits({ say, rounds = 3, seconds = 5 }) {
  const directory = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-server-"));
  const figures = {};
  const ends = [];
  try {
    const peers = { "varve serve": await startVarve(directory, ends) };
    if (spawnSync("redis-server", ["--version"]).status === 0)
      peers["redis appendfsync always"] = await startRedis(directory, ends);
    else figures["redis"] = "skipped: redis-server is not installed (apt-get install redis-server)";
    for (const clients of [1, 64]) {
      const results = Object.fromEntries(Object.keys(peers).map((name) => [name, []]));
      for (let round = 0; round < rounds; round++) {
        for (const [name, peer] of Object.entries(peers)) {
          say(`${name}, ${clients} clients, round ${round + 1} of ${rounds}`);
          results[name].push(await hammer({ ...peer, clients, seconds }));
        }
      }
      for (const [name, runs] of Object.entries(results))
        figures[`${name}, ${clients} client${clients > 1 ? "s" : ""}`] = describe(runs);
      const [first, second] = Object.values(results).map((runs) => median(runs, "perSecond"));
      if (second !== undefined)
        figures[`commits a second against redis, ${clients} client${clients > 1 ? "s" : ""}`] = (
          first / second
        ).toFixed(2);
    }
  } finally {
    await stopAll(ends);
    rmSync(directory, { recursive: true, force: true });
  }
  return figures;
}

function describe(runs) {
  const ms = (name) => median(runs, name).toFixed(2);
  return `${median(runs, "perSecond").toFixed(0)}/s, p50 ${ms("p50Ms")} ms, p99 ${ms("p99Ms")} ms, longest ${ms("maxMs")} ms`;
}

function median(runs, name) {
  const sorted = runs.map((run) => run[name]).sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/** Ends servers that were started. */
export async function stopAll(children) {
  for (const child of children) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }
}

/** `varve serve` over a new store, and what clients commit to it. */
export async function startVarve(directory, ends) {
  const store = join(directory, "store");
  spawnSync(process.execPath, [CLI, "--store", store, "init"]);
  const port = await freePort();
  await started(
    spawn(process.execPath, [CLI, "--store", store, "serve", "--quiet", "--port", String(port)], {
      stdio: ["ignore", "ignore", "inherit"],
    }),
    port,
    ends,
  );
  const request = (client, count) => {
    const change = { put: { map: "orders", key: `o-${client}-${count % 1000}`, value: VALUE } };
    const body = JSON.stringify({ changes: [change] });
    return `POST /v1/commit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  };
  return { place: { host: "127.0.0.1", port }, request, answerEnd: httpAnswerEnd };
}

async function startRedis(directory, ends) {
  const data = join(directory, "redis");
  mkdirSync(data);
  const port = await freePort();
  const options = [
    "--port",
    String(port),
    "--bind",
    "127.0.0.1",
    "--dir",
    data,
    "--save",
    "",
    "--appendonly",
    "yes",
  ];
  await started(
    spawn("redis-server", [...options, "--appendfsync", "always"], { stdio: "ignore" }),
    port,
    ends,
  );
  const request = (client, count) => {
    const key = `o-${client}-${count % 1000}`;
    return `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${VALUE.length}\r\n${VALUE}\r\n`;
  };
  return { place: { host: "127.0.0.1", port }, request, answerEnd: redisAnswerEnd };
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function started(child, port, ends) {
  ends.push(child);
  for (let tries = 0; tries < 200; tries++) {
    const there = await new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.1", port }, () => resolve(true));
      socket.on("error", () => resolve(false));
      socket.on("connect", () => socket.destroy());
    });
    if (there) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("a server did not start within 10 seconds");
}
