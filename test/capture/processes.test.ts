import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openStore } from "../../open-store.ts";
import { seeded } from "../checkpoints/seeded.ts";

let directory: string;
let children: ChildProcess[];

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "varve-capture-")), "store");
  children = [];
});

afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(join(directory, ".."), { recursive: true, force: true });
});

function start(
  verb: string,
  ...args: string[]
): { child: ChildProcess; lines: string[][]; ended: Promise<unknown> } {
  const script = join(import.meta.dirname, "store.child.mjs");
  const child = spawn(process.execPath, [script, verb, directory, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(child);
  const lines: string[][] = [];
  let rest = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    lines.push(...parts.map((line) => line.split(" ")));
  });
  const ended = new Promise((resolve) => child.on("close", (code, signal) => resolve(signal ?? code)));
  return { child, lines, ended };
}

/** As the child fills its tensors. */
const valueAt = (step: number, i: number) => Math.fround(Math.sin(step * 7919 + (i % 1009)));

describe("a process that is killed while it captures, spools and encodes", () => {
  it("leaves every durable version whole and nothing in the way, at whatever moment", async () => {
    await seeded(async (random) => {
      for (let round = 0; round < 6; round++) {
        const { child, lines, ended } = start("save");
        const awaited = round === 0 ? "durable" : "open";
        await expect.poll(() => lines.some(([word]) => word === awaited)).toBe(true);
        await new Promise((resolve) => setTimeout(resolve, random.below(400)));
        child.kill("SIGKILL");
        await ended;
        const store = await openStore(directory, { workers: 0, stagingBytes: 1 << 20 });
        const versions = store.checkpoints.log("m");
        const durable = lines.filter(([word]) => word === "durable").map(([, version]) => Number(version));
        for (const version of durable) expect(versions.map((each) => each.version)).toContain(version);
        for (const { version, step } of versions.slice(-3)) {
          const restored = await store.checkpoints.restore(`m@${version}`);
          for (const { data } of restored.values()) {
            const wrong = (data as Float32Array).findIndex((value, i) => value !== valueAt(step!, i));
            expect(wrong, `m@${version}`).toBe(-1);
          }
        }
        // What the killed one spooled is swept by the next one that spools.
        const model = store.checkpoints.allocate({ w: { dtype: "F32", shape: [700_000] } });
        await store.checkpoints.save("other", model).durable;
        expect(readdirSync(join(directory, "spool")).length).toBe(1);
        await store.close();
        expect(readdirSync(join(directory, "spool"))).toEqual([]);
      }
    });
  });
});

describe("a process that is killed in every phase of a save", () => {
  it("leaves the version before whole, and the one under way whole or not at all", () =>
    seeded(async (random) => {
      const first = start("phases");
      expect(await first.ended).toBe(0);
      const events = first.lines.find(([word]) => word === "events")!.slice(1);
      // Packs are written and synced, the version log and its mark as well: every step of a save is among them.
      const parts = new Set(events.map((event) => event.split(":")[1]));
      expect([...parts]).toEqual(expect.arrayContaining(["chunks/packs", "versions"]));
      for (let at = 0; at < events.length; at++) {
        directory = join(directory, "..", `killed-${at}`);
        const when = random.pick(["before", "after", "later"]);
        const { lines, ended } = start("phases", String(at), when);
        const end = await ended;
        const where = `${when} ${at} ${events[at]}`;
        // The last ones may come when the save is over and the store is being closed.
        expect([0, "SIGKILL"], where).toContain(end);
        const store = await openStore(directory, { workers: 0, stagingBytes: 1 << 20 });
        const steps = store.checkpoints.log("m").map(({ step }) => step);
        expect([[1], [1, 2]], where).toContainEqual(steps);
        if (lines.some(([word, version]) => word === "durable" && version === "2"))
          expect(steps, where).toEqual([1, 2]);
        for (const step of steps) {
          for (const { data } of (await store.checkpoints.restore(`m@${step}`)).values()) {
            expect((data as Float32Array).findIndex((value, i) => value !== valueAt(step!, i))).toBe(-1);
          }
        }
        const model = store.checkpoints.allocate({ w: { dtype: "F32", shape: [1000] } });
        expect((await store.checkpoints.save("m", model).durable).version, where).toBe(steps.length + 1);
        expect((await store.check({ readData: true })).ok, where).toBe(true);
        await store.close();
      }
    }));
});

