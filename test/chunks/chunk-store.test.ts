import { beforeEach, describe, expect, it } from "vitest";
import type { ChunkIndex } from "../../src/chunks/chunk-index.ts";
import { decodableEntries } from "../../src/chunks/decodable.ts";
import { digestOf, SHORT_DIGEST_BYTES } from "../../src/chunks/digest.ts";
import { collectGarbage } from "../../src/chunks/gc.ts";
import { MemoryIndex } from "../../src/chunks/memory-index.ts";
import { type ScannedFrame, scanPack } from "../../src/chunks/pack-scan.ts";
import type { FrameToWrite } from "../../src/chunks/pack-writer.ts";
import { rebuildIndex } from "../../src/chunks/rebuild-index.ts";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { CHAIN_COST_FACTOR, CHAIN_DEPTH_MAX } from "../../src/limits.ts";
import { TokenBucket } from "../../src/pace/token-bucket.ts";
import { type Engine, openEngine } from "../../src/store.ts";
import { rawFrame, writeFrames } from "./packs.ts";

const unpaced = {
  budget: new TokenBucket(Number.POSITIVE_INFINITY),
  hurry: new AbortController().signal,
};

let disk: SimulatedDisk;
let engine: Engine;

const openIndexOn =
  (on: SimulatedDisk, open?: () => ChunkIndex) => async (place: { packsDirectory: string }) =>
    open?.() ?? rebuildIndex(on, place.packsDirectory, engineId(on));

function engineId(on: SimulatedDisk): Uint8Array {
  const file = on.open("/s/versions/log", { access: "read" });
  const id = Buffer.alloc(16);
  file.readSync(id, 12);
  file.close();
  return id;
}

function open(on = disk, index?: () => ChunkIndex): Promise<Engine> {
  return openEngine("/s", { create: true, disk: on, workers: 0, openIndex: openIndexOn(on, index) });
}

beforeEach(async () => {
  disk = new SimulatedDisk();
  engine = await open();
});

/** Saves chunks, each against the bases named for it, and makes them durable. */
async function save(
  on: Engine,
  chunks: { bytes: Uint8Array; bases?: Uint8Array[] }[],
): Promise<Uint8Array[]> {
  const save = await on.chunks.beginSave("compact");
  try {
    const digests: Uint8Array[] = [];
    for (const { bytes, bases } of chunks) digests.push(await save.put(bytes, bases));
    await save.commit();
    return digests;
  } finally {
    await save.end();
  }
}

const random = new Random(11);
const bytes = (sizeBytes: number) => random.fill(new Uint8Array(sizeBytes));
const keeping = (digests: Uint8Array[]) => ({
  seq: () => 1n,
  mark: (visit: (digest: Uint8Array) => void) => digests.forEach(visit),
});

/** A frame as a scan reports it. */
function scanned(frame: FrameToWrite, offset: number): ScannedFrame {
  const bases = frame.bases.map((digest) => digest.subarray(0, SHORT_DIGEST_BYTES));
  const header = { ...frame, bases, payloadBytes: frame.payload.byteLength, payloadCrc: 0 };
  return { offset, frameBytes: 100, header };
}

function packsOf(on: SimulatedDisk): string[] {
  return on.list("/s/chunks/packs");
}

