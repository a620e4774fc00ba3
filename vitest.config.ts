import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Crash and fuzz slices fork processes and share two cores, perhaps with others: generous, so that only a hang fails.
    testTimeout: 900_000,
    hookTimeout: 300_000,
    teardownTimeout: 300_000,
    expect: { poll: { timeout: 300_000 } },
    pool: "forks",
    maxWorkers: 2,
  },
});
