import { execFileSync } from "node:child_process";
import { closeSync, constants, copyFileSync, fsyncSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findPeers } from "./peers.mjs";
import { withDirectory } from "./places.mjs";
import { CHANGES, writeCheckpoints } from "./synthetic.mjs";
import { median, spread, table } from "./tables.mjs";
import { saveAndLoad } from "./torch.mjs";

const child = fileURLToPath(new URL("throughput-child.mjs", import.meta.url));

/** Saves and restores a large checkpoint, beside cp and torch.save on the same disk, in alternation. */
export async function throughput({ say, rounds, megabytes, profile }) {
  const peers = findPeers(["torch"], say);
  return withDirectory(async (directory) => {
    const paths = Object.fromEntries(
      ["first", ...CHANGES].map((name, i) => [name, join(directory, `v${i}.safetensors`)]),
    );
    say(`writing ${1 + CHANGES.length} checkpoints of ${megabytes} MB`);
    writeCheckpoints(megabytes, paths);
    const sizeBytes = statSync(paths.first).size;
    const runs = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      runs.push(measure(directory, paths, { peers, profile, check: round === 0 }));
    }
    return { sizeBytes, rounds, profile, peers: Object.fromEntries(peers), runs };
  });
}

/** One round: each way once. The files to save are in the page cache; everything written is synced. */
function measure(directory, paths, { peers, profile, check }) {
  const load = loadavg()[0];
  const out = join(directory, "out");
  const store = join(directory, "store");
  const cp = timed(() => copyDurably(paths.first, out));
  rmSync(out);
  const torch = peers.has("torch") ? saveAndLoad(paths.first, out) : undefined;
  if (torch !== undefined) rmSync(out);
  const save = (ref, file, parent) => varve("save", store, ref, file, parent, profile);
  const first = save("base", paths.first, "none");
  const seconds = CHANGES.map((change, i) => ({ change, ...save(`change-${i}`, paths[change], "base@1") }));
  const cpAgain = timed(() => copyDurably(paths.first, out));
  rmSync(out);
  const restores = ["base", ...CHANGES.map((_, i) => `change-${i}`)].map((ref, i) => {
    const restore = varve("restore", store, ref, out);
    if (check && !sameBytes(out, Object.values(paths)[i]))
      throw new Error(`${ref}: restored bytes are not the saved ones`);
    rmSync(out);
    return { of: i === 0 ? "first" : CHANGES[i - 1], ...restore };
  });
  const loads = [0, 1].map((i) => ({
    of: i === 0 ? "first" : CHANGES[0],
    ...varve("load", store, ["base", "change-0"][i]),
  }));
  rmSync(store, { recursive: true });
  return { load, cpMs: [cp, cpAgain], torch, first, seconds, restores, loads };
}

function varve(...args) {
  return JSON.parse(execFileSync(process.execPath, [child, ...args], { encoding: "utf8" }));
}

function timed(run) {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** What `cp` and then `sync` of the file do, without the cost of two processes; no reflink, which would copy nothing. */
function copyDurably(from, to) {
  copyFileSync(from, to, constants.COPYFILE_EXCL);
  const file = openSync(to, "r+");
  fsyncSync(file);
  closeSync(file);
}

function sameBytes(a, b) {
  const files = [a, b].map((path) => openSync(path, "r"));
  const windows = files.map(() => Buffer.alloc(8 << 20));
  try {
    if (statSync(a).size !== statSync(b).size) return false;
    for (let at = 0; ; ) {
      const counts = files.map((file, i) => readSync(file, windows[i], 0, windows[i].length, at));
      if (Buffer.compare(windows[0].subarray(0, counts[0]), windows[1].subarray(0, counts[1])) !== 0)
        return false;
      if (counts[0] === 0) return true;
      at += counts[0];
    }
  } finally {
    for (const file of files) closeSync(file);
  }
}

export function showThroughput({ sizeBytes, runs }) {
  const speeds = (times) => times.map((ms) => sizeBytes / 1000 / ms);
  const cp = runs.flatMap((run) => run.cpMs);
  const rows = [];
  const add = (what, times, of = {}) => {
    const toCp = runs.map((run, i) => times[i] / median(run.cpMs));
    rows.push([
      what,
      spread(speeds(times)),
      times === cp ? "1.00" : spread(toCp, 2),
      of.cpuMs === undefined ? "–" : (median(of.cpuMs) / 1000).toFixed(1),
      of.peakBytes === undefined ? "–" : `${Math.round(median(of.peakBytes) / 1e6)}`,
      of.storedBytes === undefined ? "–" : (sizeBytes / of.storedBytes).toFixed(2),
    ]);
  };
  const own = (what, answers) =>
    add(
      what,
      answers.map(({ ms }) => ms),
      {
        cpuMs: answers.map(({ cpuMs }) => cpuMs),
        peakBytes: answers.map(({ peakBytes }) => peakBytes),
        storedBytes: answers[0].storedBytes,
      },
    );
  add("cp and fsync", cp);
  if (runs[0].torch !== undefined)
    add(
      "torch.save and fsync",
      runs.map(({ torch }) => torch.saveMs),
    );
  own(
    "varve, first save",
    runs.map(({ first }) => first),
  );
  runs[0].seconds.forEach(({ change }, i) => {
    own(
      `varve, save: ${change} changed`,
      runs.map(({ seconds }) => seconds[i]),
    );
  });
  runs[0].restores.forEach(({ of }, i) => {
    own(
      `varve, restore to a file: ${of}`,
      runs.map(({ restores }) => restores[i]),
    );
  });
  if (runs[0].torch !== undefined)
    add(
      "torch.load",
      runs.map(({ torch }) => torch.loadMs),
    );
  runs[0].loads.forEach(({ of }, i) => {
    own(
      `varve, restore to memory: ${of}`,
      runs.map(({ loads }) => loads[i]),
    );
  });
  const idle = Math.round(median(runs.map(({ first }) => first.idleBytes)) / 1e6);
  const loads = runs.map(({ load }) => load.toFixed(1)).join(", ");
  return `${table(["", "MB/s: median (range)", "time / cp", "CPU s", "peak RSS, MB", "raw/stored"], rows)}

Load when each round began: ${loads}. A varve process before it opened the store: ${idle} MB.`;
}
