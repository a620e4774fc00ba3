import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type KeptSpool, SpoolFiles } from "../../src/capture/spool-files.ts";
import { warmSpool } from "../../src/capture/warm-spool.job.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { realDisk } from "../../src/disk/real-disk.ts";

let directory: string;
let spools: SpoolFiles;
/** What `prepare` asked for. */
let warmed: { path: string; stop: Int32Array }[];

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
const warm = (path: string, stop: Int32Array) => {
  warmed.push({ path, stop });
  return Promise.resolve();
};
const kept = (): KeptSpool => ({ sizeBytes: SIZE, rangeOf: () => undefined });

describe("the scratch file of the next capture", () => {
  it("is there, empty and of its size, and goes to the next capture, whose pages nobody looks for any more", () => {
    spools.prepare(SIZE, warm);
    const [{ path, stop }] = warmed as [(typeof warmed)[0]];
    const { size, blocks } = statSync(path);
    expect({ size, blocks }).toEqual({ size: SIZE, blocks: 0 });
    expect(stop[0]).toBe(0);
    const spool = spools.acquire();
    expect(spool.path).toBe(path);
    expect(stop[0]).toBe(1);
    spools.release(spool);
    expect(spools.acquire().path).toBe(path);
    spools.release(spool);
  });

  it("is not made where one waits already", () => {
    const first = spools.acquire();
    spools.release(first);
    spools.prepare(SIZE, warm);
    expect(warmed).toEqual([]);
    const taken = spools.acquire();
    spools.prepare(SIZE, warm);
    spools.prepare(SIZE, warm);
    expect(warmed.length).toBe(1);
    spools.release(taken);
  });

  it("goes with the kept one that it was made to follow", async () => {
    const spool = spools.acquire();
    const mine = kept();
    spools.keep(mine, spool);
    spools.prepare(SIZE, warm);
    const removed: string[] = [];
    spools.discard(mine, async (path) => {
      removed.push(path);
      realDisk.remove(path);
    });
    expect(removed.sort()).toEqual([spool.path, warmed[0]!.path].sort());
    expect(warmed[0]!.stop[0]).toBe(1);
    expect(readdirSync(directory)).toEqual([]);
  });

  it("stays when it has been used, whatever is given up", () => {
    const first = spools.acquire();
    const mine = kept();
    spools.keep(mine, first);
    spools.prepare(SIZE, warm);
    const second = spools.acquire();
    spools.release(second);
    spools.discard(mine, async (path) => realDisk.remove(path));
    expect(spools.acquire().path).toBe(second.path);
    spools.release(second);
  });

  it("is looked through to its end, or until somebody wants it", async () => {
    spools.prepare(SIZE, warm);
    const { path, stop } = warmed[0]!;
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
    await warmSpool({ path, sizeBytes: SIZE, stop, disk: counting });
    expect(readBytes).toBe(SIZE);
    readBytes = 0;
    const again = warmSpool({ path, sizeBytes: SIZE, stop, disk: counting });
    Atomics.store(stop, 0, 1);
    await again;
    expect(readBytes).toBeLessThan(SIZE);
  });
});
