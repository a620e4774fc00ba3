import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LmdbIndex } from "../../src/chunks/lmdb-index.ts";
import { makeLockFile } from "../../src/chunks/lmdb-lock-file.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";

it("an index's lock file has its space before LMDB maps it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "varve-index-"));
  try {
    await LmdbIndex.open(realDisk, directory, { readOnly: false }).close();
    const { sizeBytes, deviceBytes } = realDisk.stat(`${directory}/lock.mdb`)!;
    expect(sizeBytes).toBe(12 << 10);
    expect(deviceBytes).toBeGreaterThanOrEqual(sizeBytes);
    // The second opening takes it as it is.
    const before = realDisk.stat(`${directory}/lock.mdb`)!.inode;
    await LmdbIndex.open(realDisk, directory, { readOnly: true }).close();
    expect(realDisk.stat(`${directory}/lock.mdb`)!.inode).toBe(before);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it("a full disk is an error, and leaves no lock file that is a hole", () => {
  const disk = new SimulatedDisk();
  disk.makeDirectory("/index");
  disk.inject({ on: "write", path: "lock.mdb", effect: { kind: "ENOSPC", shortBytes: 512 } });
  expect(() => makeLockFile(disk, "/index")).toThrow(/the disk is full/);
  expect(disk.list("/index")).toEqual(["lock.turn"]);
  makeLockFile(disk, "/index");
  expect(disk.stat("/index/lock.mdb")!.sizeBytes).toBe(12 << 10);
});
