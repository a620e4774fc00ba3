// One process of the tests that kill processes: `node store.child.mjs VERB STORE …`; runs the built code.
import { createHash } from "node:crypto";
import { openStore } from "../../dist/index.js";
import { modelOf } from "./step-model.mjs";

const [verb, directory, ...rest] = process.argv.slice(2);

const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);

/** What a restored version holds, as a word. */
function digestOf(tensors) {
  const hash = createHash("sha256");
  for (const name of [...tensors.keys()].sort()) {
    const { data } = tensors.get(name);
    hash.update(name).update(Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest("hex");
}

const verbs = {
  /** Saves `count` steps from `first` on and says each one that is durable. */
  async save(ref, count, first, workers = "1") {
    let store;
    try {
      store = await openStore(directory, { create: true, workers: Number(workers) });
    } catch (error) {
      say("failed", error.code, error.message);
      return;
    }
    say("open");
    for (let step = Number(first); step < Number(first) + Number(count); step++) {
      try {
        const options = { step, metadata: { from: String(process.pid) } };
        const { version, storedBytes } = await store.checkpoints.save(ref, modelOf(step), options).durable;
        say("durable", ref, version, step, storedBytes);
      } catch (error) {
        say("failed", error.code, error.message);
      }
    }
    await store.close();
  },

  /** Restores versions and says what each holds. */
  async restore(...selectors) {
    const store = await openStore(directory, { readOnly: true, workers: 0 });
    for (const selector of selectors) {
      try {
        say("restored", selector, digestOf(await store.checkpoints.restore(selector)));
      } catch (error) {
        say("refused", selector, error.code ?? "raw", error.message);
      }
    }
    await store.close();
  },

  /** Prunes and collects until it is told to stop. */
  async collect(ref, keepLast) {
    const store = await openStore(directory, { workers: 0 });
    let rounds = 0;
    process.stdin.on("data", () => {
      rounds = -1;
    });
    while (rounds >= 0) {
      await store.checkpoints.prune(ref, { keepLast: Number(keepLast) });
      await store.gc();
      if (rounds >= 0) rounds += 1;
      say("collected");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await store.close();
    process.stdin.destroy();
  },
};

await verbs[verb](...rest);
