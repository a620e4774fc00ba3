// The server and served models, beside peers. See bench/README.md.
//
//   npm run build && node bench/server.mjs commits|idle|learner [--rounds N] [--seconds N] [--interval N] [--json]
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { describe, machine } from "./lib/machine.mjs";
import { commits } from "./lib/server-commits.mjs";
import { idle } from "./lib/server-idle.mjs";
import { learner } from "./lib/server-learner.mjs";

const MEASUREMENTS = { commits, idle, learner };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string" },
    interval: { type: "string" },
    seconds: { type: "string" },
  },
});
const measure = MEASUREMENTS[positionals[0]];
if (measure === undefined || positionals.length !== 1) {
  console.error(`usage: node bench/server.mjs ${Object.keys(MEASUREMENTS).join("|")}
  --rounds N      rounds of commits (default 3), swaps of the learner (default 1000), idle connections (5000)
  --seconds N     length of one round (default 5)
  --interval N    milliseconds between saves of the learner (default 200)
  --json          print the figures as JSON`);
  process.exit(2);
}
const before = machine(process.env.VARVE_BENCH_DIR ?? tmpdir());
const figures = await measure({
  say: (text) => console.error(text),
  ...(values.rounds && { rounds: Number(values.rounds) }),
  ...(values.seconds && { seconds: Number(values.seconds) }),
  ...(values.interval && { intervalMs: Number(values.interval) }),
});
if (values.json)
  console.log(JSON.stringify({ measurement: positionals[0], machine: before, ...figures }, null, 2));
else {
  console.log(`${describe(before)}\n`);
  for (const [what, value] of Object.entries(figures)) console.log(`${what.padEnd(46)} ${value}`);
}
process.exit(0);
