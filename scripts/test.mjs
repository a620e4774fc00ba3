// Runs the test suite and ends with the one line that says how it went: "N passed, N failed". Tests and the processes
// they start run on the Node.js that runs this script: `npx -y node@24 scripts/test.mjs` tries another one.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "varve-test-"));
const report = join(scratch, "report.json");
const run = spawnSync(
  process.execPath,
  [
    `${root}node_modules/vitest/vitest.mjs`,
    "run",
    "--reporter=default",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...process.argv.slice(2),
  ],
  { cwd: root, stdio: "inherit" },
);

let summary;
try {
  const { numPassedTests, numFailedTests, numPendingTests, testResults, success } = JSON.parse(
    readFileSync(report, "utf8"),
  );
  // A file that fails to load has no tests to count: it is a failure all the same.
  const brokenFiles = testResults.filter(
    (file) => file.status === "failed" && file.assertionResults.length === 0,
  ).length;
  const skipped = numPendingTests > 0 ? `, ${numPendingTests} skipped` : "";
  const failed = Math.max(numFailedTests + brokenFiles, success ? 0 : 1);
  summary = `${numPassedTests} passed, ${failed} failed${skipped}`;
} catch {
  summary = "0 passed, 1 failed";
}
rmSync(scratch, { recursive: true, force: true });
console.log(summary);
process.exit(run.status === 0 && / 0 failed/.test(summary) ? 0 : 1);
