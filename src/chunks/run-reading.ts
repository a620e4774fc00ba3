import { touchPages } from "../disk/touch-pages.ts";
import { digestOf, sameDigest } from "./digest.ts";
import type { PackReader } from "./pack-reader.ts";
import type { WantedChunk, WantedRun } from "./stored-runs.ts";

/** Runs of chunks that other threads read while one is hashed: as many as the system has I/O threads. */
const READS_AHEAD = 4;

/**
 * Reads runs of stored chunks into their places, hashes each and compares. One that is not there, or is not what its
 * digest says, is left to `missed`, which retries, decodes, or names what is wrong. Ends when all reads have ended.
 */
export async function readRuns(
  packs: PackReader,
  runs: readonly WantedRun[],
  onRead: (chunk: WantedChunk, bytes: Uint8Array) => void,
  missed: (digest: Uint8Array, target: Uint8Array) => void | Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    for (let run = runs[next++]; run !== undefined; run = runs[next++]) {
      const places = run.chunks.map((chunk) => ({ chunk, digest: chunk.digest, target: chunk.target() }));
      const rooms = run.chunks.flatMap((chunk) => chunk.room?.() ?? []);
      const reading = packs.readStoredRun({ ...run, chunks: places }).catch(() => []);
      const [found] = await Promise.all([reading, touchPages(rooms)]);
      for (const [at, { chunk, digest, target }] of places.entries()) {
        const isRight = found[at] === true && sameDigest(digestOf(target), digest);
        if (!isRight) await missed(digest, target);
        onRead(chunk, target);
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: READS_AHEAD }, lane));
  const failed = ended.find((each) => each.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
