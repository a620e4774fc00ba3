import { fileURLToPath, pathToFileURL } from "node:url";

const sourceRoot = new URL("..", import.meta.url);

/**
 * The URL of a built file, named relative to the module that asks for it.
 *
 * Worker threads and WebAssembly need built files. Run from `dist/`, they lie beside the caller; run from the
 * TypeScript sources (the test runner), they lie at the same place under `dist/`.
 */
export function builtFile(moduleUrl: string, relative?: string): string {
  const url = relative === undefined ? moduleUrl : new URL(relative, moduleUrl).href;
  if (!import.meta.url.endsWith(".ts")) return url;
  const inside = fileURLToPath(url).slice(fileURLToPath(sourceRoot).length);
  return pathToFileURL(`${fileURLToPath(sourceRoot)}dist/${inside.replace(/\.ts$/, ".js")}`).href;
}

/**
 * Options for a worker thread that runs a built file. Threads take over the process's flags, and one that a program given
 * as text is started with (`node --input-type=module -e …`, or from standard input) lets no thread load a file: then they
 * get none.
 */
export function threadFlags(): { execArgv?: string[] } {
  return process.execArgv.some((flag) => flag.startsWith("--input-type")) ? { execArgv: [] } : {};
}

/**
 * Heap limits for a worker thread that keeps little on its heap. Where a heap may grow to 2 GB, V8 maps its built-in functions
 * once more, a megabyte a thread.
 */
export const THREAD_HEAP = { maxOldGenerationSizeMb: 1024 };

/**
 * Where a worker thread finds a built module: threads have files of their own, with what their jobs use and nothing else.
 * A module from elsewhere stays where it is.
 */
export function threadFile(moduleUrl: string, relative?: string): string {
  const url = builtFile(moduleUrl, relative);
  const root = builtFile(new URL("..", import.meta.url).href);
  return url.startsWith(root) ? `${root}threads/${url.slice(root.length)}` : url;
}
