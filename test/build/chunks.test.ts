import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";

const dist = join(import.meta.dirname, "../../dist");
const load = (path: string) =>
  import(/* @vite-ignore */ pathToFileURL(join(dist, path)).href) as Promise<Record<string, unknown>>;

/** Files of dist/ that loading one of them reads before its first line runs. */
function filesOf(entry: string): string[] {
  const found = new Set<string>();
  const visit = (path: string) => {
    if (found.has(path)) return;
    found.add(path);
    const text = readFileSync(path, "utf8");
    for (const [, name] of text.matchAll(/^(?:import|export)\b[^;"]*"(\.[^"]+)"/gm)) {
      visit(join(dirname(path), name!));
    }
  };
  visit(join(dist, entry));
  return [...found].map((path) => relative(dist, path)).sort();
}

describe("the built package", () => {
  it("holds each module once, by whatever path it is asked for", async () => {
    const [{ StoreError, openStore }, errors, store] = await Promise.all([
      load("index.js"),
      load("src/errors.js"),
      load("open-store.js"),
    ]);
    expect(errors["StoreError"]).toBe(StoreError);
    expect(store["openStore"]).toBe(openStore);
  });

  it("names jobs by files that threads can load, each with the job in it", async () => {
    for (const [path, name] of [
      ["src/chunks/encode.job.js", "encodeJob"],
      ["src/series/seal.job.js", "sealJob"],
      ["checkpoints/compare.job.js", "compareJob"],
    ] as const) {
      const job = (await load(path))[name] as { url: string; name: string };
      expect(job.url).toBe(pathToFileURL(join(dist, path)).href);
      expect((await load(path))[job.name]).toBeTypeOf("function");
    }
  });

  it("has lines that can be read: one is printed with every error that nobody caught", () => {
    for (const name of readdirSync(join(dist, "chunks")).filter((each) => each.endsWith(".js"))) {
      const lines = readFileSync(join(dist, "chunks", name), "utf8").split("\n");
      expect(Math.max(...lines.map((line) => line.length)), name).toBeLessThan(8000);
    }
  });

  it("reads a handful of files at its start, and none of what it may never need", () => {
    const library = filesOf("index.js");
    expect(library.length).toBeLessThan(8);
    const command = filesOf("cli/main.js");
    expect(command.length).toBeLessThan(8);
    expect(command).not.toContain("chunks/library.js");
    for (const later of ["series", "features", "state", "critical", "server", "cli"]) {
      expect(library).not.toContain(`chunks/${later}.js`);
    }
  });
});
