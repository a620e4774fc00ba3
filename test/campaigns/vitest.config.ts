import { defineConfig } from "vitest/config";

/** Long runs, one file each: `npx vitest run --config test/campaigns/vitest.config.ts save-crash`. */
export default defineConfig({
  test: {
    root: `${import.meta.dirname}/../..`,
    include: ["test/campaigns/{save,checkpoint}-*.ts"],
    testTimeout: 24 * 3_600_000,
    hookTimeout: 600_000,
    pool: "forks",
    maxWorkers: 1,
  },
});
