// Explores millions of crash states of the log, on all cores, outside the test runner.
//
//   node test/campaigns/wal-crash.mjs [--states 2000000] [--seed N] [--mirror]
//
// Prints the seed of every slice; a slice that breaks a promise ends the campaign with its message and exit code 1.
import { fork, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const SLICE_STATES = 25_000;

if (process.send !== undefined) {
  const { explore } = await import(process.argv[2]);
  process.on("message", async ({ seed, withMirror }) => {
    try {
      process.send({ seed, found: await explore({ seed, states: SLICE_STATES, withMirror }) });
    } catch (error) {
      process.send({ seed, error: error.stack });
    }
  });
} else {
  await campaign();
}

async function campaign() {
  const { values } = parseArgs({
    options: { states: { type: "string" }, seed: { type: "string" }, mirror: { type: "boolean" } },
  });
  const states = Number(values.states ?? 2_000_000);
  let seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
  const compiled = compile();
  const total = { states: 0, duringRecovery: 0, torn: 0, lives: 0, failed: 0 };
  const startedMs = Date.now();
  try {
    await Promise.all(Array.from({ length: availableParallelism() }, () => worker()));
  } finally {
    rmSync(compiled, { recursive: true });
  }

  function worker() {
    return new Promise((resolve, reject) => {
      const child = fork(fileURLToPath(import.meta.url), [
        pathToFileURL(join(compiled, "test/wal/explore.js")).href,
      ]);
      const next = () => {
        if (total.states < states) child.send({ seed: seed++, withMirror: values.mirror ?? false });
        else {
          child.disconnect();
          resolve();
        }
      };
      child.on("message", (reply) => {
        if (reply.error !== undefined) {
          console.error(`seed ${reply.seed}: ${reply.error}`);
          process.exitCode = 1;
          total.states = states;
        } else {
          for (const key of Object.keys(total)) total[key] += reply.found[key];
          const perSecond = Math.round((total.states / (Date.now() - startedMs)) * 1000);
          console.log(`seed ${reply.seed} held; ${JSON.stringify(total)}, ${perSecond} states/s`);
        }
        next();
      });
      child.on("error", reject);
      next();
    });
  }
}

/** The explorer and the log as plain JavaScript, which the test runner's transformation would slow down. */
function compile() {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const target = mkdtempSync(join(tmpdir(), "varve-campaign-"));
  const tsc = spawnSync(
    join(root, "node_modules/.bin/tsc"),
    ["-p", "tsconfig.json", "--noEmit", "false", "--rootDir", ".", "--outDir", target],
    { cwd: root, stdio: "inherit" },
  );
  if (tsc.status !== 0) process.exit(tsc.status ?? 1);
  symlinkSync(join(root, "node_modules"), join(target, "node_modules"));
  writeFileSync(join(target, "package.json"), '{"type":"module"}');
  return target;
}
