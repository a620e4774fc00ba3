import { describe, expect, it } from "vitest";
import { explore } from "./explore.ts";

/** Fresh on every run; `VARVE_SEED` repeats one, `VARVE_STATES` explores more or fewer. */
const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const STATES = Number(process.env["VARVE_STATES"] ?? 110_000);

describe(`power cuts during any write of the log (VARVE_SEED=${seed})`, () => {
  it("never lose an acknowledged record, nor keep a torn one", async () => {
    const found = await explore({ seed, states: STATES });
    console.log(`${found.states} crash states explored, VARVE_SEED=${seed}`);
    expect(found.states).toBeGreaterThanOrEqual(STATES);
    expect(found.duringRecovery).toBeGreaterThan(STATES / 10);
    expect(found.torn).toBeGreaterThan(STATES / 20);
    expect(found.failed).toBeGreaterThan(0);
  });
});
