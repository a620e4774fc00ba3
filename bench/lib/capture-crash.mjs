import { spawn, spawnSync } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { median, ms, quantile } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

/** How long a process writes on before it is killed. */
const WRITE_MS = 400;
const CHILD = fileURLToPath(new URL("capture-crash.child.mjs", import.meta.url));
const PARTS = {
  open: "openStore",
  weights: "weights: first tensor, from the pinned image",
  records: "100,000 critical records: all in memory, one read",
  series: "series: the first one, its newest row",
  otherSeries: "series: the other 99, the newest row of each",
};

/**
 * The whole store opened after a crash: a process that has it open and writes to it is killed with SIGKILL, a new one
 * opens it and reads of each part what one reads first. Every process but the first is both: it opens, then is killed.
 */
export async function crash({ say, megabytes = 1000, rounds = 5 }) {
  return withDirectory(async (directory) => {
    const store = `${directory}/store`;
    say(`filling the store with ${megabytes} MB of weights, 100,000 records and 100 series`);
    await openWriteDie("fill", store, megabytes);
    const runs = [];
    const bare = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1}`);
      const begin = performance.now();
      spawnSync(process.execPath, ["-e", "0"]);
      bare.push(performance.now() - begin);
      runs.push(await openWriteDie("reopen", store, megabytes));
    }
    return report(runs, bare);
  });
}

/** Lives until it has said what it has to say and has written for a while; then it is killed. */
async function openWriteDie(what, store, megabytes) {
  const spawnedMs = performance.timeOrigin + performance.now();
  const stdio = ["ignore", "pipe", "inherit"];
  const child = spawn(process.execPath, [CHILD, what, store, `${megabytes}`], { stdio });
  const ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  const said = new Promise((resolve) => {
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (piece) => {
      text += piece;
      if (text.includes("\n")) resolve(text);
    });
  });
  const line = await Promise.race([said, ended]);
  if (typeof line !== "string") throw new Error(`the process ended by itself, with ${line}`);
  await delay(WRITE_MS);
  child.kill("SIGKILL");
  if ((await ended) !== null) throw new Error("the process ended before it was killed");
  const { startedMs, doneMs, ...times } = JSON.parse(line);
  return { ...times, start: startedMs - spawnedMs, whole: doneMs - spawnedMs };
}

function report(runs, bare) {
  const spread = (of) => {
    const values = runs.map(of);
    return `${ms(median(values))} (${ms(quantile(values, 0))} to ${ms(quantile(values, 1))})`;
  };
  const sum = (names) => (run) => names.reduce((total, name) => total + run[name], 0);
  const figures = {
    "a bare process, start to end": ms(median(bare)),
    "process start to its first line": spread((run) => run.start),
    "import of the library": spread((run) => run.import),
  };
  for (const [name, what] of Object.entries(PARTS)) figures[what] = spread((run) => run[name]);
  const { otherSeries: _, ...one } = PARTS;
  figures["sum after the import, one series (below 100 ms)"] = spread(sum(Object.keys(one)));
  figures["sum after the import, all series (below 100 ms)"] = spread(sum(Object.keys(PARTS)));
  figures["then every page of the weights touched"] = spread((run) => run.touched);
  figures["from process start to all of this"] = spread((run) => run.whole);
  figures["of the records: snapshot loaded"] = spread((run) => run.snapshotMs);
  figures["of the records: log replayed"] = spread((run) => run.replayMs);
  figures["log records replayed"] = runs.map((run) => run.replayedRecords).join(", ");
  figures["weights came"] = [...new Set(runs.map((run) => run.source))].join(", ");
  return figures;
}
