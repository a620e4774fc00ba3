import { existsSync, lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const projectDirectory = fileURLToPath(new URL("../..", import.meta.url));

/** Where the development data is; the benches that need it say what they skip without it. */
export const dataDirectory = process.env.VARVE_DATA ?? join(projectDirectory, "../shared/data");

/** Runs `use` with a new directory on the disk to measure (VARVE_BENCH_DIR, else the temporary directory). */
export async function withDirectory(use) {
  const directory = mkdtempSync(join(process.env.VARVE_BENCH_DIR ?? tmpdir(), "varve-bench-"));
  try {
    return await use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Bytes of a file, or of all files in a directory. */
export function treeBytes(path) {
  if (!existsSync(path)) return 0;
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + treeBytes(join(path, name)), 0);
}

/** Files of a directory, or the file itself: `[path, name]`. */
export function filesIn(path, prefix = "") {
  if (!lstatSync(path).isDirectory()) return [[path, prefix || path.slice(path.lastIndexOf("/") + 1)]];
  return readdirSync(path)
    .sort()
    .flatMap((name) => {
      const inside = join(path, name);
      const shown = prefix ? `${prefix}/${name}` : name;
      return lstatSync(inside).isDirectory() ? filesIn(inside, shown) : [[inside, shown]];
    });
}
