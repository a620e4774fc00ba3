import type { Disk } from "../disk/disk.ts";
import { entriesOf } from "./chunk-save.ts";
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

/** An index of the frames that scans found good. Of a chunk stored twice, the frame with the shorter chain counts. */
export function indexOfScans(scans: PackScan[]): MemoryIndex {
  const index = new MemoryIndex();
  for (const scan of scans) {
    const puts = entriesOf(scan).filter(({ digest, entry }) => {
      const known = index.get(digest);
      return known === undefined || entry.depth < known.depth;
    });
    const packEnds = [{ packId: scan.packId, goodBytes: scan.goodBytes, frameCount: scan.frames.length }];
    index.apply({ puts, packEnds });
  }
  return index;
}