describe("a worker thread that dies", () => {
  it("fails the save it worked for and no other", async () => {
    const { lines, ended } = start("worker");
    expect(await ended).toBe(0);
    // The other worker may have captured one tensor whole.
    expect([lines[0]![1], lines[0]![3]]).toEqual(["ERR_POISONED", "ERR_POISONED"]);
    expect(["ERR_POISONED", "resolved"]).toContain(lines[0]![2]);
    expect(lines[1]).toEqual(["second", "true", String(1 << 20)]);
    expect(lines.slice(2), "restores go on").toEqual([
      ["chunks", "true"],
      ["image", "true"],
    ]);
    expect(existsSync(join(directory, "varve.json"))).toBe(true);
  });
});

describe("a program given as text", () => {
  it("has its worker threads as any other", async () => {
    const code = `
      const { openStore } = await import(${JSON.stringify(join(import.meta.dirname, "../../dist/index.js"))});
      const store = await openStore(process.argv[1], { create: true, workers: 2 });
      const model = store.checkpoints.allocate({ w: { dtype: "F32", shape: [1000] } });
      const { version } = await store.checkpoints.save("m", model).durable;
      const map = store.critical.map("m");
      await Promise.all([1, 2, 3].map((n) => store.critical.commitAsync((tx) => tx.put(map, String(n), n))));
      console.log(version, map.get("3"));
      await store.close();`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--input-type=module",
      "-e",
      code,
      directory,
    ]);
    expect(stdout).toBe("1 3\n");
  });
});

