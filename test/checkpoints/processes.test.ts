import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../open-store.ts";
import { durableOf, expectAllRestore, expectKept, run, start, temporaryDirectory } from "./processes.ts";
import { seeded } from "./seeded.ts";

/** More for a campaign: `KILL_ROUNDS=200 npx vitest run test/checkpoints/processes`. */
const kills = Number(process.env["KILL_ROUNDS"] ?? 25);

let directory: string;

beforeEach(() => {
  directory = temporaryDirectory();
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("processes that share a store", () => {
  it("all succeed when they create it together and save to refs of their own", async () => {
    const store = `${directory}/new/store`;
    const answers = await Promise.all(["a", "b", "c"].map((ref) => run(["save", store, ref, 4, 1])));
    const durable = answers.flatMap(durableOf);
    expect(durable.length).toBe(12);
    expect(answers.flat().filter(([word]) => word === "failed")).toEqual([]);
    await expectKept(store, durable);
  });

  it("lose nothing and get ordered versions when they save to the same ref", async () => {
    const store = `${directory}/store`;
    await run(["save", store, "m", 1, 1]);
    const answers = await Promise.all([100, 200, 300].map((first) => run(["save", store, "m", 5, first])));
    const durable = answers.flatMap(durableOf);
    expect(durable.length).toBe(15);
    for (const answer of answers) {
      const versions = durableOf(answer).map(({ name }) => Number(name.split("@")[1]));
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
    }
    const numbers = durable.map(({ name }) => Number(name.split("@")[1])).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 15 }, (_, i) => i + 2));
    await expectKept(store, durable);
  });

  it("lose nothing live while one collects, one saves and one restores", async () => {
    const store = `${directory}/store`;
    await run(["save", store, "kept", 3, 1]);
    await run(["save", store, "pruned", 6, 50]);
    const collector = start(["collect", store, "pruned", 2]);
    await expect.poll(() => collector.lines.length).toBeGreaterThan(0);
    const savers = [start(["save", store, "pruned", 12, 100]), start(["save", store, "kept", 6, 10])];
    const reader = await openStore(store, { readOnly: true, workers: 0 });
    let restores = 0;
    let running = true;
    const ended = Promise.all(savers.map((saver) => saver.ended)).then(() => {
      running = false;
    });
    while (running || restores < 2) {
      const restored = await reader.checkpoints.restore("kept@2");
      expect(restored.get("small")!.data[0]).toBe(2);
      restores += 1;
      await delay(1);
    }
    await ended;
    await reader.close();
    await expect.poll(() => collector.lines.length).toBeGreaterThan(1);
    collector.process.stdin.write("stop\n");
    expect(await collector.ended).toBe(0);
    const durable = savers.flatMap((saver) => durableOf(saver.lines));
    expect(durable.length).toBe(18);
    await expectKept(
      store,
      durable.filter(({ name }) => name.startsWith("kept") || name === "pruned@18"),
    );
  });
});

describe("a process that is killed while it saves", () => {
  it("loses no durable version, at random moments", async () => {
    await seeded(async (random) => {
      const store = `${directory}/store`;
      const durable: { name: string; step: number }[] = [];
      let killed = 0;
      for (let round = 0; round < kills; round++) {
        // More than it can save before it is killed, on any disk.
        const child = start(["save", store, "m", 1e6, 1 + round * 40, round % 3]);
        // A process takes a while to start; what counts is when it dies after that.
        await expect.poll(() => child.lines.length, { interval: 5 }).toBeGreaterThan(0);
        await delay(random.below(120));
        child.process.kill("SIGKILL");
        expect(await child.ended).toBe("SIGKILL");
        killed += 1;
        durable.push(...durableOf(child.lines));
        if (round % 5 !== 4) continue;
        const opened = await openStore(store, { workers: 0 });
        const found = await expectAllRestore(opened);
        for (const { name, step } of durable) expect(found.get(name), name).toBe(step);
        // At most the save that was in flight is there without having been said.
        expect(found.size - durable.length).toBeLessThanOrEqual(killed);
        await opened.gc();
        await opened.close();
      }
      await expectKept(store, durable);
    });
  });
});
