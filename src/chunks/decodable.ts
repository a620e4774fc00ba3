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
 * Of a chunk that lies in several frames, the one with the shorter chain counts. A base is stored before its
 * dependants, mostly with a smaller depth, so going by depth meets nearly every base before what is stored against it;
 * a frame whose base comes later (the one it was stored against is gone, a deeper one of the same chunk is left) waits
 * for the next round.
 */
export function decodableEntries(scans: PackScan[], known: Pick<ChunkIndex, "get" | "find">): Placed[] {
  const frames = scans.flatMap((scan) => scan.frames.map((frame) => ({ packId: scan.packId, ...frame })));
  frames.sort((a, b) => a.header.depth - b.header.depth);
  const found = new Map<string, Placed>();
  const shortDigests = new Set<string>();
  const take = ({ packId, offset, frameBytes, header }: (typeof frames)[number]): boolean => {
    const whole = header.bases.every(
      (base) => shortDigests.has(digestKey(base)) || known.find(base) !== undefined,
    );
    if (!whole) return false;
    const { depth, costKiB } = header;
    header.chunks.forEach(({ digest, rawBytes }, ordinal) => {
      const key = digestKey(digest);
      if (found.has(key) || known.get(digest) !== undefined) return;
      found.set(key, { digest, entry: { packId, offset, frameBytes, ordinal, depth, costKiB, rawBytes } });
      shortDigests.add(key.slice(0, SHORT_DIGEST_BYTES));
    });
    return true;
  };
  let waiting = frames;
  for (let before = Number.POSITIVE_INFINITY; waiting.length < before; ) {
    before = waiting.length;
    waiting = waiting.filter((frame) => !take(frame));
  }
  return [...found.values()];
}
