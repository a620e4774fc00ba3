import { describe, expect, it } from "vitest";
import { allocatePages } from "../../src/disk/aligned.ts";
import { crashStates } from "../../src/disk/crash-states.ts";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { describeDisk } from "./conformance.ts";

describeDisk("the simulated disk", () => {
  const disk = new SimulatedDisk();
  disk.makeDirectory("/store");
  return { disk, directory: "/store", dispose: () => {} };
});

function contentOf(disk: SimulatedDisk, path: string): Uint8Array | undefined {
  if (disk.stat(path) === undefined) return undefined;
  const file = disk.open(path, { access: "read" });
  const content = new Uint8Array(file.sizeBytes());
  file.readSync(content, 0);
  file.close();
  return content;
}

/** A disk with one durable file of two pages of ones. */
function diskWithFile(options = {}): SimulatedDisk {
  const disk = new SimulatedDisk(options);
  const file = disk.open("/a", { access: "write", create: "must" });
  file.writeSync(new Uint8Array(8192).fill(1), 0);
  file.syncSync();
  file.close();
  disk.syncDirectory("/");
  return disk;
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    return isStoreError(error) ? error.code : String(error);
  }
  return undefined;
}

const random = () => new Random(7);

describe("a power cut on the simulated disk", () => {
  it("keeps what was synced, bytes and name", () => {
    const disk = diskWithFile();
    const luck = random();
    for (let round = 0; round < 50; round++) {
      expect(contentOf(disk.crashed(luck), "/a")!.every((byte) => byte === 1)).toBe(true);
    }
  });

  it("may lose a name that was never synced, though the bytes were", () => {
    const disk = new SimulatedDisk();
    const file = disk.open("/a", { access: "write", create: "must" });
    file.writeSync(new Uint8Array(10).fill(1), 0);
    file.syncSync();
    const luck = random();
    const found = Array.from({ length: 60 }, () => disk.crashed(luck).list("/").length);
    expect(new Set(found)).toEqual(new Set([0, 1]));
  });

  it("leaves unsynced sectors old, new or garbage, each for itself", () => {
    const disk = diskWithFile();
    disk.open("/a", { access: "write" }).writeSync(new Uint8Array(4096).fill(2), 2048);
    const luck = random();
    const kinds = new Set<string>();
    let mixed = 0;
    for (let round = 0; round < 200; round++) {
      const content = contentOf(disk.crashed(luck), "/a")!;
      const sectors = Array.from({ length: 16 }, (_, index) => {
        const sector = content.subarray(index * 512, index * 512 + 512);
        return sector.every((byte) => byte === 1)
          ? "old"
          : sector.every((byte) => byte === 2)
            ? "new"
            : "garbage";
      });
      expect(sectors.slice(0, 4).concat(sectors.slice(12))).toEqual(Array(8).fill("old"));
      for (const sector of sectors) kinds.add(sector);
      if (new Set(sectors.slice(4, 12)).size > 1) mixed++;
    }
    expect(kinds).toEqual(new Set(["old", "new", "garbage"]));
    expect(mixed).toBeGreaterThan(20);
  });

  it("applies a rename whole or not at all, and for certain after the directory's sync", () => {
    const disk = diskWithFile();
    disk.rename("/a", "/b");
    const luck = random();
    const seen = new Set(Array.from({ length: 60 }, () => disk.crashed(luck).list("/").join()));
    expect(seen).toEqual(new Set(["a", "b"]));
    disk.syncDirectory("/");
    expect(new Set(Array.from({ length: 60 }, () => disk.crashed(luck).list("/").join()))).toEqual(
      new Set(["b"]),
    );
  });

  it("frees locks, as does a kill, which loses no byte", () => {
    const disk = diskWithFile();
    const file = disk.open("/a", { access: "write" });
    file.writeSync(new Uint8Array(4).fill(9), 0);
    expect(file.tryLock("exclusive")).toBe(true);
    const after = disk.killed();
    expect(contentOf(after, "/a")![0]).toBe(9);
    expect(after.open("/a", { access: "write" }).tryLock("exclusive")).toBe(true);
    expect(disk.crashed().open("/a", { access: "write" }).tryLock("exclusive")).toBe(true);
  });

  it("keeps a durable write whole, and one in flight in any subset of its sectors", () => {
    const disk = diskWithFile({ trace: true });
    const file = disk.open("/a", { access: "write", durable: true });
    file.writeSync(allocatePages(4096).fill(2), 4096);
    const luck = random();
    for (let round = 0; round < 20; round++) {
      expect(
        contentOf(disk.crashed(luck), "/a")!
          .subarray(4096)
          .every((byte) => byte === 2),
      ).toBe(true);
    }
    const subsets = new Set<string>();
    for (const state of crashStates(disk, luck, { everySubsetOfSectors: 8 })) {
      if (state.inFlight?.kind !== "write" || !state.inFlight.durable) continue;
      const content = contentOf(state.disk, "/a")!.subarray(4096);
      subsets.add(Array.from({ length: 8 }, (_, sector) => content[sector * 512]).join(""));
    }
    expect(subsets.size).toBeGreaterThanOrEqual(256);
  });

  it("yields the same states for the same seed, and tells what was known before each", () => {
    const disk = diskWithFile({ trace: true });
    disk.mark("before");
    disk.open("/a", { access: "write" }).writeSync(new Uint8Array(600).fill(2), 100);
    const summary = () =>
      [...crashStates(disk, random(), { samples: 3 })].map(
        (state) => `${state.events} ${state.marks.length} ${contentOf(state.disk, "/a")?.join("")}`,
      );
    expect(summary()).toEqual(summary());
    const marks: number[] = [];
    for (const state of crashStates(disk, random())) marks.push(state.marks.length);
    expect(marks[0]).toBe(0);
    expect(marks.at(-1)).toBe(1);
  });
});

