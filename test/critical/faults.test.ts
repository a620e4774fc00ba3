import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const CAMPAIGN = fileURLToPath(new URL("../campaigns/critical-faults.mjs", import.meta.url));

it("loses nothing to kills, failed writes and syncs, full disks and power cuts of a real disk", () => {
  const run = spawnSync(process.execPath, [CAMPAIGN, "--quick"], { encoding: "utf8" });
  // What was tried, what it held, and what this machine does not allow.
  console.log(run.stdout);
  expect(run.stderr).toBe("");
  expect(run.stdout).not.toContain("FAILED");
  expect(run.status).toBe(0);
});
