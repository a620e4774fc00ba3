import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { filesIn, treeBytes } from "./places.mjs";

/** Programs that varve is compared with: how to ask for each one's version, and the Debian package it comes from. */
const PEERS = {
  zstd: { command: "zstd", ask: ["--version"], debian: "zstd" },
  restic: { command: "restic", ask: ["version"], debian: "restic" },
  borg: { command: "borg", ask: ["--version"], debian: "borgbackup" },
  torch: {
    command: python(),
    ask: ["-c", "import torch; print('torch', torch.__version__)"],
    debian: "python3-torch",
  },
};

/** Debian installs packages for its own Python, which need not be the first one on the path. */
function python() {
  return process.env.VARVE_PYTHON ?? "/usr/bin/python3";
}

/** Which of the named peers are here; says what is skipped and how to get it. */
export function findPeers(names, say) {
  const found = new Map();
  for (const name of names) {
    const { command, ask, debian } = PEERS[name];
    const answer = spawnSync(command, ask, { encoding: "utf8" });
    if (answer.status === 0)
      found.set(name, `${answer.stdout}`.trim().split("\n")[0].replaceAll("*", "").trim());
    else say(`skipping ${name}: it is not installed (apt-get install ${debian})`);
  }
  return found;
}

const quiet = (environment) => ({
  stdio: ["ignore", "ignore", "pipe"],
  env: { ...process.env, ...environment },
});

/** Bytes of each file of each version compressed by itself. */
export function zstdBytes(versions) {
  let sum = 0;
  for (const [path] of versions.flatMap((version) => filesIn(version))) {
    sum += execFileSync("zstd", ["-3", "-q", "-c", path], { maxBuffer: 1 << 30 }).byteLength;
  }
  return sum;
}

/** What a repository grew by over the backups of all versions, in order. restic compresses with its default, zstd. */
export function resticBytes(versions, directory) {
  const repository = join(directory, "restic");
  const run = (...args) =>
    execFileSync(
      "restic",
      ["-r", repository, "--no-cache", "-q", ...args],
      quiet({ RESTIC_PASSWORD: "bench" }),
    );
  run("init");
  const before = treeBytes(repository);
  for (const version of versions) run("backup", version);
  return treeBytes(repository) - before;
}

/** The same for borg, with zstd-3 instead of its faster and larger default. */
export function borgBytes(versions, directory) {
  const repository = join(directory, "borg");
  const home = join(directory, "borg-home");
  mkdirSync(home);
  const run = (...args) => execFileSync("borg", args, quiet({ BORG_BASE_DIR: home }));
  run("init", "--encryption=none", repository);
  const before = treeBytes(repository);
  versions.forEach((version, i) => {
    run("create", "--compression", "zstd,3", `${repository}::v${i}`, version);
  });
  return treeBytes(repository) - before;
}

/** Runs a Python program that prints one JSON value. */
export function runPython(program, args) {
  return JSON.parse(
    execFileSync(python(), ["-c", program, ...args], { encoding: "utf8", maxBuffer: 1 << 20 }),
  );
}
