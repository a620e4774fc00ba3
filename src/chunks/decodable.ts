import type { ChunkEntry, ChunkIndex } from "./chunk-index.ts";
import { digestKey, SHORT_DIGEST_BYTES } from "./digest.ts";
import type { PackScan } from "./pack-scan.ts";

export interface Placed {
  digest: Uint8Array;
  entry: ChunkEntry;
}

/**
 * Index entries for the frames that scans found, of chunks that `known` does not have, as far as they can be decoded:
 * a frame whose bases are gone (gc removes what nobody needs) must not be found, or a save would count on it.
 *
 * Of a chunk that lies in several frames, the one with the shorter chain counts. Bases have a smaller depth than what
 * is stored against them, so going by depth meets every base before its dependants.
 */
export function decodableEntries(scans: PackScan[], known: Pick<ChunkIndex, "get" | "find">): Placed[] {
  const frames = scans.flatMap((scan) => scan.frames.map((frame) => ({ packId: scan.packId, ...frame })));
  frames.sort((a, b) => a.header.depth - b.header.depth);
  const found = new Map<string, Placed>();
  const shortDigests = new Set<string>();
  for (const { packId, offset, frameBytes, header } of frames) {
    const whole = header.bases.every(
      (base) => shortDigests.has(digestKey(base)) || known.find(base) !== undefined,
    );
    if (!whole) continue;
    const { depth, costKiB } = header;
    header.chunks.forEach(({ digest, rawBytes }, ordinal) => {
      const key = digestKey(digest);
      if (found.has(key) || known.get(digest) !== undefined) return;
      found.set(key, { digest, entry: { packId, offset, frameBytes, ordinal, depth, costKiB, rawBytes } });
      shortDigests.add(key.slice(0, SHORT_DIGEST_BYTES));
    });
  }
  return [...found.values()];
}
