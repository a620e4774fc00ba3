import type { ChunkReader } from "../chunks/chunk-reader.ts";
import { PlacedReader } from "../chunks/placed-reader.ts";
import type { Disk } from "../disk/disk.ts";
import { isManifestList, readFeatureManifest } from "./feature-chunks.ts";
import { type FeatureTable, piecesOf } from "./format.ts";
import { loadTable } from "./load-table.ts";
import { decodeManifest } from "./manifest-reader.ts";
import { decodePlacement, placesOf } from "./placement-reader.ts";
import type { FeatureVersion } from "./registry.ts";

/** Where a version's chunks are: in packs, found by the index once that is open. */
export interface ChunksOnDisk {
  disk: Disk;
  packsDirectory: string;
  /** The reader with an index, if it is open. */
  opened: ChunkReader | undefined;
  open(): Promise<ChunkReader>;
}

/**
 * Loads a version's table, or the columns named. Until the index is open, by the places that were noted when it was
 * published: opening the index takes as long as reading a quarter of 100 MB.
 * @throws `ERR_STORE_CORRUPT`; `ERR_NOT_FOUND` for a column there is not
 */
export async function loadVersion(
  chunks: ChunksOnDisk,
  version: Pick<FeatureVersion, "manifest" | "placement">,
  columns?: readonly string[],
): Promise<FeatureTable> {
  const { manifest: digest, placement } = version;
  if (chunks.opened === undefined && placement !== undefined) {
    const reader = new PlacedReader(chunks.disk, chunks.packsDirectory, () => chunks.open());
    try {
      const places = decodePlacement(placement);
      const bytes = places.manifest && (await reader.readAt(places.manifest, digest));
      if (bytes !== undefined && !isManifestList(bytes)) {
        const manifest = decodeManifest(bytes);
        reader.add(placesOf(places, piecesOf(manifest)));
        return await loadTable(reader, manifest, columns);
      }
    } finally {
      reader.close();
    }
  }
  const reader = await chunks.open();
  return loadTable(reader, readFeatureManifest(reader, digest).manifest, columns);
}
