import { describe, expect, it } from "vitest";
import { explore } from "./explore.ts";

/** Fresh on every run; `VARVE_SEED` repeats one. */
const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));

describe(`power cuts during any write of the log (VARVE_SEED=${seed})`, () => {
  it("never lose an acknowledged record, nor keep a torn one", async () => {
    const t = process.cpuUsage();
    const found = await explore({ seed, states: 20_000 });
    console.log((20000 / (process.cpuUsage(t).user + process.cpuUsage(t).system)) * 1e6);
    console.log(found);
    expect(found.states).toBeGreaterThanOrEqual(20_000);
    expect(found.torn).toBeGreaterThan(0);
    expect(found.duringRecovery).toBeGreaterThan(0);
  });
});
