import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const bench = join(import.meta.dirname, "../../bench/package.json");

/** The runtime belongs to the benches' packages: it is large, and varve does not depend on it. */
export const runtime = (() => {
  try {
    return pathToFileURL(createRequire(bench).resolve("onnxruntime-node")).href;
  } catch {
    console.warn("onnxruntime-node is not installed in bench/: the tests that serve models are skipped");
    return undefined;
  }
})();
