// Capturing, restoring and starting, beside the floor (cp, readSync) and peers. See bench/README.md.
//
//   npm run build && node bench/capture.mjs stall|learner|restore|start|commits|delta|memory|day|crash [--megabytes N] [--rounds N] [--json]
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { commits } from "./lib/capture-commits.mjs";
import { crash } from "./lib/capture-crash.mjs";
import { day } from "./lib/capture-day.mjs";
import { delta } from "./lib/capture-delta.mjs";
import { learner } from "./lib/capture-learner.mjs";
import { memory } from "./lib/capture-memory.mjs";
import { restore, start } from "./lib/capture-restore.mjs";
import { stall } from "./lib/capture-stall.mjs";
import { describe, machine } from "./lib/machine.mjs";

const MEASUREMENTS = { stall, learner, restore, start, commits, delta, memory, day, crash };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    megabytes: { type: "string" },
    rounds: { type: "string" },
    staging: { type: "string" },
  },
});
const measure = MEASUREMENTS[positionals[0]];
if (measure === undefined || positionals.length !== 1) {
  console.error(`usage: node bench/capture.mjs ${Object.keys(MEASUREMENTS).join("|")}
  --megabytes N   size of the model (default 1000; start: 100)
  --rounds N      saves or runs (default 20; learner: 200; start, restore and crash: 5), simulated minutes of the day (40)
  --staging N     megabytes of staging memory: stall (default: 64, then as much as the model), day (64)
  --json          print the figures as JSON`);
  process.exit(2);
}
const before = machine(process.env.VARVE_BENCH_DIR ?? tmpdir());
const figures = await measure({
  say: (text) => console.error(text),
  megabytes: values.megabytes === undefined ? undefined : Number(values.megabytes),
  rounds: values.rounds === undefined ? undefined : Number(values.rounds),
  staging: values.staging === undefined ? undefined : Number(values.staging),
});
if (values.json)
  console.log(JSON.stringify({ measurement: positionals[0], machine: before, ...figures }, null, 2));
else {
  console.log(`${describe(before)}\n`);
  for (const [what, value] of Object.entries(figures)) console.log(`${what.padEnd(58)} ${value}`);
}
process.exit(0);
