import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type KeptSpool, SpoolFiles } from "../../src/capture/spool-files.ts";
import { WARMTH, warmSpool } from "../../src/capture/warm-spool.job.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { realDisk } from "../../src/disk/real-disk.ts";

let directory: string;
let spools: SpoolFiles;
/** What `prepare` asked for. */
let warmed: { path: string; warming: Int32Array }[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-spools-"));
  spools = new SpoolFiles(realDisk, directory);
  warmed = [];
});

afterEach(() => {
  spools.close();
  expect(readdirSync(directory)).toEqual([]);
  rmSync(directory, { recursive: true });
});

const SIZE = 5 << 20;
const warm = (path: string, warming: Int32Array) => {
  warmed.push({ path, warming });
  return Promise.resolve();
};
const kept = (): KeptSpool => ({ sizeBytes: SIZE, isGone: false, rangeOf: () => undefined });

describe("the scratch file of the next capture", () => {
  it("is there, empty and of its size, and goes to the next capture, whose pages nobody looks for any more", () => {
    spools.prepare(SIZE, warm);
    const [{ path, warming }] = warmed as [(typeof warmed)[0]];
    const { size, blocks } = statSync(path);
    expect({ size, blocks }).toEqual({ size: SIZE, blocks: 0 });
    expect(warming[0]).toBe(WARMTH.warming);
    const spool = spools.acquire(SIZE);
    expect(spool.path).toBe(path);
    expect(warming[0]).toBe(WARMTH.stop);
    spools.release(spool);
    expect(spools.acquire(SIZE).path).toBe(path);
    spools.release(spool);
  });

  it("is not made where one waits already", () => {
    const first = spools.acquire(SIZE);
    spools.release(first);
    spools.prepare(SIZE, warm);
    expect(warmed).toEqual([]);
    const taken = spools.acquire(SIZE);
    spools.prepare(SIZE, warm);
    spools.prepare(SIZE, warm);
    expect(warmed.length).toBe(1);
    spools.release(taken);
  });

  it("goes with the kept one that it was made to follow", async () => {
    const spool = spools.acquire(SIZE);
    const mine = kept();
    spools.keep(mine, spool);
    spools.prepare(SIZE, warm);
    const removed: string[] = [];
    spools.discard(mine, async (path) => {
      removed.push(path);
      realDisk.remove(path);
    });
    expect(removed.sort()).toEqual([spool.path, warmed[0]!.path].sort());
    expect(warmed[0]!.warming[0]).toBe(WARMTH.stop);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("stays when it has been used, whatever is given up", () => {
    const first = spools.acquire(SIZE);
    const mine = kept();
    spools.keep(mine, first);
    spools.prepare(SIZE, warm);
    Atomics.store(warmed[0]!.warming, 0, WARMTH.warm);
    const second = spools.acquire(SIZE);
    spools.release(second);
    spools.discard(mine, async (path) => realDisk.remove(path));
    expect(spools.acquire(SIZE).path).toBe(second.path);
    spools.release(second);
  });

  it("is left alone until its pages are found: what a save before kept is written over, its own first", () => {
    const [others, own] = [spools.acquire(SIZE), spools.acquire(SIZE)];
    const [ofOthers, mine] = [kept(), kept()];
    spools.keep(ofOthers, others);
    spools.keep(mine, own);
    spools.prepare(SIZE, warm);
    const first = spools.acquire(SIZE, mine);
    expect(first.path).toBe(own.path);
    expect([mine.isGone, ofOthers.isGone]).toEqual([true, false]);
    const second = spools.acquire(SIZE, mine);
    expect([second.path, ofOthers.isGone]).toEqual([others.path, true]);
    spools.drop(mine);
    expect(warmed[0]!.warming[0]).toBe(WARMTH.warming);
    spools.keep(kept(), second);
    Atomics.store(warmed[0]!.warming, 0, WARMTH.warm);
    const third = spools.acquire(SIZE, mine);
    expect(third.path).toBe(warmed[0]!.path);
    for (const each of [first, third]) spools.release(each);
  });

  it("is taken while its pages are being found where all that is kept is smaller, or looking for them has failed", async () => {
    const small = { ...kept(), sizeBytes: SIZE - 1 };
    spools.keep(small, spools.acquire(SIZE));
    spools.prepare(SIZE, warm);
    const larger = spools.acquire(SIZE, small);
    expect([larger.path, small.isGone]).toEqual([warmed[0]!.path, false]);
    const whole = kept();
    spools.keep(whole, larger);
    spools.prepare(SIZE, async (path, warming) => {
      warmed.push({ path, warming });
      throw new Error("no such thread");
    });
    await new Promise(setImmediate);
    const next = spools.acquire(SIZE, whole);
    expect([next.path, whole.isGone]).toEqual([warmed[1]!.path, false]);
    spools.release(next);
  });

  it("is looked through to its end, or until somebody wants it", async () => {
    spools.prepare(SIZE, warm);
    const { path, warming } = warmed[0]!;
    let readBytes = 0;
    const counting: Disk = {
      ...realDisk,
      open: (...where: Parameters<Disk["open"]>) => {
        const file = realDisk.open(...where);
        const readSync = file.readSync.bind(file);
        file.readSync = (target, position) => {
          const bytes = readSync(target, position);
          readBytes += bytes;
          return bytes;
        };
        return file;
      },
    };
    await warmSpool({ path, sizeBytes: SIZE, warming, disk: counting });
    expect(readBytes).toBe(SIZE);
    expect(warming[0]).toBe(WARMTH.warm);
    readBytes = 0;
    warming[0] = WARMTH.warming;
    const again = warmSpool({ path, sizeBytes: SIZE, warming, disk: counting });
    Atomics.store(warming, 0, WARMTH.stop);
    await again;
    expect(readBytes).toBeLessThan(SIZE);
  });
});
