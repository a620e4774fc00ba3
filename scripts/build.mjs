// Compiles the library and the command line to dist/, and the WebAssembly kernels beside them.
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const bin = (name) => `${root}node_modules/.bin/${name}`;

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

run(bin("tsc"), ["-p", "tsconfig.build.json"]);

const kernels = "src/kernels/assembly/index.ts";
if (existsSync(`${root}${kernels}`)) {
  mkdirSync(`${root}dist/src/kernels`, { recursive: true });
  run(bin("asc"), [
    kernels,
    "--outFile",
    "dist/src/kernels/kernels.wasm",
    "--optimizeLevel",
    "3",
    "--shrinkLevel",
    "0",
    "--noAssert",
    "--enable",
    "simd",
    "--runtime",
    "stub",
  ]);
}
// Works in memory that it is given: the tensors' own.
run(bin("asc"), [
  "src/kernels/assembly/range-sum/index.ts",
  "--outFile",
  "dist/src/kernels/range-sum.wasm",
  "--optimizeLevel",
  "3",
  "--shrinkLevel",
  "0",
  "--noAssert",
  "--enable",
  "simd",
  "--enable",
  "threads",
  "--importMemory",
  "--sharedMemory",
  "--maximumMemory",
  "65536",
  "--runtime",
  "stub",
]);
if (existsSync(`${root}dist/cli/main.js`)) chmodSync(`${root}dist/cli/main.js`, 0o755);