describe("the chunk store", () => {
  it("reads each chunk of a frame that holds several, by its place", async () => {
    const parts = [bytes(10), bytes(0), bytes(700), bytes(1)];
    const writer = engine.chunks.packs.create();
    await writeFrames(writer, [rawFrame(parts)]);
    writer.close();
    const reopened = await open();
    for (const part of parts) expect(reopened.chunks.read(digestOf(part))).toEqual(part);
  });

  it("hands out nothing whose digest is another, even if every checksum is right", async () => {
    const [asked, other] = [bytes(50), bytes(50)];
    const writer = engine.chunks.packs.create();
    await writeFrames(writer, [{ ...rawFrame([asked]), payload: other }]);
    writer.close();
    const reopened = await open();
    expect(() => reopened.chunks.read(digestOf(asked))).toThrowError(
      expect.toSatisfy((error) => isStoreError(error, "ERR_STORE_CORRUPT")),
    );
  });

  it("stores a chunk once, whoever brings it", async () => {
    const same = bytes(5000);
    await save(engine, [{ bytes: same }, { bytes: same }]);
    const sizes = packsOf(disk).map((name) => disk.stat(`/s/chunks/packs/${name}`)!.sizeBytes);
    await save(engine, [{ bytes: same }]);
    expect(packsOf(disk).map((name) => disk.stat(`/s/chunks/packs/${name}`)!.sizeBytes)).toEqual(sizes);
    expect(sizes.length).toBe(1);
    expect(sizes[0]).toBeLessThan(6200);
  });

  it("bounds how deep and how costly a chain gets, and restores every link of it", async () => {
    for (const [sizeBytes, changes] of [
      [6000, 1],
      [1500, 300],
    ] as const) {
      let current = bytes(sizeBytes);
      let digest: Uint8Array | undefined;
      const chain: { digest: Uint8Array; bytes: Uint8Array }[] = [];
      for (let i = 0; i < CHAIN_DEPTH_MAX + 8; i++) {
        current = current.slice();
        for (let change = 0; change < changes; change++) current[random.below(sizeBytes)] = random.below(256);
        [digest] = await save(engine, [{ bytes: current, bases: digest === undefined ? [] : [digest] }]);
        chain.push({ digest: digest!, bytes: current });
      }
      const entries = chain.map((link) => engine.chunks.index.get(link.digest)!);
      const deepest = Math.max(...entries.map((entry) => entry.depth));
      expect(deepest).toBeGreaterThan(1);
      expect(deepest).toBeLessThanOrEqual(CHAIN_DEPTH_MAX);
      // One more link than the bound may cost: the bound is asked before it is added.
      const costMax =
        Math.ceil((sizeBytes * CHAIN_COST_FACTOR) / 1024) + Math.ceil((sizeBytes * 1.5) / 1024) + 1;
      expect(Math.max(...entries.map((entry) => entry.costKiB))).toBeLessThanOrEqual(costMax);
      const reopened = await open(disk.killed());
      for (const link of chain.reverse()) expect(reopened.chunks.read(link.digest)).toEqual(link.bytes);
      await reopened.close();
    }
  });

  it("goes on with a pack whose first save failed, header and all", async () => {
    const failing = await engine.chunks.beginSave("compact");
    await failing.put(bytes(300));
    await failing.end();
    expect(packsOf(disk)).toEqual([]);
    const kept = bytes(400);
    const [digest] = await save(engine, [{ bytes: kept }]);
    // Whoever builds the index from the packs finds it too.
    const reopened = await open(disk.killed());
    expect(reopened.chunks.read(digest!)).toEqual(kept);
  });

  it("leaves a pack as it was when a later save fails", async () => {
    const [digest] = await save(engine, [{ bytes: bytes(300) }]);
    const [name] = packsOf(disk);
    const before = disk.stat(`/s/chunks/packs/${name}`)!.sizeBytes;
    const failing = await engine.chunks.beginSave("compact");
    await failing.put(bytes(3_000_00));
    await failing.put(bytes(1_000_000));
    await failing.end();
    expect(disk.stat(`/s/chunks/packs/${name}`)!.sizeBytes).toBe(before);
    expect(engine.chunks.read(digest!).byteLength).toBe(300);
  });

  it("keeps durable frames whose index reported failure but may have been seen", async () => {
    class Liar extends MemoryIndex {
      lies = false;
      override async commit(changes: Parameters<MemoryIndex["commit"]>[0]): Promise<void> {
        await super.commit(changes);
        if (this.lies) throw new Error("the commit failed, it says");
      }
    }
    const index = new Liar();
    const liar = await open(disk, () => index);
    await save(liar, [{ bytes: bytes(200) }]);
    index.lies = true;
    await expect(save(liar, [{ bytes: bytes(250) }])).rejects.toThrowError("it says");
    for (const { digest } of index.entries()) expect(liar.chunks.read(digest).byteLength).toBeGreaterThan(0);
  });

  it("adopts what a killed saver left: good frames stay, a torn tail goes", async () => {
    const [first] = await save(engine, [{ bytes: bytes(300) }]);
    const index = new MemoryIndex();
    index.apply({ puts: [...engine.chunks.index.entries()], packEnds: [...engine.chunks.index.packEnds()] });
    const save2 = await engine.chunks.beginSave("compact");
    const orphan = bytes(2000);
    await save2.put(orphan);
    // Large enough that the orphan's frame is written before the process dies.
    await save2.put(bytes(1 << 20));
    const found = disk.killed();
    const [name] = packsOf(found);
    const file = found.open(`/s/chunks/packs/${name}`, { access: "write" });
    file.truncate(file.sizeBytes() - 100);
    file.close();
    const reopened = await open(found, () => index);
    const [digest] = await save(reopened, [{ bytes: bytes(100) }]);
    expect(packsOf(found)).toEqual([name]);
    expect(reopened.chunks.read(orphan.byteLength > 0 ? digestOf(orphan) : first!)).toEqual(orphan);
    expect(reopened.chunks.read(digest!).byteLength).toBe(100);
    const scan = scanPack(found, "/s/chunks/packs", BigInt(`0x${name!.slice(0, 16)}`), reopened.storeId, {
      readData: true,
    });
    expect(scan.damage).toEqual([]);
    expect(scan.frames.length).toBe(3);
  });

  it("knows no chunk whose header is whole and whose payload is torn, when the index is built again", async () => {
    const torn = bytes(3000);
    await save(engine, [{ bytes: bytes(100) }, { bytes: torn }]);
    await engine.close();
    const found = disk.killed();
    const [name] = packsOf(found);
    const file = found.open(`/s/chunks/packs/${name}`, { access: "write" });
    file.writeSync(Buffer.alloc(512), 2048);
    file.close();
    const reopened = await open(found);
    expect(reopened.chunks.index.get(digestOf(torn))).toBeUndefined();
    await save(reopened, [{ bytes: torn }]);
    expect(reopened.chunks.read(digestOf(torn))).toEqual(torn);
  });

  it("does not append to a pack whose header a crash has taken", async () => {
    await engine.close();
    for (const left of [Buffer.alloc(0), Buffer.alloc(40), Buffer.alloc(2000, 7)]) {
      const found = disk.killed();
      const file = found.open("/s/chunks/packs/00000000000000ff.pack", { access: "write", create: "must" });
      file.writeSync(left, 0);
      file.close();
      // An index may know the pack by name, from when its header was there.
      const knowing = new MemoryIndex();
      knowing.apply({ puts: [], packEnds: [{ packId: 0xffn, goodBytes: 0, frameCount: 0 }] });
      for (const index of [undefined, () => knowing]) {
        const reopened = await open(found, index);
        const kept = bytes(300);
        const [digest] = await save(reopened, [{ bytes: kept }]);
        await reopened.close();
        expect((await open(found)).chunks.read(digest!)).toEqual(kept);
      }
    }
  });

  it("does not adopt frames whose bases are gone", () => {
    const base = digestOf(Buffer.from("gone"));
    const frame = rawFrame([Buffer.from("dependant")], { bases: [base], depth: 1 });
    const scan = {
      packId: 1n,
      path: "",
      sizeBytes: 0,
      damage: [],
      sealed: false,
      goodBytes: 0,
      frames: [scanned(frame, 64)],
    };
    expect(decodableEntries([scan], new MemoryIndex())).toEqual([]);
    const known = new MemoryIndex();
    const entry = { packId: 2n, offset: 64, frameBytes: 90, ordinal: 0, depth: 0, costKiB: 1, rawBytes: 4 };
    known.apply({ puts: [{ digest: base, entry }] });
    expect(decodableEntries([scan], known).length).toBe(1);
  });

  it("finds frames whose base is left only in a deeper frame than they were stored against", () => {
    const [root, base, top] = ["root", "base", "top"].map((text) => Buffer.from(text)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const frames = [
      rawFrame([root]),
      rawFrame([base], { bases: [digestOf(root)], depth: 5 }),
      rawFrame([top], { bases: [digestOf(base)], depth: 1 }),
    ];
    const scan = {
      packId: 1n,
      path: "",
      sizeBytes: 0,
      damage: [],
      sealed: false,
      goodBytes: 0,
      frames: frames.map((frame, i) => scanned(frame, 64 + 100 * i)),
    };
    expect(decodableEntries([scan], new MemoryIndex()).length).toBe(3);
  });

  it("keeps the first place of a chunk that two saves store at once", async () => {
    const twice = bytes(800);
    const one = await engine.chunks.beginSave("compact");
    const two = await engine.chunks.beginSave("compact");
    const digest = await one.put(twice);
    await two.put(twice);
    await one.commit();
    const place = engine.chunks.index.get(digest);
    await two.commit();
    await one.end();
    await two.end();
    expect(engine.chunks.index.get(digest)).toEqual(place);
    expect(packsOf(disk).length).toBe(2);
  });

  it("collects while four saves of the same process wait for it", async () => {
    const dead = await save(engine, [{ bytes: bytes(5000) }]);
    const saved: Uint8Array[] = [];
    const roots = { seq: () => BigInt(saved.length), mark: keeping(saved).mark };
    const saves = Array.from({ length: 6 }, async () => {
      const save = await engine.chunks.beginSave("compact");
      const part = bytes(100);
      await save.put(part);
      await save.commit();
      saved.push(digestOf(part));
      await save.end();
    });
    await Promise.all([collectGarbage(engine.chunks, roots, {}, unpaced), ...saves]);
    for (const digest of saved) expect(engine.chunks.read(digest).byteLength).toBe(100);
    expect(engine.chunks.index.get(dead[0]!)).toBeUndefined();
  });

  it("keeps what live chunks are stored against when it collects, and nothing else", async () => {
    let current = bytes(3000);
    let digest: Uint8Array | undefined;
    const chain: Uint8Array[] = [];
    for (let i = 0; i < 5; i++) {
      current = current.slice();
      current[i] = i;
      [digest] = await save(engine, [{ bytes: current, bases: digest === undefined ? [] : [digest] }]);
      chain.push(digest!);
    }
    const stray = await save(engine, [{ bytes: bytes(9000) }]);
    const result = await collectGarbage(engine.chunks, keeping([chain[4]!]), {}, unpaced);
    expect(result.reclaimedBytes).toBeGreaterThan(8000);
    expect(engine.chunks.read(chain[4]!)).toEqual(current);
    expect(engine.chunks.index.get(stray[0]!)).toBeUndefined();
    const reopened = await open(disk.killed());
    expect(reopened.chunks.read(chain[4]!)).toEqual(current);
  });

  it("shows a chunk in memory of its own until the next call, checked for its size", async () => {
    const [large, small] = [bytes(3000), bytes(500)];
    const [first, second] = await save(engine, [{ bytes: large }, { bytes: small }]);
    const { reader } = engine.chunks;
    expect(reader.view(first!, 3000)).toEqual(large);
    expect(reader.view(second!, 500)).toEqual(small);
    expect(reader.view(first!, 3000)).toEqual(large);
    expect(reader.cacheStats()).toMatchObject({ hits: 1, usedBytes: 2 * 4096 });
    expect(() => reader.view(first!, 2999)).toThrow(/3000 bytes, not 2999/);
  });

  it("never hands out wrong bytes, whichever bit of a pack is flipped", async () => {
    let current = bytes(200);
    let digest: Uint8Array | undefined;
    const chunks = new Map<Uint8Array, Uint8Array>();
    for (let i = 0; i < 4; i++) {
      current = current.slice();
      current[i * 7] = i;
      [digest] = await save(engine, [{ bytes: current, bases: digest === undefined ? [] : [digest] }]);
      chunks.set(digest!, current);
    }
    const copy = () => {
      const index = new MemoryIndex();
      index.apply({
        puts: [...engine.chunks.index.entries()],
        packEnds: [...engine.chunks.index.packEnds()],
      });
      return index;
    };
    const path = `/s/chunks/packs/${packsOf(disk)[0]}`;
    const bits = disk.stat(path)!.sizeBytes * 8;
    let failures = 0;
    for (let bit = 0; bit < bits; bit += 29) {
      const rotten = disk.killed();
      rotten.flipBit(path, bit);
      const reopened = await open(rotten, copy);
      for (const [name, saved] of chunks) {
        try {
          expect(reopened.chunks.read(name)).toEqual(saved);
        } catch (error) {
          if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
          failures += 1;
        }
      }
      await reopened.close();
    }
    expect(failures).toBeGreaterThan(0);
  });
});
