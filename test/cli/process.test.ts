import { type SpawnOptions, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

/** The built command line: what the other tests do not reach is the process around it. */
const main = join(import.meta.dirname, "../../dist/cli/main.js");

function runProcess(argv: string[], stdio: SpawnOptions["stdio"] = "pipe", closeOutput = false) {
  const child = spawn(process.execPath, [main, ...argv], { stdio });
  let out = "";
  let err = "";
  if (closeOutput) child.stdout?.destroy();
  else child.stdout?.on("data", (data) => (out += data));
  child.stderr?.on("data", (data) => (err += data));
  return new Promise<{ exitCode: number | null; out: string; err: string }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode) => resolve({ exitCode, out, err }));
  });
}

describe("the varve process", () => {
  it("ends with the exit code of its command, its output whole", async () => {
    const version = await runProcess(["version", "--json"]);
    expect(version).toMatchObject({ exitCode: 0, err: "" });
    expect(JSON.parse(version.out)).toMatchObject({ node: process.version });
    expect(await runProcess(["frobnicate"])).toMatchObject({ exitCode: 2, out: "" });
  });

  it("is quiet when the reader of its output goes away", async () => {
    expect(await runProcess(["--help"], "pipe", true)).toEqual({ exitCode: 0, out: "", err: "" });
  });

  it.runIf(process.platform === "linux")("fails when its output has nowhere to go", async () => {
    const full = openSync("/dev/full", "w");
    const { exitCode, err } = await runProcess(["--help"], ["ignore", full, "pipe"]);
    closeSync(full);
    expect(exitCode).toBe(1);
    expect(err).toContain("error: cannot write the output: ENOSPC");
  });
});
