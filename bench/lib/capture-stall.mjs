import { setImmediate as turn } from "node:timers/promises";
import { openStore } from "../../dist/index.js";
import { allocateModel, compute, median, ms, plainSave, spread } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

/**
 * A loop that saves, computes for a while, waits for each tensor's fence and writes it. The stall is the call of `save`
 * and the waits for fences.
 */
export async function stall({ say, megabytes = 1000, rounds = 20, staging }) {
  const figures = {};
  const sizes = staging === undefined ? [64e6, megabytes * 1.1e6] : [staging * 1e6];
  for (const stagingBytes of sizes) {
    await withDirectory(async (directory) => {
      const options = { create: true, stagingBytes: Math.ceil(stagingBytes), onError: () => {} };
      const store = await openStore(`${directory}/store`, options);
      const model = allocateModel(store, megabytes);
      const label = `${megabytes} MB, staging ${Math.round(stagingBytes / 1e6)} MB`;
      // Twice, so that the spool's pages are there: the drain's own time, with nothing else to do.
      const drains = [];
      for (let i = 0; i < 3; i++) {
        const start = performance.now();
        const ticket = store.checkpoints.save("warm", model, { profile: "fast" });
        await ticket.captured;
        drains.push(performance.now() - start);
        await ticket.durable;
      }
      const drainMs = median(drains.slice(1));
      figures[`${label}: drain alone`] = ms(drainMs);
      for (const factor of [1.5, 1, 0.5, 0]) {
        say(`${label}: ${factor} x drain between writes`);
        const runs = factor === 1.5 ? rounds : Math.ceil(rounds / 4);
        const { calls, stalls } = await loop(store, model, runs, drainMs * factor);
        if (factor === 1.5) figures[`${label}: save call`] = spread(calls);
        figures[`${label}: stall, writes after ${factor} x drain`] = spread(stalls);
      }
      figures[`${label}: captured so far`] = JSON.stringify(store.checkpoints.captureStats());
      if (figures["plain write and fsync"] === undefined) {
        figures["plain write and fsync"] = ms(plainSave(model, `${directory}/plain`));
      }
      await store.close();
    });
  }
  return figures;
}

async function loop(store, model, rounds, betweenMs) {
  const calls = [];
  const stalls = [];
  for (let i = 0; i < rounds; i++) {
    const called = performance.now();
    const ticket = store.checkpoints.save("loop", model, { profile: "fast" });
    const call = performance.now() - called;
    for (let left = betweenMs; left > 0; left -= 20) {
      compute(Math.min(20, left));
      await turn();
    }
    let waited = 0;
    for (const [name, { data }] of Object.entries(model)) {
      const start = performance.now();
      await ticket.tensorCaptured(name);
      waited += performance.now() - start;
      data[i] = i;
    }
    calls.push(call);
    stalls.push(call + waited);
    // The next save is not to wait for this one: stalls are of the capture alone.
    await ticket.durable;
  }
  return { calls, stalls };
}
