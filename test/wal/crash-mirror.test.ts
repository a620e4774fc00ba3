import { describe, expect, it } from "vitest";
import { explore } from "./explore.ts";

/** Fresh on every run; `VARVE_SEED` repeats one, `VARVE_STATES` explores more or fewer. */
const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const STATES = Number(process.env["VARVE_STATES"] ?? 40_000);

describe(`power cuts during any write of a log with a mirror (VARVE_SEED=${seed})`, () => {
  it("never lose an acknowledged record, nor roll one copy back by the other", async () => {
    const found = await explore({ seed, states: STATES, withMirror: true });
    console.log(`${found.states} crash states explored, VARVE_SEED=${seed}`);
    expect(found.states).toBeGreaterThanOrEqual(STATES);
    expect(found.duringRecovery).toBeGreaterThan(STATES / 10);
  });
});

describe(`power cuts during writes that cross from one small segment to the next (VARVE_SEED=${seed + 1})`, () => {
  it("never lose an acknowledged record, nor take a segment given up for a lost one", async () => {
    const states = STATES + 10_000;
    const found = await explore({ seed: seed + 1, states, segmentBlocks: 4 });
    console.log(`${found.states} crash states explored, VARVE_SEED=${seed}`);
    expect(found.states).toBeGreaterThanOrEqual(states);
    expect(found.torn).toBeGreaterThan(states / 20);
  });
});
