import { execFile } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { threadFile as sourceThreadFile } from "../../src/built.ts";

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

  it("gives threads files of their own, with no more than their jobs use", async () => {
    const sizeOf = (files: string[]) => files.reduce((sum, file) => sum + statSync(join(dist, file)).size, 0);
    const jobs = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter(
      (path) => path.endsWith(".job.js") && !/^(threads|chunks)\//.test(path),
    );
    expect(jobs).toContain("src/chunks/encode.job.js");
    for (const path of [...jobs, "src/workers/worker.js", "src/wal/log-worker.js"]) {
      const files = filesOf(join("threads", path));
      expect(files.filter((file) => !file.startsWith("threads/"))).toEqual([]);
      expect(sizeOf(files)).toBeLessThan(path.startsWith("src/series") ? 330_000 : 200_000);
    }
    expect(sizeOf(filesOf("threads/src/wal/log-worker.js"))).toBeLessThan(50_000);
    const built = await load("src/built.js");
    for (const { threadFile, from } of [
      { threadFile: built["threadFile"] as typeof sourceThreadFile, from: join(dist, jobs[0]!) },
      { threadFile: sourceThreadFile, from: join(dist, "..", jobs[0]!.replace(/js$/, "ts")) },
    ]) {
      const inThreads = pathToFileURL(join(dist, "threads", jobs[0]!)).href;
      expect(threadFile(pathToFileURL(from).href)).toBe(inThreads);
    }
    const elsewhere = "file:///elsewhere/some.job.js";
    expect((built["threadFile"] as typeof sourceThreadFile)(elsewhere)).toBe(elsewhere);
  });

  it("is Latin-1 where every store loads it: V8 keeps any other source in two bytes a character", () => {
    const threads = readdirSync(join(dist, "threads"), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".js"))
      .map((path) => join("threads", path));
    const parts = ["ground", "disk", "library", "codec", "columns", "chunks", "features", "series", "state"];
    const chunks = [...parts, "critical"].map((name) => `chunks/${name}.js`);
    const isNarrow = (path: string) => !/[\u0100-\uffff]/.test(readFileSync(join(dist, path), "utf8"));
    expect([...threads, ...chunks].filter((path) => !isNarrow(path))).toEqual([]);
  });

  it.runIf(process.platform === "linux")(
    "asks for no huge pages, and leaves the environment alone",
    async () => {
      const program = `const before = JSON.stringify(process.env);
      await import(${JSON.stringify(pathToFileURL(join(dist, "index.js")).href)});
      const { readFileSync } = await import("node:fs");
      const asking = readFileSync("/proc/self/smaps", "utf8").match(/^VmFlags:.* hg\\b/gm) ?? [];
      console.log(asking.length, JSON.stringify(process.env) === before);`;
      const run = promisify(execFile);
      const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", program]);
      expect(stdout).toBe("0 true\n");
    },
  );

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
