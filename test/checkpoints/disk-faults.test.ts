import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore } from "../../open-store.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { durableOf, expectAllRestore, expectKept, run, temporaryDirectory } from "./processes.ts";
import { seeded } from "./seeded.ts";

/** More for a campaign: `FAULT_ROUNDS=50 npx vitest run test/checkpoints/disk-faults`. */
const rounds = Number(process.env["FAULT_ROUNDS"] ?? 2);

const hasStrace = spawnSync("strace", ["-f", "-qq", "-y", "-o", "/dev/null", "true"]).status === 0;
const canMount = process.getuid?.() === 0 && mountsTmpfs();

/** Root in a container may not mount anything. */
function mountsTmpfs(): boolean {
  const probe = temporaryDirectory();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", probe]).status === 0;
  if (mounted) spawnSync("umount", [probe]);
  rmSync(probe, { recursive: true });
  return mounted;
}

afterAll(() => {
  // A skip that nobody sees is a test that nobody misses.
  if (!hasStrace) console.warn("SKIPPED: injected faults and traced order need strace that may trace");
  if (!canMount) console.warn("SKIPPED: a full disk needs root that may mount one");
});

let directory: string;

beforeEach(() => {
  directory = temporaryDirectory();
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

interface Call {
  name: string;
  path: string;
  text: string;
}

/** The system calls of a trace in the order they ended, each with the file it was about. */
function callsOf(trace: string): Call[] {
  const calls: Call[] = [];
  const unfinished = new Map<string, Call>();
  for (const line of trace.split("\n")) {
    const [, thread, rest] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (thread === undefined) continue;
    const begun = /^(\w+)\((?:\d+<([^>]*)>)?(.*)$/.exec(rest!);
    if (begun !== null) {
      const call = { name: begun[1]!, path: begun[2] ?? "", text: rest! };
      if (rest!.includes("<unfinished")) unfinished.set(thread, call);
      else calls.push(call);
    } else if (rest!.includes("resumed>") && unfinished.has(thread)) {
      calls.push(unfinished.get(thread)!);
      unfinished.delete(thread);
    }
  }
  return calls;
}

describe.skipIf(!hasStrace)("with the system calls watched or failing", () => {
  it("durable resolves after the pack, its directory, the index and the log were synced, in that order", async () => {
    const trace = `${directory}/trace`;
    const store = `${directory}/store`;
    const strace = [
      "strace",
      "-f",
      "-y",
      "-s",
      "40",
      "-o",
      trace,
      "-e",
      "trace=fdatasync,fsync,msync,pwrite64,write",
    ];
    expect(durableOf(await run(["save", store, "m", 3, 1, 0], strace)).length).toBe(3);
    const calls = callsOf(readFileSync(trace, "utf8"));
    const isSync = ({ name }: Call) => name === "fdatasync" || name === "fsync";
    let from = calls.findIndex(({ text }) => text.includes('"open'));
    for (let version = 1; version <= 3; version++) {
      const told = calls.findIndex(({ text }, i) => i > from && text.includes('"durable'));
      const window = calls.slice(from, told);
      const lastSync = (part: string) =>
        window.findLastIndex((call) => isSync(call) && call.path.includes(part));
      const lastWrite = (part: string) =>
        window.findLastIndex((call) => call.name.startsWith("pwrite") && call.path.includes(part));
      const [pack, index, log] = [lastSync(".pack"), lastSync("data.mdb"), lastSync("versions/log")];
      // Nothing was written after the sync that vouches for it, and each step waited for the one before.
      expect(lastWrite(".pack")).toBeGreaterThanOrEqual(0);
      expect(pack).toBeGreaterThan(lastWrite(".pack"));
      expect(index).toBeGreaterThan(pack);
      // The first save also opens the index, which is only loaded when it is needed.
      const firstIndexCall = window.findIndex((call) => call.path.includes("data.mdb"));
      if (version > 1) expect(firstIndexCall).toBeGreaterThan(pack);
      const record = lastWrite("versions/log");
      expect(record).toBeGreaterThan(index);
      expect(log).toBeGreaterThan(record);
      if (version === 1) {
        const name = window.findLastIndex((call) => isSync(call) && call.path.endsWith("/chunks/packs"));
        expect(name).toBeGreaterThan(pack);
        expect(name).toBeLessThan(index);
      }
      from = told;
    }
  });

  const faults = [
    ["fdatasync", "EIO"],
    ["pwrite64", "EIO"],
    ["pwrite64", "ENOSPC"],
  ] as const;
  for (const [call, error] of faults) {
    it(`loses nothing acknowledged when a ${call} fails with ${error}`, async () => {
      await seeded(async (random) => {
        let failures = 0;
        for (let round = 0; round < rounds; round++) {
          const store = `${directory}/${round}`;
          const before = durableOf(await run(["save", store, "m", 2, 1, 0]));
          // The first calls make ready what the saves need: any of them may fail too.
          const when = 1 + random.below(call === "pwrite64" ? 12 : 5);
          const inject = `inject=${call}:error=${error}:when=${when}`;
          const strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`, "-e", inject];
          const lines = await run(["save", store, "m", 4, 10, 0], strace);
          failures += lines.filter(([word]) => word === "failed").length;
          await expectKept(store, [...before, ...durableOf(lines)]);
          const after = durableOf(await run(["save", store, "m", 1, 20, 0]));
          expect(after.length).toBe(1);
          await expectKept(store, [...before, ...durableOf(lines), ...after]);
        }
        if (rounds > 4) expect(failures).toBeGreaterThan(0);
      });
    });
  }
});

describe.skipIf(!canMount)("on a full disk", () => {
  it("fails the save, keeps the versions before it, and has room again after prune and gc", async () => {
    const mount = `${directory}/small`;
    mkdirSync(mount);
    expect(spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", mount]).status).toBe(0);
    try {
      const store = `${mount}/store`;
      const lines = await run(["save", store, "m", 400, 1, 0]);
      const codes = lines.filter(([word]) => word === "failed").map(([, code]) => code);
      expect(new Set(codes)).toEqual(new Set(["ERR_DISK_FULL"]));
      const durable = durableOf(lines);
      expect(durable.length).toBeGreaterThan(2);
      await expectKept(store, durable);
      const opened = await openStore(store, { workers: 0 });
      const usedBytes = (await opened.stats()).diskBytes;
      await opened.checkpoints.prune("m", { keepLast: 1 });
      // Rewriting takes room of its own; without it nothing changes, and nothing is left behind.
      const full = await opened.gc().then(
        () => undefined,
        (error: unknown) => error,
      );
      if (full !== undefined) {
        expect(isStoreError(full, "ERR_DISK_FULL")).toBe(true);
        expect((await opened.stats()).diskBytes).toBeLessThanOrEqual(usedBytes + 8192); // the record of the prune
        expect(spawnSync("mount", ["-o", "remount,size=2m", mount]).status).toBe(0);
        await opened.gc();
      }
      const stats = await opened.stats();
      expect(stats.diskBytes).toBeLessThan(usedBytes);
      await opened.close();
      const again = durableOf(await run(["save", store, "m", 2, 500, 0]));
      expect(again.length).toBe(2);
      await expectKept(store, again);
    } finally {
      spawnSync("umount", ["-l", mount]);
    }
  });
});

describe("a disk without room for the index", () => {
  it("fails a save before the index meets it, so that the next one is there as soon as there is room", async () => {
    let freeBytes: number | undefined;
    const disk = new Proxy(realDisk, {
      get: (target, name) => {
        if (name === "freeBytes") return (path: string) => freeBytes ?? target.freeBytes(path);
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await using store = await openStore(`${directory}/store`, { create: true, workers: 0, disk });
    const save = (value: number) =>
      store.checkpoints.save("m", {
        w: { dtype: "F32", shape: [1000], data: new Float32Array(1000).fill(value) },
      }).durable;
    await save(1);
    const packs = () => spawnSync("du", ["-sb", `${directory}/store/chunks/packs`]).stdout.toString();
    const before = packs();
    freeBytes = 100_000;
    await expect(save(2)).rejects.toMatchObject({ code: "ERR_DISK_FULL", retryable: true });
    expect(packs()).toBe(before);
    freeBytes = undefined;
    expect((await save(3)).version).toBe(2);
    expect((await store.check({ readData: true })).ok).toBe(true);
  });
});

describe("growth on disk", () => {
  it("is what the versions say they stored, within 2 % and 64 KB", async () => {
    const store = `${directory}/store`;
    const durable = durableOf(await run(["save", store, "m", 60, 1, 1]));
    const told = durable.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    const opened = await openStore(store, { workers: 0 });
    expect((await expectAllRestore(opened)).size).toBe(60);
    const packs = opened.directory;
    const sizes = [`${packs}/versions/log`, ...packFiles(`${packs}/chunks/packs`)].map(
      (path) => statSync(path).size,
    );
    const grown = sizes.reduce((sum, size) => sum + size, 0);
    expect(Math.abs(grown - told)).toBeLessThan(told * 0.02 + 65_536);
    // Far closer in truth: nothing but the log's header is uncounted.
    expect(Math.abs(grown - told)).toBeLessThan(2048);
    await opened.close();
  });
});

function packFiles(packs: string): string[] {
  return spawnSync("ls", [packs])
    .stdout.toString()
    .trim()
    .split("\n")
    .map((name) => `${packs}/${name}`);
}
