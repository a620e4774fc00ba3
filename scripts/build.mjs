// Compiles the library and the command line to dist/, joins the modules that are loaded together, and compiles the
// WebAssembly kernels beside them.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, rmSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { buildKernels } from "./build-kernels.mjs";
import { bundle } from "./bundle.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => `${root}node_modules/.bin/${name}`;

/** Compiles, and returns what was written: names of modules within dist/, without `.js`. */
function compile() {
  const args = ["-p", "tsconfig.build.json", "--listEmittedFiles"];
  const { error, status, stdout } = spawnSync(bin("tsc"), args, { cwd: root, encoding: "utf8" });
  if (error) throw error;
  const lines = stdout.split("\n");
  process.stdout.write(lines.filter((line) => line !== "" && !line.startsWith("TSFILE: ")).join("\n"));
  if (status !== 0) process.exit(status ?? 1);
  const written = lines.flatMap((line) => /^TSFILE: (.*)\.js$/.exec(line)?.[1] ?? []);
  return written.map((path) => relative(`${root}dist`, path));
}

rmSync(`${root}dist/chunks`, { recursive: true, force: true });
await bundle(`${root}dist`, compile());

buildKernels();
if (existsSync(`${root}dist/cli/main.js`)) chmodSync(`${root}dist/cli/main.js`, 0o755);
