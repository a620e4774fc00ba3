// Compiles the library and the command line to dist/, joins the modules that are loaded together, and compiles the
// WebAssembly kernels beside them.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => `${root}node_modules/.bin/${name}`;

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

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

/** Compiles AssemblyScript to WebAssembly, as fast as it gets: with vectors, without checks or a collector. */
function compileKernels(source, target, options = []) {
  const fast = [
    "--optimizeLevel",
    "3",
    "--shrinkLevel",
    "0",
    "--noAssert",
    "--enable",
    "simd",
    "--runtime",
    "stub",
  ];
  run(bin("asc"), [source, "--outFile", target, ...fast, ...options]);
}

mkdirSync(`${root}dist/src/kernels`, { recursive: true });
compileKernels("src/kernels/assembly/index.ts", "dist/src/kernels/kernels.wasm");
compileKernels("src/kernels/assembly/recovery/index.ts", "dist/src/kernels/recovery.wasm", [
  "--enable",
  "bulk-memory",
]);
// Works in memory that it is given: the tensors' own.
compileKernels("src/kernels/assembly/range-sum/index.ts", "dist/src/kernels/range-sum.wasm", [
  ...["--enable", "threads", "--importMemory", "--sharedMemory"],
  ...["--maximumMemory", "65536"],
]);
if (existsSync(`${root}dist/cli/main.js`)) chmodSync(`${root}dist/cli/main.js`, 0o755);
