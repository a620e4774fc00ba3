import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { crashStates } from "../../src/disk/crash-states.ts";
import { Random } from "../../src/disk/random.ts";
import { replaceFile } from "../../src/disk/replace-file.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";

const OLD = new Uint8Array(5000).fill(1);
const NEW = new Uint8Array(9000).fill(2);

function contentOf(disk: SimulatedDisk): Uint8Array {
  const file = disk.open("/dir/file", { access: "read" });
  const bytes = new Uint8Array(file.sizeBytes());
  file.readSync(bytes, 0);
  file.close();
  return bytes;
}

function tracedWithOld(): SimulatedDisk {
  const disk = new SimulatedDisk();
  disk.makeDirectory("/dir");
  disk.syncDirectory("/");
  replaceFile(disk, "/dir/file", OLD);
  return disk.killed({ trace: true });
}

describe("a file that is replaced", () => {
  it("is found whole after a power cut at any point, and new once it was said to be durable", () => {
    const seed = randomInt(2 ** 31);
    console.log(`replace file seed ${seed}`);
    const disk = tracedWithOld();
    replaceFile(disk, "/dir/file", NEW);
    disk.mark("durable");
    const seen = { old: 0, new: 0 };
    for (const { disk: found, marks } of crashStates(disk, new Random(seed), { samples: 8 })) {
      const bytes = contentOf(found);
      const isNew = bytes[0] === 2;
      expect(Buffer.compare(bytes, isNew ? NEW : OLD)).toBe(0);
      if (marks.length > 0) expect(isNew).toBe(true);
      seen[isNew ? "new" : "old"] += 1;
    }
    expect(seen.old).toBeGreaterThan(0);
    expect(seen.new).toBeGreaterThan(0);
  });

  it.each(["write", "sync"] as const)("keeps the old content when the %s fails", (on) => {
    const disk = tracedWithOld();
    disk.inject({ on, path: "/dir/file.new", effect: { kind: "EIO" } });
    expect(() => replaceFile(disk, "/dir/file", NEW)).toThrow(expect.objectContaining({ code: "ERR_IO" }));
    expect(contentOf(disk)).toEqual(OLD);
  });

  it("does not care for what a killed process left beside it", () => {
    const disk = tracedWithOld();
    const left = disk.open("/dir/file.new", { access: "write", create: "must" });
    left.writeSync(new Uint8Array(20_000).fill(3), 0);
    left.close();
    replaceFile(disk, "/dir/file", NEW);
    expect(contentOf(disk)).toEqual(NEW);
    expect(disk.list("/dir")).toEqual(["file"]);
  });
});
