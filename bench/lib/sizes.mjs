import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { borgBytes, findPeers, resticBytes, zstdBytes } from "./peers.mjs";
import { dataDirectory, filesIn, treeBytes, withDirectory } from "./places.mjs";
import { exact, table } from "./tables.mjs";
import { agrees, hasCli, saveByApi, saveByCli } from "./varve.mjs";
import { xorBaseline } from "./xor-baseline.mjs";

/** The real runs, and what of each is saved as one series of versions: one kind of file, or whole step directories. */
const SERIES = [
  ["gpt-adamw", "model.safetensors", "fp32 model"],
  ["gpt-adamw", "model.bf16.safetensors", "bf16 model"],
  ["gpt-adamw", "optimizer.safetensors", "optimizer"],
  ["gpt-adamw", undefined, "step directories"],
  ["gpt-adamw-every-step", undefined, "every step: w, m, v"],
  ["gpt-finetune", "model.bf16.safetensors", "bf16 model"],
  ["gpt-rl", "model.bf16.safetensors", "bf16 model"],
  ["fm-online", "model.safetensors", "fp32 model"],
  ["fm-online", "optimizer.safetensors", "optimizer"],
  ["fm-online", undefined, "step directories"],
];

function versionsOf(run, file) {
  const directory = join(dataDirectory, "weights", run);
  return readdirSync(directory)
    .filter((name) => name.startsWith("step-"))
    .sort()
    .map((name) => (file === undefined ? join(directory, name) : join(directory, name, file)))
    .filter((path) => existsSync(path));
}

/** Total bytes of each series: raw, zstd, restic, borg, the XOR method, and varve by library and by command line. */
export async function sizes({ say, profile }) {
  const peers = findPeers(["zstd", "restic", "borg"], say);
  if (!hasCli) say("skipping the command line: dist/cli/main.js is not built");
  const rows = [];
  for (const [run, file, kind] of SERIES) {
    if (!existsSync(join(dataDirectory, "weights", run))) {
      say(`skipping ${run}: there is no ${join(dataDirectory, "weights", run)} (set VARVE_DATA)`);
      continue;
    }
    const versions = versionsOf(run, file);
    say(`${run}, ${kind}: ${versions.length} versions`);
    rows.push({ run, kind, versions: versions.length, ...(await measure(versions, peers, profile)) });
  }
  return { peers: Object.fromEntries(peers), profile, rows };
}

function measure(versions, peers, profile) {
  return withDirectory(async (directory) => {
    const rawBytes = versions
      .flatMap((version) => filesIn(version))
      .reduce((sum, [path]) => sum + treeBytes(path), 0);
    const varve = await saveByApi(versions, directory, { profile });
    const cli = hasCli && profile === "compact" ? saveByCli(versions, directory) : undefined;
    const xor = xorBaseline(versions);
    return {
      rawBytes,
      zstdBytes: peers.has("zstd") ? zstdBytes(versions) : undefined,
      resticBytes: peers.has("restic") ? resticBytes(versions, directory) : undefined,
      borgBytes: peers.has("borg") ? borgBytes(versions, directory) : undefined,
      xor,
      varve,
      cli,
      withinXor: varve.storedBytes <= Math.min(xor.blocksBytes, xor.wholeBytes),
      withinBestXor: varve.storedBytes <= xor.bestBytes,
      withinGrowth:
        agrees(varve.growthBytes, varve.storedBytes) && (!cli || agrees(cli.growthBytes, cli.storedBytes)),
    };
  });
}

const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;

export function showSizes({ rows }) {
  if (rows.length === 0) return "Nothing was measured.";
  const peers = ["raw", "zstd -3", "restic", "borg", "XOR, blocks", "XOR, whole", "XOR, best"];
  const columns = ["run, files", "n", ...peers, "varve", "of XOR", "of best", "raw/varve"];
  const sizeRows = rows.map(({ run, kind, versions, xor, varve, ...row }) => [
    `${run}, ${kind}`,
    versions,
    ...[row.rawBytes, row.zstdBytes, row.resticBytes, row.borgBytes].map(exact),
    ...[xor.blocksBytes, xor.wholeBytes, xor.bestBytes].map(exact),
    exact(varve.storedBytes),
    `${percent(varve.storedBytes, Math.min(xor.blocksBytes, xor.wholeBytes))}${row.withinXor ? "" : " LARGER"}`,
    `${percent(varve.storedBytes, xor.bestBytes)}${row.withinBestXor ? "" : " LARGER"}`,
    (row.rawBytes / varve.storedBytes).toFixed(2),
  ]);
  const growth = [
    "run, files",
    "stored",
    "grown on disk",
    "agree",
    "by CLI: stored",
    "grown on disk",
    "index",
    "new chunks",
  ];
  const growthRows = rows.map((row) => [
    `${row.run}, ${row.kind}`,
    exact(row.varve.storedBytes),
    exact(row.varve.growthBytes),
    row.withinGrowth ? "yes" : "NO",
    exact(row.cli?.storedBytes),
    exact(row.cli?.growthBytes),
    exact(row.varve.indexBytes),
    exact(row.varve.newChunks),
  ]);
  return `${table(columns, sizeRows)}\n\n${table(growth, growthRows)}`;
}
