import type { Disk } from "../disk/disk.ts";
import { decodableEntries } from "./decodable.ts";
import { MemoryIndex } from "./memory-index.ts";
import { packIdOfFileName } from "./pack-format.ts";
import { type PackScan, scanPack } from "./pack-scan.ts";

/** What the packs themselves say: every good frame's chunks, from their headers alone. */
export function rebuildIndex(disk: Disk, packsDirectory: string, storeId: Uint8Array): MemoryIndex {
  const scans: PackScan[] = [];
  for (const name of disk.list(packsDirectory)) {
    const packId = packIdOfFileName(name);
    if (packId !== undefined) scans.push(scanPack(disk, packsDirectory, packId, storeId));
  }
  return indexOfScans(scans);
}

/** An index of the frames that scans found good. */
export function indexOfScans(scans: PackScan[]): MemoryIndex {
  const index = new MemoryIndex();
  const packEnds = scans.map(({ packId, goodBytes, frames }) => ({
    packId,
    goodBytes,
    frameCount: frames.length,
  }));
  index.apply({ puts: decodableEntries(scans, index), packEnds });
  return index;
}
