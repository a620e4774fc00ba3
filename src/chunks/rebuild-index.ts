import type { Disk } from "../disk/disk.ts";
import { decodableEntries } from "./decodable.ts";
import { MemoryIndex } from "./memory-index.ts";
import { packIdOfFileName } from "./pack-format.ts";
import { type PackScan, scanPack } from "./pack-scan.ts";

/**
 * What the packs themselves say: every good frame's chunks. Payloads are read and checked too: a save that was cut off
 * may have left whole headers before torn payloads, and what the index knows is never stored again.
 */
export function rebuildIndex(disk: Disk, packsDirectory: string, storeId: Uint8Array): MemoryIndex {
  const scans: PackScan[] = [];
  for (const name of disk.list(packsDirectory)) {
    const packId = packIdOfFileName(name);
    if (packId !== undefined) scans.push(scanPack(disk, packsDirectory, packId, storeId, { readData: true }));
  }
  return indexOfScans(scans);
}

/**
 * The same for an index that is to be kept: what killed processes left in the page cache becomes durable before
 * anything counts on it. No save may be under way.
 */
export function recoverIndex(disk: Disk, packsDirectory: string, storeId: Uint8Array): MemoryIndex {
  for (const name of disk.list(packsDirectory)) {
    if (packIdOfFileName(name) === undefined) continue;
    const file = disk.open(`${packsDirectory}/${name}`, { access: "read" });
    try {
      file.syncSync();
    } finally {
      file.close();
    }
  }
  disk.syncDirectory(packsDirectory);
  return rebuildIndex(disk, packsDirectory, storeId);
}

/** An index of the frames that scans found good. A pack without any is as good as none: gc sweeps it. */
export function indexOfScans(scans: PackScan[]): MemoryIndex {
  const index = new MemoryIndex();
  const used = scans.filter(({ frames }) => frames.length > 0);
  const packEnds = used.map(({ packId, goodBytes, frames }) => ({
    packId,
    goodBytes,
    frameCount: frames.length,
  }));
  index.apply({ puts: decodableEntries(scans, index), packEnds });
  return index;
}
