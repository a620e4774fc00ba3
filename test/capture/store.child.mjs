// One process of the tests of capturing: `node store.child.mjs VERB STORE …`; runs the built code.
import { isMainThread } from "node:worker_threads";

/** A job that ends the worker it runs on. */
export function die() {
  process.exit(3);
}

const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);

/** What every element of step `n` is; tensors of 3 MB, so that most of them goes through the spool. */
export const valueAt = (step, i) => Math.fround(Math.sin(step * 7919 + (i % 1009)));

function fill(tensors, step) {
  for (const { data } of Object.values(tensors))
    for (let i = 0; i < data.length; i++) data[i] = valueAt(step, i);
}

const SPECS = { a: { dtype: "F32", shape: [700_000] }, b: { dtype: "F32", shape: [100_000] } };

const verbs = {
  /** Saves step after step, overwriting right after the fence, until it is killed. */
  async save(directory) {
    const { openStore } = await import("../../dist/index.js");
    const store = await openStore(directory, { create: true, workers: 2, stagingBytes: 1 << 20 });
    const tensors = store.checkpoints.allocate(SPECS);
    say("open");
    for (let step = 1; ; step++) {
      fill(tensors, step);
      const ticket = store.checkpoints.save("m", tensors, { step });
      ticket.durable.then(({ version }) => say("durable", version, step));
      await ticket.captured;
      say("captured", step);
    }
  },

  /** A worker dies before it captures: that save fails, the next one is whole. */
  async worker(directory) {
    const { openEngine } = await import("../../dist/src/store.js");
    const { Checkpoints } = await import("../../dist/checkpoints/checkpoints.js");
    const engine = await openEngine(directory, { create: true, workers: 2 });
    const checkpoints = new Checkpoints(engine, { stagingBytes: 1 << 20 });
    const tensors = checkpoints.allocate(SPECS);
    fill(tensors, 1);
    const dying = engine.pool.run({ url: import.meta.url, name: "die" }, {}).catch(() => {});
    const ticket = checkpoints.save("m", tensors, { step: 1 });
    const code = (promise) =>
      promise.then(
        () => "resolved",
        (error) => error.code,
      );
    say(
      "first",
      await code(ticket.captured),
      await code(ticket.tensorCaptured("a")),
      await code(ticket.durable),
    );
    await dying;
    fill(tensors, 2);
    const { version } = await checkpoints.save("m", tensors, { step: 2 }).durable;
    const restored = await checkpoints.restore(`m@${version}`);
    const right = [...restored.values()].every(({ data }) =>
      data.every((value, i) => value === valueAt(2, i)),
    );
    say("second", right, checkpoints.captureStats().stagingFreeBytes);
    await checkpoints.close();
    await engine.close();
  },

  /** Saves once for each line it is sent. */
  async serve(directory) {
    const { openStore } = await import("../../dist/index.js");
    const store = await openStore(directory, { create: true, workers: 0 });
    const tensors = store.checkpoints.allocate({ w: { dtype: "F32", shape: [1000] } });
    say("open");
    let step = 0;
    for await (const _ of process.stdin) {
      step += 1;
      tensors.w.data.fill(step);
      const { version } = await store.checkpoints.save("m", tensors, { step }).durable;
      say("durable", version, Date.now());
    }
    await store.close();
  },
};

if (isMainThread && process.argv[1]?.endsWith("store.child.mjs")) {
  const [verb, directory] = process.argv.slice(2);
  await verbs[verb](directory);
}
