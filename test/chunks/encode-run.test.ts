// What a save moves between its threads: runs of chunks in one piece of memory, digests in tables, and checksums that
// learn their place late.
import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ChunkLister } from "../../checkpoints/listed-chunk.ts";
import { AppendedChunks } from "../../src/chunks/appended-chunks.ts";
import { seededCrc } from "../../src/chunks/crc-of-place.ts";
import { digestKey, digestOf } from "../../src/chunks/digest.ts";
import { DigestTable } from "../../src/chunks/digest-table.ts";
import { type ChunkToEncode, EncodeRun } from "../../src/chunks/encode-run.ts";
import { decodeFrame } from "../../src/chunks/pack-reader.ts";
import { placeFrame } from "../../src/chunks/pack-writer.ts";
import { ELEMENTS } from "../../src/codec/element.ts";
import { checkProperty } from "../formats/seed.ts";

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 });
/** Digests that meet in the table's first slots, so that probing goes round its end. */
const crowded = fc.uint8Array({ minLength: 32, maxLength: 32, max: 3 });

describe("the checksum of bytes from another start", () => {
  it("is what the checksum function says from there", () => {
    checkProperty(
      fc.tuple(fc.uint8Array({ maxLength: 5000 }), fc.nat({ max: 0xffffffff }), fc.nat(70_000)),
      ([bytes, seed, more]) => {
        const long = Buffer.concat([bytes, Buffer.alloc(more, 0x5a)]);
        expect(seededCrc(crc32c(long), seed, long.byteLength)).toBe(crc32c(long, seed));
      },
    );
  });
});

describe("a table of digests", () => {
  it("knows each digest's first place and none that was not added", () => {
    checkProperty(
      fc.tuple(fc.array(fc.oneof(digest, crowded), { maxLength: 400 }), digest),
      ([digests, other]) => {
        const table = new DigestTable();
        const model = new Map<string, number>();
        for (const each of digests) {
          const known = model.get(digestKey(each)) ?? model.size;
          model.set(digestKey(each), known);
          expect(table.add(each)).toBe(known);
        }
        expect(table.size).toBe(model.size);
        for (const [key, place] of model) {
          expect(table.find(Buffer.from(key, "latin1"))).toBe(place);
          expect(digestKey(table.at(place))).toBe(key);
        }
        expect(table.has(other)).toBe(model.has(digestKey(other)));
        table.clear();
        expect(table.size).toBe(0);
        for (const each of digests) expect(table.has(each)).toBe(false);
      },
    );
  });

  it("lists chunks by copies of their digests", () => {
    const lister = new ChunkLister();
    const given = new Uint8Array(32);
    const listed = Array.from({ length: 300 }, (_, i) => {
      given.fill(i % 251);
      return lister.list(given, i);
    });
    listed.forEach(({ digest, rawBytes }, i) => {
      expect([...digest]).toEqual(new Array(32).fill(i % 251));
      expect(rawBytes).toBe(i);
    });
  });
});

describe("chunks that were appended", () => {
  it("come back as they were, also where one was appended twice", () => {
    const entry = fc.record({
      packId: fc.bigInt(0n, 2n ** 64n - 1n),
      offset: fc.nat({ max: 2 ** 47 }),
      frameBytes: fc.nat({ max: 0xffffffff }),
      ordinal: fc.nat(255),
      depth: fc.nat(255),
      costKiB: fc.nat(0xffff),
      rawBytes: fc.nat({ max: 0xffffffff }),
    });
    checkProperty(
      fc.tuple(fc.array(fc.tuple(crowded, entry), { maxLength: 200 }), digest),
      ([given, other]) => {
        const appended = new AppendedChunks();
        const model = new Map<string, (typeof given)[number][1]>();
        for (const [each, its] of given) {
          appended.set(each, its);
          model.set(digestKey(each), its);
        }
        const found = [...appended.entries()].map((each) => [digestKey(each.digest), each.entry]);
        expect(found).toEqual([...model]);
        for (const [each] of given) expect(appended.get(each)).toEqual(model.get(digestKey(each)));
        expect(appended.get(other)).toEqual(model.get(digestKey(other)));
      },
    );
  });
});

describe("a run of chunks", () => {
  const chunk = fc.record({
    rawBytes: fc.nat(300),
    element: fc.constantFrom(...ELEMENTS),
    bases: fc.array(digest, { maxLength: 10 }),
  });

  it("carries what was asked, then digests and frames, in one piece of memory", () => {
    checkProperty(
      fc.tuple(
        fc.array(fc.tuple(chunk, fc.boolean()), { minLength: 1, maxLength: 40 }),
        fc.bigInt(0n, 2n ** 64n - 1n),
      ),
      ([given, packId]) => {
        const chunks: ChunkToEncode[] = given.map(([each]) => each);
        // Used before, and no larger than what was asked for: nothing that lay in it shows, and there is room for all.
        const run = EncodeRun.of(chunks, (sizeBytes) => new Uint8Array(sizeBytes).fill(0xa5).buffer);
        const moved = new EncodeRun(structuredClone(run.buffer, { transfer: [run.buffer] }));
        expect(moved.count).toBe(chunks.length);
        const raw = chunks.map(({ rawBytes }, i) => Buffer.alloc(rawBytes, i));
        chunks.forEach((each, i) => {
          expect(moved.rawBytes(i)).toBe(each.rawBytes);
          expect(moved.element(i)).toBe(each.element);
          const bases = moved.bases(i);
          expect(bases.map((base) => [...base])).toEqual(each.bases.slice(0, 8).map((base) => [...base]));
          expect(moved.baseCount(i)).toBe(bases.length);
          moved.setDigest(i, digestOf(raw[i]!));
          if (!given[i]![1]) return;
          const stored = { digest: digestOf(raw[i]!), rawBytes: each.rawBytes };
          moved.addFrame(i, {
            encoding: 0,
            element: 1,
            chunks: [stored],
            bases,
            depth: 3,
            costKiB: 70_000,
            payload: raw[i]!,
          });
        });
        chunks.forEach((each, i) => {
          expect([...moved.digest(i)]).toEqual([...digestOf(raw[i]!)]);
          const frame = moved.frame(i);
          expect(frame !== undefined).toBe(given[i]![1]);
          if (frame === undefined) return;
          placeFrame(Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength), packId, 4096 + i);
          const decoded = decodeFrame(frame, packId, 4096 + i);
          if (typeof decoded === "string") throw new Error(decoded);
          expect(decoded.header).toMatchObject({ depth: 3, costKiB: 0xffff, element: 1 });
          expect(decoded.header.bases).toHaveLength(Math.min(8, each.bases.length));
          expect(Buffer.compare(decoded.payload, raw[i]!)).toBe(0);
          expect(decodeFrame(frame, packId, 4097 + i)).toBe("header checksum");
        });
      },
    );
  });
});
