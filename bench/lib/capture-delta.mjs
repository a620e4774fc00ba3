import { rmSync } from "node:fs";
import { setImmediate as turn } from "node:timers/promises";
import { openStore } from "../../dist/index.js";
import {
  allocateModel,
  compute,
  generator,
  median,
  ms,
  plainSave,
  quantile,
  spread,
  writeFileSave,
} from "./capture-model.mjs";
import { findPeers } from "./peers.mjs";
import { withDirectory } from "./places.mjs";
import { saveTensors } from "./torch.mjs";

/**
 * Every weight moves a little; the whole way to durable, and how much a computing loop is slowed down meanwhile. In each
 * round the same tensors are also saved by what one would use without a store, and by the disk's floor.
 */
export async function delta({ say, megabytes = 1000, rounds = 3 }) {
  const hasTorch = findPeers(["torch"], say).has("torch");
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, { create: true });
    const model = allocateModel(store, megabytes);
    const random = generator(7);
    await store.checkpoints.save("m", model, { profile: "fast" }).durable;
    const times = { save: [], plain: [], aside: [], writeFile: [], torch: [] };
    const captured = [];
    const processor = [];
    const bare = [];
    const beside = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1}`);
      moveWeights(model, random);
      bare.push(compute(1000));
      const before = process.cpuUsage();
      const start = performance.now();
      const ticket = store.checkpoints.save("m", model, { profile: "fast" });
      await ticket.captured;
      captured.push(performance.now() - start);
      await ticket.durable;
      times.save.push(performance.now() - start);
      const { user, system } = process.cpuUsage(before);
      processor.push((user + system) / 1000);
      const second = store.checkpoints.save("other", model, { profile: "fast" });
      beside.push(await computeInTurns());
      await second.durable;
      const plain = `${directory}/plain`;
      times.aside.push(plainSave(model, plain, { aside: true }));
      // The first of the two may find pages the host has not given yet: they go first in turn.
      const buffered = {
        writeFile: () => writeFileSave(model, plain),
        plain: () => plainSave(model, plain),
      };
      const order = Object.keys(buffered);
      for (const what of round % 2 === 0 ? order : order.reverse()) times[what].push(await buffered[what]());
      if (hasTorch) {
        const out = `${directory}/model.pt`;
        times.torch.push(saveTensors(plain, Object.keys(model).length, out));
        rmSync(out);
      }
    }
    await store.close();
    return {
      ...report(times, megabytes),
      "of the save, until its tensors are captured": spread(captured),
      "processor time of the save, all threads": spread(processor),
      "slow-down of a computing loop beside a save": `${((1 - median(beside) / median(bare)) * 100).toFixed(1)} %`,
    };
  });
}

function moveWeights(model, random) {
  for (const { data } of Object.values(model)) {
    for (let i = 0; i < data.length; i++) data[i] *= 1 + (random() / 2 ** 32 - 0.5) * 1e-4;
  }
}

/** A second of computing that gives the event loop a turn every 50 ms. */
async function computeInTurns() {
  let rounds = 0;
  for (let i = 0; i < 20; i++) {
    rounds += compute(50);
    await turn();
  }
  return rounds;
}

function report(times, megabytes) {
  const names = {
    save: "delta save, fast profile, to durable",
    plain: "plain write and fsync",
    aside: "the same with O_DIRECT, the floor",
    writeFile: "fs.writeFile and fsync",
    torch: "torch.save and fsync",
  };
  const line = (what) => {
    const values = times[what];
    if (values.length === 0) return "skipped: torch is not installed";
    const speed = ((megabytes / median(values)) * 1000).toFixed(0);
    const range = `${ms(quantile(values, 0))} to ${ms(quantile(values, 1))}`;
    const ratio =
      what === "save" ? "" : `; the save takes ${(median(times.save) / median(values)).toFixed(2)} x of it`;
    return `${ms(median(values))} (${range}), ${speed} MB/s${ratio}`;
  };
  return Object.fromEntries(Object.entries(names).map(([what, name]) => [name, line(what)]));
}