describe("faults on the simulated disk", () => {
  it("fails the chosen write with EIO and leaves each of its sectors old or new", () => {
    const disk = diskWithFile();
    disk.inject({ on: "write", path: "a", after: 1, effect: { kind: "EIO" } });
    const file = disk.open("/a", { access: "write", durable: true });
    file.writeSync(allocatePages(4096).fill(2), 0);
    expect(codeOf(() => file.writeSync(allocatePages(4096).fill(3), 0))).toBe("ERR_IO");
    expect(new Set(contentOf(disk, "/a")!.subarray(0, 4096))).toEqual(new Set([2, 3]));
    file.writeSync(allocatePages(4096).fill(4), 0);
    expect(contentOf(disk, "/a")![0]).toBe(4);
  });

  it("runs out of space after a short count, as a full disk does", () => {
    const disk = new SimulatedDisk({ capacityBytes: 1000 });
    const file = disk.open("/a", { access: "write", create: "must" });
    expect(codeOf(() => file.writeSync(new Uint8Array(1500).fill(1), 0))).toBe("ERR_DISK_FULL");
    expect(file.sizeBytes()).toBe(1000);
    expect(disk.freeBytes("/")).toBe(0);
    file.writeSync(new Uint8Array(10).fill(2), 0);
    disk.inject({ on: "write", effect: { kind: "ENOSPC", shortBytes: 3 } });
    expect(codeOf(() => file.writeSync(new Uint8Array(10).fill(3), 0))).toBe("ERR_DISK_FULL");
    expect([...contentOf(disk, "/a")!.subarray(0, 4)]).toEqual([3, 3, 3, 2]);
  });

  it("loses a write and sends another astray without a word", () => {
    const disk = diskWithFile();
    disk.inject({ on: "write", effect: { kind: "lost" } });
    disk.inject({ on: "write", after: 1, effect: { kind: "misdirected", byBytes: 4096 } });
    const file = disk.open("/a", { access: "write" });
    file.writeSync(new Uint8Array(512).fill(2), 0);
    file.writeSync(new Uint8Array(512).fill(3), 0);
    expect([contentOf(disk, "/a")![0], contentOf(disk, "/a")![4096]]).toEqual([1, 3]);
  });

  it("never makes up for a failed sync with a later one", () => {
    const disk = diskWithFile();
    disk.inject({ on: "sync", effect: { kind: "EIO" } });
    const file = disk.open("/a", { access: "write" });
    file.writeSync(new Uint8Array(512).fill(2), 0);
    expect(codeOf(() => file.syncSync())).toBe("ERR_IO");
    file.syncSync();
    expect(contentOf(disk, "/a")![0]).toBe(2);
    const luck = random();
    const found = new Set(Array.from({ length: 60 }, () => contentOf(disk.crashed(luck), "/a")![0]));
    expect(found.has(1)).toBe(true);
    file.writeSync(new Uint8Array(512).fill(2), 0);
    file.syncSync();
    expect(contentOf(disk.crashed(luck), "/a")![0]).toBe(2);
  });

  it("flips a bit of one read, or for good", () => {
    const disk = diskWithFile();
    disk.inject({ on: "read", effect: { kind: "flip" } });
    expect(contentOf(disk, "/a")!.filter((byte) => byte !== 1).length).toBe(1);
    expect(contentOf(disk, "/a")!.filter((byte) => byte !== 1).length).toBe(0);
    disk.flipBit("/a", 8 * 100 + 1);
    expect(contentOf(disk.crashed(), "/a")![100]).toBe(3);
  });
});
