// Compiles the WebAssembly kernels to dist/src/kernels: part of the build, or alone as a command.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The kernels, each a module of its own. */
export function buildKernels() {
  mkdirSync(`${root}dist/src/kernels`, { recursive: true });
  compileKernels("src/kernels/assembly/index.ts", "dist/src/kernels/kernels.wasm");
  compileKernels("src/kernels/assembly/recovery/index.ts", "dist/src/kernels/recovery.wasm", [
    // Shared memory is not counted towards a collection: see src/kernels/recovery-kernel.ts.
    ...["--enable", "bulk-memory", "--enable", "threads", "--importMemory", "--sharedMemory"],
    ...["--maximumMemory", "65536"],
  ]);
  // Works in memory that it is given: the tensors' own.
  compileKernels("src/kernels/assembly/range-sum/index.ts", "dist/src/kernels/range-sum.wasm", [
    ...["--enable", "threads", "--importMemory", "--sharedMemory"],
    ...["--maximumMemory", "65536"],
  ]);
}

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
  const args = [source, "--outFile", target, ...fast, ...options];
  const result = spawnSync(`${root}node_modules/.bin/asc`, args, { cwd: root, stdio: "inherit" });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) buildKernels();
