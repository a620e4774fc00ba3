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

/** A disk that tells of everything that changes it, on this thread. */
function watched(disk, directory, tell) {
  const part = (path) =>
    path
      .slice(directory.length + 1)
      .split("/")
      .slice(0, -1)
      .join("/") || "root";
  const telling = (target, methods, nameOf) =>
    new Proxy(target, {
      get(_, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        if (!methods.includes(name)) return value.bind(target);
        return (...args) => {
          const event = `${name}:${nameOf(name, args)}`;
          tell(event, "before");
          const result = value.apply(target, args);
          if (!(result instanceof Promise)) tell(event, "after");
          else result.then(() => tell(event, "after"));
          return result;
        };
      },
    });
  const changing = ["write", "writeSync", "sync", "syncSync", "truncate"];
  const open = (path, options) => {
    const file = disk.open(path, options);
    return options.access === "read" ? file : telling(file, changing, () => part(path));
  };
  const outer = ["rename", "remove", "syncDirectory", "syncDirectoryAsync", "makeDirectory"];
  const watching = telling(disk, outer, (_, [path]) => part(path));
  return new Proxy(watching, { get: (_, name) => (name === "open" ? open : Reflect.get(watching, name)) });
}

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
    // A restore goes on: what was queued behind the deaths of all threads is read by others.
    const restoredBeside = async (image) => {
      const into = checkpoints.allocate(SPECS);
      const deaths = [1, 2].map(() =>
        engine.pool.run({ url: import.meta.url, name: "die" }, {}).catch(() => {}),
      );
      await checkpoints.restoreInto(`m@${version}`, into);
      await Promise.all(deaths);
      const same = Object.values(into).every(({ data }) => data.every((value, i) => value === valueAt(2, i)));
      say(image ? "image" : "chunks", same);
    };
    await restoredBeside(false);
    await (await checkpoints.pin("m")).imaged;
    await restoredBeside(true);
    await checkpoints.close();
    await engine.close();
  },

  /**
   * Saves twice, and is killed at the `at`th thing that the second save does to the disk: before it, after it, or a little
   * later. Without `at`, says what there is.
   */
  async phases(directory, at, when) {
    const { openStore } = await import("../../dist/index.js");
    const { realDisk } = await import("../../dist/src/disk/real-disk.js");
    const events = [];
    let armed = false;
    const die = () => process.kill(process.pid, "SIGKILL");
    const disk = watched(realDisk, directory, (name, moment) => {
      if (!armed) return;
      if (moment === "before") events.push(name);
      if (events.length - 1 !== Number(at)) return;
      if (when === moment) die();
      if (when === "later" && moment === "after") setTimeout(die, 1);
    });
    const store = await openStore(directory, { create: true, workers: 2, stagingBytes: 1 << 20, disk });
    const tensors = store.checkpoints.allocate(SPECS);
    for (const step of [1, 2]) {
      fill(tensors, step);
      armed = step === 2;
      const ticket = store.checkpoints.save("m", tensors, { step });
      await ticket.captured;
      fill(tensors, 99);
      const { version } = await ticket.durable;
      say("durable", version, step);
    }
    if (at === undefined) say("events", ...events);
    await store.close();
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
  const [verb, ...args] = process.argv.slice(2);
  await verbs[verb](...args);
}
