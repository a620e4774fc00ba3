import { beforeEach, describe, expect, it } from "vitest";
import type { ChunkEntry, ChunkIndex } from "../../src/chunks/chunk-index.ts";
import { ChunkReader } from "../../src/chunks/chunk-reader.ts";
import { digestKey, digestOf, SHORT_DIGEST_BYTES } from "../../src/chunks/digest.ts";
import { MemoryIndex } from "../../src/chunks/memory-index.ts";
import { PackReader } from "../../src/chunks/pack-reader.ts";
import { payloadOfPatch } from "../../src/chunks/patch-frame.ts";
import { PatchFrames } from "../../src/chunks/patch-frames.ts";
import { followRuns } from "../../src/chunks/patched-run.ts";
import type { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { PATCH_DEPTH_MAX } from "../../src/limits.ts";
import { type Engine, openEngine } from "../../src/store.ts";
import { seeded } from "../checkpoints/seeded.ts";
import { patchFrame } from "./patch-frames.ts";

const PACKS = "/s/chunks/packs";
const CHUNK_BYTES = 1000;

let disk: SimulatedDisk;
let engine: Engine;

beforeEach(async () => {
  disk = new SimulatedDisk();
  const openIndex = async () => new MemoryIndex();
  engine = await openEngine("/s", { create: true, disk, workers: 0, openIndex });
});

interface Table {
  chunks: Uint8Array[];
  digests: Uint8Array[];
  /** Payloads of each chunk's patches, the newest last. */
  payloads: Uint8Array[][];
}

/** A table, and saves that each change what `touches` says of it. */
async function learn(
  random: Random,
  chunkCount: number,
  saves: number,
  touches: (chunk: number, save: number) => boolean,
): Promise<Table> {
  const chunks = Array.from({ length: chunkCount }, () => random.fill(new Uint8Array(CHUNK_BYTES)));
  const first = await engine.chunks.beginSave("fast");
  const digests: Uint8Array[] = [];
  for (const chunk of chunks) digests.push(await first.putAsIs(chunk));
  await first.commit();
  await first.end();
  const payloads: Uint8Array[][] = chunks.map(() => []);
  const known = new Set(digests.map(digestKey));
  for (let i = 0; i < saves; i++) {
    const save = await engine.chunks.beginSave("fast");
    for (const [at, bytes] of chunks.entries()) {
      if (!touches(at, i)) continue;
      const unit = [1, 4, 8, 10][random.below(4)]!;
      const from = random.below(CHUNK_BYTES / unit - 5);
      const runs = [{ from, units: 1 + random.below(5) }];
      // Never bytes that a chunk had before, two saves ago say: those would be no new chunk.
      do random.fill(bytes.subarray(from * unit, (from + runs[0]!.units) * unit));
      while (known.has(digestKey(digestOf(bytes))));
      known.add(digestKey(digestOf(bytes)));
      const frame = patchFrame(bytes, unit, runs);
      expect(await save.appendPatches([{ frame, base: digests[at]! }])).toBe(true);
      digests[at] = digestOf(bytes);
      payloads[at]!.push(payloadOfPatch(frame));
    }
    await save.commit();
    await save.end();
  }
  return { chunks, digests, payloads };
}

/** An index that counts what it is asked. */
class CountingIndex extends MemoryIndex {
  asked = 0;

  override find(shortDigest: Uint8Array): { digest: Uint8Array; entry: ChunkEntry } | undefined {
    this.asked += 1;
    return super.find(shortDigest);
  }
}

function copyOfIndex<T extends MemoryIndex>(index: T): T {
  index.apply({ puts: [...engine.chunks.index.entries()], packEnds: [...engine.chunks.index.packEnds()] });
  return index;
}

const openReader = (index: ChunkIndex, on = disk) => ChunkReader.open(on, PACKS, index);

/** Places for chunks in one piece of memory that begins at an odd address, as a tensor's might. */
function places(digests: Uint8Array[], skipBytes = 0) {
  const memory = new Uint8Array(skipBytes + digests.length * CHUNK_BYTES);
  return digests.map((digest, i) => {
    const start = skipBytes + i * CHUNK_BYTES;
    return { digest, target: memory.subarray(start, start + CHUNK_BYTES) };
  });
}

function expectRead(wanted: { target: Uint8Array }[], chunks: Uint8Array[]): void {
  wanted.forEach(({ target }, i) => {
    expect(Buffer.compare(target, chunks[i]!), `chunk ${i}`).toBe(0);
  });
}

describe("chunks at the end of runs of patches, restored with their neighbours", () => {
  it("are what was saved, whichever of them a save touched", async () => {
    await seeded(async (random) => {
      const index = () => copyOfIndex(new MemoryIndex());
      for (const share of [1, 2, 10]) {
        const table = await learn(random, 12, 60, () => random.below(share) === 0);
        const reader = await openReader(index());
        for (const skipBytes of [0, 1, 4]) {
          const wanted = places(table.digests, skipBytes);
          reader.readNeighboursInto(wanted);
          expectRead(wanted, table.chunks);
        }
        // In another order, one of them twice.
        const order = [3, 11, 3, 0, 7];
        const wanted = places(order.map((at) => table.digests[at]!));
        reader.readNeighboursInto(wanted);
        expectRead(
          wanted,
          order.map((at) => table.chunks[at]!),
        );
        reader.close();
      }
    });
  });

  it("are looked up once a save, not once a patch", async () => {
    await seeded(async (random) => {
      const table = await learn(random, 16, 100, () => true);
      const index = copyOfIndex(new CountingIndex());
      const reader = await openReader(index);
      const wanted = places(table.digests);
      reader.readNeighboursInto(wanted);
      expectRead(wanted, table.chunks);
      expect(index.asked).toBeLessThan(100 + 3 * 16);
      reader.close();
    });
  });

  it("may have as many patches as a frame's depth can say, and no more", async () => {
    await seeded(async (random) => {
      const table = await learn(random, 2, PATCH_DEPTH_MAX, () => true);
      const reader = await openReader(copyOfIndex(new MemoryIndex()));
      const wanted = places(table.digests);
      reader.readNeighboursInto(wanted);
      expectRead(wanted, table.chunks);
      const save = await engine.chunks.beginSave("fast");
      const frame = patchFrame(random.fill(new Uint8Array(CHUNK_BYTES)), 1, []);
      expect(await save.appendPatches([{ frame, base: table.digests[0]! }])).toBe(false);
      await save.end();
      reader.close();
    });
  });

  it("are followed as far as memory for their frames goes", async () => {
    await seeded(async (random) => {
      const table = await learn(random, 5, 40, (chunk, save) => (chunk + save) % 3 !== 0);
      const { index } = engine.chunks;
      const packs = new PackReader(disk, PACKS);
      const wanted = places(table.digests).map((each) => ({ ...each, entry: index.get(each.digest)! }));
      for (const sizeBytes of [0, 50, 100, 1000, 10_000, 1 << 20]) {
        const frames = new PatchFrames(packs, sizeBytes);
        followRuns(index, frames, wanted).forEach(({ base, payloads }, at) => {
          const all = table.payloads[at]!;
          const found = payloads.length / 2;
          for (let i = 0; i < found; i++) {
            const payload = frames.bytes.subarray(payloads[i * 2], payloads[i * 2 + 1]);
            expect(Buffer.compare(payload, all[all.length - 1 - i]!)).toBe(0);
          }
          expect(index.find(base)?.entry.depth).toBe(all.length - found);
          if (sizeBytes < 80) expect(found).toBe(0);
          if (sizeBytes === 1 << 20) expect(found).toBe(all.length);
        });
      }
      packs.close();
    });
  });

  it("are never wrong, whichever bit of a pack is flipped, and damage is named", async () => {
    await seeded(async (random) => {
      const table = await learn(random, 3, 12, () => true);
      const [pack] = disk.list(PACKS);
      const path = `${PACKS}/${pack}`;
      const bits = disk.stat(path)!.sizeBytes * 8;
      let failures = 0;
      for (let bit = random.below(211); bit < bits; bit += 211) {
        const rotten = disk.killed();
        rotten.flipBit(path, bit);
        const reader = await openReader(copyOfIndex(new MemoryIndex()), rotten);
        const wanted = places(table.digests);
        try {
          reader.readNeighboursInto(wanted);
          expectRead(wanted, table.chunks);
        } catch (error) {
          if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
          expect(error.message).toMatch(/damaged|decodes to other bytes|not in the index|another chunk/);
          failures += 1;
        }
        reader.close();
      }
      expect(failures).toBeGreaterThan(20);
    });
  });

  it("are found again when another process has moved them meanwhile", async () => {
    await seeded(async (random) => {
      const table = await learn(random, 4, 20, () => true);
      const index = copyOfIndex(new MemoryIndex());
      const real = index.get.bind(index);
      const realFind = index.find.bind(index);
      let refreshed = 0;
      const moved = <T extends { packId: bigint }>(entry: T): T =>
        refreshed > 0 || entry.packId === 0n ? entry : { ...entry, packId: 0xdeadn };
      index.get = (digest) => {
        const entry = real(digest);
        return entry === undefined ? undefined : moved(entry);
      };
      index.find = (short) => {
        const found = realFind(short);
        return found === undefined ? undefined : { ...found, entry: moved(found.entry) };
      };
      index.refresh = () => {
        refreshed += 1;
      };
      const reader = await openReader(index);
      const wanted = places(table.digests);
      reader.readNeighboursInto(wanted);
      expectRead(wanted, table.chunks);
      expect(refreshed).toBeGreaterThan(0);
      reader.close();
    });
  });

  it("say which chunk is missing when one of a run is not in the index", async () => {
    await seeded(async (random) => {
      const table = await learn(random, 2, 20, (chunk, save) => chunk === 0 || save !== 9);
      const index = copyOfIndex(new MemoryIndex());
      const reader = await openReader(index);
      const save = table.payloads[1]!.length;
      const entries = [...index.entries()].filter(({ entry }) => entry.depth === save - 3);
      index.apply({ puts: [], deletes: entries.map(({ digest }) => digest) });
      for (const [i, digest] of table.digests.entries()) {
        const wanted = places([digest]);
        // Alone, each patch is looked up: what is not in the index is not there.
        expect(() => reader.readNeighboursInto(wanted), `chunk ${i}`).toThrowError(/not in the index/);
      }
      expect(
        entries.every(({ digest }) => index.find(digest.subarray(0, SHORT_DIGEST_BYTES)) === undefined),
      ).toBe(true);
      reader.close();
    });
  });
});
