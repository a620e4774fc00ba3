// Sizes, throughput and growth of saved checkpoints, beside other ways of keeping them. See bench/README.md.
//
//   npm run build && node bench/checkpoints.mjs sizes|throughput|growth [--json] [--profile fast|compact]
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { growth, showGrowth } from "./lib/growth.mjs";
import { describe, machine } from "./lib/machine.mjs";
import { showSizes, sizes } from "./lib/sizes.mjs";
import { showThroughput, throughput } from "./lib/throughput.mjs";

const MEASUREMENTS = {
  sizes: { measure: sizes, show: showSizes },
  throughput: { measure: throughput, show: showThroughput },
  growth: { measure: growth, show: showGrowth },
};
const USAGE = `usage: node bench/checkpoints.mjs ${Object.keys(MEASUREMENTS).join("|")}
  --json               print the figures as JSON
  --profile PROFILE    compact (default) or fast
  --rounds N           throughput: rounds, alternating (default 3)
  --megabytes N        throughput: size of the checkpoint (default 1000); growth: of the file (default 64)`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    profile: { type: "string", default: "compact" },
    rounds: { type: "string", default: "3" },
    megabytes: { type: "string" },
  },
});
const [name] = positionals;
const measurement = MEASUREMENTS[name];
if (measurement === undefined || positionals.length !== 1 || !["compact", "fast"].includes(values.profile)) {
  console.error(USAGE);
  process.exit(2);
}

const before = machine(process.env.VARVE_BENCH_DIR ?? tmpdir());
const figures = await measurement.measure({
  say: (text) => console.error(text),
  profile: values.profile,
  rounds: Number(values.rounds),
  megabytes: Number(values.megabytes ?? (name === "growth" ? 64 : 1000)),
});
if (values.json) console.log(JSON.stringify({ measurement: name, machine: before, ...figures }, null, 2));
else console.log(`${describe(before)}\n\n${measurement.show(figures)}`);
