import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openStore } from "../../open-store.ts";
import { allocatePages } from "../../src/disk/aligned.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { CommitPulse, decodePulse, encodePulse } from "../../src/pace/commit-pulse.ts";
import { MeasuredDisk } from "../../src/pace/measured-disk.ts";
import { describeDisk } from "../disk/conformance.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-pace-"));
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true, force: true });
});

describe("the pulse of commits", () => {
  it("is seen by another process while it is fresh, and told from rot", () => {
    let now = 1000;
    const committer = new CommitPulse(realDisk, join(directory, "pulse"), () => now);
    const saver = new CommitPulse(realDisk, join(directory, "pulse"), () => now);
    expect(saver.slowdown(500)).toBe(0);
    for (let i = 0; i < 50; i++, now += 10) committer.note(200);
    expect(saver.slowdown(500)).toBeCloseTo(1, 1);
    for (let i = 0; i < 20; i++, now += 10) committer.note(2000);
    expect(saver.slowdown(500)).toBeGreaterThan(5);
    now += 1000;
    expect(saver.slowdown(500), "nobody commits any more").toBe(0);
    for (let i = 0; i < 50; i++, now += 10) committer.note(200);
    expect(saver.slowdown(500)).toBeLessThan(1.5);
    committer.close();
    const bytes = encodePulse({ timeMs: 1, recentUs: 2, usualUs: 3 });
    expect(decodePulse(bytes)).toEqual({ timeMs: 1, recentUs: 2, usualUs: 3 });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = Buffer.from(bytes);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodePulse(damaged)).toBeUndefined();
    }
  });

  it("is of this moment, also after the clock was set back", () => {
    let now = 1e6;
    const committer = new CommitPulse(realDisk, join(directory, "pulse"), () => now);
    const saver = new CommitPulse(realDisk, join(directory, "pulse"), () => now);
    committer.note(200);
    for (let i = 0; i < 20; i++, now += 10) committer.note(2000);
    expect(saver.slowdown(500)).toBeGreaterThan(5);
    now -= 5e5;
    expect(committer.slowdown(500), "what it noted is of no time near").toBe(0);
    expect(saver.slowdown(500)).toBe(0);
    for (let i = 0; i < 50; i++, now += 10) committer.note(2000);
    expect(saver.slowdown(500), "and goes on from here").toBeGreaterThan(1.5);
    committer.close();
  });

  it("is the other process's where this one's own commits have ended", () => {
    let now = 1000;
    const [first, second] = [0, 1].map(
      () => new CommitPulse(realDisk, join(directory, "pulse"), () => now),
    ) as [CommitPulse, CommitPulse];
    first.note(200);
    now += 10_000;
    second.note(200);
    for (let i = 0; i < 20; i++, now += 10) second.note(2000);
    expect(first.slowdown(500)).toBeGreaterThan(5);
    for (const pulse of [first, second]) pulse.close();
  });

  it("is done without where its place is taken", () => {
    execFileSync("mkfifo", [join(directory, "pipe")]);
    mkdirSync(join(directory, "taken"));
    symlinkSync("/nowhere/at/all", join(directory, "link"));
    for (const name of ["pipe", "taken", "link"]) {
      const pulse = new CommitPulse(realDisk, join(directory, name));
      const reader = new CommitPulse(realDisk, join(directory, name));
      // Before anybody writes: opening a pipe would wait for that.
      expect(reader.slowdown(500), name).toBe(0);
      pulse.note(200);
      expect(pulse.slowdown(500), name).toBe(1);
      pulse.close();
    }
  });
});

