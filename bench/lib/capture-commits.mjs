import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { openStore } from "../../dist/index.js";
import { allocateModel, ms } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

/** Commits of one process, alone and while another saves a gigabyte again and again in the same store. */
export async function commits({ say, megabytes = 1000, rounds = 20 }) {
  return withDirectory(async (directory) => {
    const path = `${directory}/store`;
    const store = await openStore(path, { create: true });
    const model = allocateModel(store, megabytes);
    await store.checkpoints.save("m", model, { profile: "fast" }).durable;
    const seconds = Math.max(4, rounds / 2);
    say("commits alone");
    const idle = await committing(path, seconds);
    say("commits beside saves");
    let saving = true;
    let saves = 0;
    const work = (async () => {
      while (saving) {
        for (const { data } of Object.values(model)) for (let i = 0; i < data.length; i += 7) data[i] += 1e-6;
        await store.checkpoints.save("m", model, { profile: "fast" }).durable;
        saves += 1;
      }
    })();
    const beside = await committing(path, seconds);
    saving = false;
    await work;
    const { io } = await store.stats();
    await store.close();
    const line = ({ count, p50Ms, p99Ms, maxMs }) =>
      `p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)}, max ${ms(maxMs)}, ${count} commits`;
    return {
      "commits alone": line(idle),
      [`commits beside continuous saves of ${megabytes} MB`]: line(beside),
      "ratio p50 / p99": `${(beside.p50Ms / idle.p50Ms).toFixed(2)} / ${(beside.p99Ms / idle.p99Ms).toFixed(2)}`,
      "saves meanwhile": saves,
      "saver waited for commits": ms(io.waitedForCommitsMs),
    };
  });
}

function committing(path, seconds) {
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL("capture-commits.child.mjs", import.meta.url)), path, String(seconds)],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout.on("data", (part) => {
      text += part;
    });
    child.on("close", (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`exit ${code}`))));
  });
}