describe("following a ref", () => {
  it("sees what another process saves, each version once and in order, and updates in place", async () => {
    const { child, lines } = start("serve");
    await expect.poll(() => lines.length).toBe(1);
    const store = await openStore(directory, { workers: 0 });
    const tensors = store.checkpoints.allocate({ w: { dtype: "F32", shape: [1000] } });
    const abort = new AbortController();
    const seen: number[] = [];
    let have: string | undefined;
    child.stdin!.write("x\n");
    for await (const { ref, version, step } of store.checkpoints.follow("m", { signal: abort.signal })) {
      seen.push(version);
      const now = `${ref}@${version}`;
      await store.checkpoints.restoreInto(now, tensors, have === undefined ? {} : { from: have });
      expect((tensors.w.data as Float32Array).every((value) => value === step)).toBe(true);
      if (have !== undefined) {
        expect(await store.checkpoints.changes(have, now)).toEqual([
          { name: "w", file: "model.safetensors", rows: [{ from: 0, to: 1000 }], isNew: false },
        ]);
        expect(await store.checkpoints.changes(now, now)).toEqual([]);
      }
      have = now;
      if (version === 4) abort.abort();
      else child.stdin!.write("x\n");
    }
    expect(seen).toEqual([1, 2, 3, 4]);
    child.stdin!.end();
    await store.close();
  });

  it("sees this process's own saves at once, without looking for them, and refuses what is no ref or version", async () => {
    const store = await openStore(directory, { create: true, workers: 0 });
    const model = () => ({ w: { dtype: "F32" as const, shape: [2], data: new Float32Array(2) } });
    // No time passes: the next look for other processes' saves never comes.
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    try {
      const seen: number[] = [];
      const stop = new AbortController();
      const following = (async () => {
        for await (const { version } of store.checkpoints.follow("new", { signal: stop.signal }))
          seen.push(version);
      })();
      for (const version of [1, 2, 3]) {
        await store.checkpoints.save("new", model()).durable;
        await new Promise((resolve) => setImmediate(resolve));
        expect(seen.at(-1)).toBe(version);
      }
      stop.abort();
      await following;
    } finally {
      vi.useRealTimers();
    }
    const first = (ref: string, after?: unknown) =>
      store.checkpoints.follow(ref, { after: after as number, signal: AbortSignal.timeout(1000) }).next();
    for (const after of [Number.NaN, -1, 0.5, "2"]) {
      await expect(first("new", after)).rejects.toThrowError(/after is/);
    }
    await expect(first("new@1")).rejects.toThrowError(/no ref name/);
    await store.close();
  });

  it("finds tensors that hold another version than they are said to, and tells those that are gone", async () => {
    const store = await openStore(directory, { create: true, workers: 0, strict: true });
    const shape = (...axes: number[]) => ({ dtype: "F32" as const, shape: axes });
    const shapes = { gone: shape(3), kept: shape(5), near: shape(6), last: shape(70_000) };
    const model = store.checkpoints.allocate(shapes);
    const filled = (value: number) => {
      for (const { data } of Object.values(model)) (data as Float32Array).fill(value);
      return model;
    };
    await store.checkpoints.save("m", filled(1)).durable;
    await store.checkpoints.save("m", filled(2)).durable;
    const { gone, ...rest } = model;
    await store.checkpoints.save("m", rest).durable;
    expect(await store.checkpoints.changes("m@1", "m@2")).toHaveLength(4);
    const changes = await store.checkpoints.changes("m@2", "m@3");
    expect(changes.filter(({ isRemoved }) => isRemoved)).toEqual([
      { name: "gone", file: "model.safetensors", rows: [], isNew: false, isRemoved: true },
    ]);
    const back = await store.checkpoints.changes("m@3", "m@2");
    expect(back.find(({ name }) => name === "gone")).toMatchObject({
      rows: [{ from: 0, to: 3 }],
      isNew: true,
    });
    const valuesOf = () => Object.values(rest).map(({ data }) => (data as Float32Array)[1]);
    for (const [held, ok] of [
      [1, false],
      [2, true],
    ] as const) {
      filled(held);
      const restored = store.checkpoints.restoreInto("m@3", rest, { from: "m@2" });
      if (ok) await restored;
      else await expect(restored).rejects.toMatchObject({ code: "ERR_CONFLICT" });
      expect(valuesOf()).toEqual([held, held, held]);
    }
    filled(1);
    const believed = await store.checkpoints.restoreInto("m@3", rest, { from: "m@2", strict: false });
    expect(believed.version).toBe(3);
    expect((rest.last.data as Float32Array)[1], "without it they are believed").toBe(1);
    // Small tensors share a chunk: each is held to its own part of it.
    filled(2);
    (rest.last.data as Float32Array)[0] = 3;
    await store.checkpoints.save("m", rest).durable;
    expect((await store.checkpoints.changes("m@3", "m@4")).map(({ name }) => name)).toEqual(["last"]);
    (rest.near.data as Float32Array)[5] = 7;
    await expect(store.checkpoints.restoreInto("m@4", rest, { from: "m@3" })).rejects.toMatchObject({
      context: { tensors: ["near"] },
    });
    const { near: _, ...others } = rest;
    await store.checkpoints.restoreInto("m@4", others, { from: "m@3" });
    await store.close();
  });

  it("reads only the chunks that differ, and ends when the store is closed", async () => {
    const store = await openStore(directory, { create: true, workers: 0 });
    const model = store.checkpoints.allocate({
      big: { dtype: "F32", shape: [3000, 100] },
      same: { dtype: "F32", shape: [90_000] },
      small: { dtype: "F32", shape: [5] },
    });
    const big = model.big.data as Float32Array;
    await store.checkpoints.save("m", model).durable;
    big[1500 * 100] = 1;
    (model.small.data as Float32Array)[2] = 3;
    await store.checkpoints.save("m", model).durable;
    const changes = await store.checkpoints.changes("m@1", "m@2");
    expect(changes.map(({ name }) => name).sort()).toEqual(["big", "small"]);
    const [rows] = changes.find(({ name }) => name === "big")!.rows;
    expect(rows).toEqual({ from: 1310, to: 1967 });
    const target = store.checkpoints.allocate({
      big: { dtype: "F32", shape: [3000, 100] },
      same: { dtype: "F32", shape: [90_000] },
    });
    (target.same.data as Float32Array)[0] = 77;
    await store.checkpoints.restoreInto("m@2", target, { from: "m@1" });
    expect((target.big.data as Float32Array)[1500 * 100]).toBe(1);
    expect((target.same.data as Float32Array)[0], "what did not change is not read").toBe(77);
    const strict = { from: "m@1", strict: true };
    (target.big.data as Float32Array)[1500 * 100] = 4;
    await expect(store.checkpoints.restoreInto("m@2", target, strict)).rejects.toMatchObject({
      code: "ERR_CONFLICT",
      context: { from: "m@1", tensors: ["same"] },
    });
    expect((target.big.data as Float32Array)[1500 * 100], "nothing was touched").toBe(4);
    (target.same.data as Float32Array)[0] = 0;
    await store.checkpoints.restoreInto("m@2", target, strict);
    expect((target.big.data as Float32Array)[1500 * 100]).toBe(1);
    const following = (async () => {
      for await (const _ of store.checkpoints.follow("m")) throw new Error("nothing was saved");
    })();
    await store.close();
    await following;
  });
});