describe("a measured disk", () => {
  it("makes packs durable a slice at a time and waits while commits are slow, but not for ever", async () => {
    // Commits are going on for as long as the test takes, and so is each look at the clock.
    const pulse = new CommitPulse(realDisk, join(directory, "pulse"), () => 1000);
    let nowMs = 0;
    vi.spyOn(performance, "now").mockImplementation(() => ++nowMs);
    const disk = new MeasuredDisk(realDisk, directory, pulse);
    disk.makeDirectory(join(directory, "chunks/packs"));
    const pack = disk.open(join(directory, "chunks/packs/a.pack"), { access: "write", create: "must" });
    const log = disk.open(join(directory, "wal"), { access: "write", create: "must", durable: true });
    log.writeSync(allocatePages(4096), 0);
    const bytes = new Uint8Array(1 << 20);
    for (let i = 0; i < 9; i++) await pack.write(bytes, i << 20);
    expect(disk.byCause().packs?.syncs.count, "one slice").toBe(1);
    for (let i = 0; i < 30; i++) pulse.note(1e6);
    for (let i = 9; i < 17; i++) await pack.write(bytes, i << 20);
    expect(disk.waitedMs).toBeGreaterThan(100);
    expect(disk.waitedMs).toBeLessThan(2000);
    expect(disk.byCause()).toMatchObject({
      packs: { writtenBytes: 17 << 20 },
      other: { writtenBytes: 4096 },
    });
    pack.close();
    log.close();
    pulse.close();
  });

  it("sees what the log worker writes for commits in groups, and its mirror", async () => {
    const path = join(directory, "store");
    const pulseNow = () => decodePulse(readFileSync(join(path, "pulse")));
    await using store = await openStore(path, { create: true, mirror: join(directory, "mirror") });
    const orders = store.critical.map<bigint>("orders");
    await sleep(10);
    const before = { pulse: pulseNow(), io: (await store.stats()).io };
    const start = Date.now();
    for (let i = 0n; i < 5n; i++) {
      await store.critical.commitAsync((tx) => tx.put(orders, "one", i));
      await sleep(10);
    }
    const { io, critical } = await store.stats();
    expect(pulseNow()!.timeMs).toBeGreaterThanOrEqual(start);
    expect(before.pulse!.timeMs).toBeLessThan(start);
    const logged = io.byCause.critical!;
    const earlier = before.io.byCause.critical!;
    expect(logged.writes.count - earlier.writes.count).toBeGreaterThanOrEqual(5);
    expect(logged.writtenBytes - earlier.writtenBytes).toBeGreaterThanOrEqual(5 * 4096);
    expect(io.byCause.other!.writes.count - before.io.byCause.other!.writes.count).toBeGreaterThanOrEqual(5);
    expect(critical).toBeDefined();
  });

  it("tells in the store's stats what was written for what", async () => {
    await using store = await openStore(join(directory, "store"), { create: true, workers: 0 });
    const { w } = store.checkpoints.allocate({ w: { dtype: "F32", shape: [100_000] } });
    for (let i = 0; i < w.data.length; i++) w.data[i] = Math.random();
    const { storedBytes } = await store.checkpoints.save("m", { w }).durable;
    await store.checkpoints.restore("m");
    const { io, capture, decodedCache } = await store.stats();
    expect(io.byCause.packs!.writtenBytes + io.byCause.versions!.writtenBytes).toBeGreaterThanOrEqual(
      storedBytes,
    );
    expect(io.byCause.packs!.syncs.count).toBeGreaterThan(0);
    expect(io.writtenBytes).toBeLessThan(storedBytes * 1.2 + 65_536);
    expect(decodedCache.misses).toBeGreaterThan(0);
    expect(decodedCache.usedBytes).toBeLessThanOrEqual(decodedCache.limitBytes);
    expect(capture).toMatchObject({ captures: 1, waits: 0, skips: 0 });
  });
});

describeDisk("measured disk", () => {
  const root = mkdtempSync(join(tmpdir(), "varve-measured-"));
  const disk = new MeasuredDisk(realDisk, root, new CommitPulse(realDisk, join(root, "pulse")));
  return { disk, directory: root, dispose: () => rmSync(root, { recursive: true, force: true }) };
});
