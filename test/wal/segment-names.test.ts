import { describe, expect, it } from "vitest";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { DIRECTORY, open } from "./explore.ts";

/** Durable writes into files whose name was not durable yet: a power cut would take them with the name. */
function writesUnderUnsyncedNames(disk: SimulatedDisk): string[] {
  const inodes = new Map<string, number>();
  const unsynced = new Set<number>();
  const found: string[] = [];
  for (const event of disk.trace) {
    if (event.kind === "create") inodes.set(event.path, event.inode);
    if (event.kind === "rename") {
      const inode = inodes.get(event.from)!;
      inodes.delete(event.from);
      inodes.set(event.to, inode);
      unsynced.add(inode);
    }
    if (event.kind === "syncDirectory" && event.path === DIRECTORY) unsynced.clear();
    if (event.kind === "write" && event.durable && unsynced.has(event.inode)) {
      found.push([...inodes].find(([, inode]) => inode === event.inode)![0]);
    }
  }
  return found;
}

describe("a segment that is made or renamed while commits go on", () => {
  // Each pace meets the preparation in other steps of it; without a pause the commit path makes the segments itself.
  it.each([0, 1, 2, 3, 4, 5, 6, 7])(
    "takes no block before its name is durable, with %d turns between commits",
    async (turns) => {
      const disk = new SimulatedDisk({ seed: 1, trace: true });
      disk.makeDirectory("/store");
      disk.syncDirectory("/");
      const log = open(disk, { segmentBlocks: 4 });
      for (let value = 1; value <= 120; value++) {
        log.appendSync({ payload: new Uint8Array(100).fill(value), timeUs: BigInt(value) });
        if (value % 10 === 0) log.trim(BigInt(value - 5));
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      }
      await log.close();
      const renames = disk.trace.filter((event) => event.kind === "rename").length;
      expect(renames).toBeGreaterThan(20);
      expect(writesUnderUnsyncedNames(disk)).toEqual([]);
    },
  );
});
