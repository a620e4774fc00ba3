import { setImmediate as turn } from "node:timers/promises";
import { openStore } from "../../dist/index.js";
import { allocateModel, compute, generator, median, ms, plainSave, spread } from "./capture-model.mjs";
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

/** Every weight moves a little; the whole way to durable, and how much a computing loop is slowed down meanwhile. */
export async function delta({ say, megabytes = 1000, rounds = 3 }) {
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, { create: true });
    const model = allocateModel(store, megabytes);
    const random = generator(7);
    await store.checkpoints.save("m", model, { profile: "fast" }).durable;
    const saves = [];
    const plain = [];
    const aside = [];
    const bare = [];
    const beside = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1}`);
      for (const { data } of Object.values(model)) {
        for (let i = 0; i < data.length; i++) data[i] *= 1 + (random() / 2 ** 32 - 0.5) * 1e-4;
      }
      bare.push(compute(1000));
      const start = performance.now();
      const ticket = store.checkpoints.save("m", model, { profile: "fast" });
      await ticket.durable;
      saves.push(performance.now() - start);
      const second = store.checkpoints.save("other", model, { profile: "fast" });
      let rate = 0;
      for (let i = 0; i < 20; i++) {
        rate += compute(50);
        await turn();
      }
      beside.push(rate);
      await second.durable;
      plain.push(plainSave(model, `${directory}/plain`));
      aside.push(plainSave(model, `${directory}/plain`, { aside: true }));
    }
    await store.close();
    const speed = (values) => `${((megabytes / median(values)) * 1000).toFixed(0)} MB/s`;
    return {
      "delta save, fast profile": `${ms(median(saves))}, ${speed(saves)}`,
      "plain write and fsync": `${ms(median(plain))}, ${speed(plain)}`,
      "the same with O_DIRECT": `${ms(median(aside))}, ${speed(aside)}`,
      "ratio (save / plain, save / O_DIRECT)": `${(median(saves) / median(plain)).toFixed(2)}, ${(median(saves) / median(aside)).toFixed(2)}`,
      "slow-down of a computing loop beside a save": `${((1 - median(beside) / median(bare)) * 100).toFixed(1)} %`,
    };
  });
}
