import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../src/chunks/digest.ts";
import { frameHeaderBytes, PACK_HEADER_BYTES, packFileName } from "../../src/chunks/pack-format.ts";
import { checkPackHeader, decodeFrame, decodeFrameHeader, isSeal } from "../../src/chunks/pack-reader.ts";
import { scanPack } from "../../src/chunks/pack-scan.ts";
import { encodePackHeader, encodeSeal, PackWriter } from "../../src/chunks/pack-writer.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { checkProperty } from "../formats/seed.ts";
import { placedFrame, rawFrame, writeFrames } from "./packs.ts";

const storeId = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const packId = 0x0123456789abcdefn;
const path = `/${packFileName(packId)}`;

/** Checksums of the golden bytes: they change when the format does, and then its version must. */
const GOLDEN = { header: "2b6f3d1e", frame: "4aa60daf", payload: "7235d2cc", seal: "cfdde22b" };

describe("a pack's bytes", () => {
  it("are these, for a header", () => {
    const header = Buffer.from(encodePackHeader(storeId, packId, 1_700_000_000_000_000n)).toString("hex");
    expect(header).toBe(
      `5641525645504b310100${"0".repeat(12)}${storeId.toString("hex")}` +
        `efcdab89674523010${"0401e18240a0600"}${"0".repeat(24)}${GOLDEN.header}`,
    );
  });

  it("are these, for a frame of two chunks and a base", () => {
    const [one, two, base] = ["one", "two", "base"].map((text) => Buffer.from(text)) as [
      Buffer,
      Buffer,
      Buffer,
    ];
    const frame = {
      ...rawFrame([one, two], { bases: [digestOf(base)], depth: 3 }),
      element: 11,
      costKiB: 0x0102,
    };
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    expect(hex(placedFrame(frame, packId, 512).subarray(0, -frame.payload.byteLength))).toBe(
      `46524d31${GOLDEN.frame}${GOLDEN.payload}06000000` +
        "000b020100030201" + // encoding, element, two chunks, one base, no table, depth 3, cost 0x102
        `${hex(digestOf(one))}03000000${hex(digestOf(two))}03000000${hex(digestOf(base).subarray(0, 16))}`,
    );
  });

  it("are these, for a seal", () => {
    expect(Buffer.from(encodeSeal(packId, 1024, 3)).toString("hex")).toBe(
      `5345414c${GOLDEN.seal}00040000000000000300000000000000`,
    );
  });
});

const bytesArbitrary = fc.uint8Array({ maxLength: 300 });
const framesArbitrary = fc.array(
  fc.record({
    chunks: fc.array(bytesArbitrary, { minLength: 1, maxLength: 5 }),
    bases: fc.array(fc.uint8Array({ minLength: 32, maxLength: 32 }), { maxLength: 8 }),
    depth: fc.integer({ min: 0, max: 64 }),
  }),
  { maxLength: 12 },
);

async function packOf(
  frames: { chunks: Uint8Array[]; bases?: Uint8Array[]; depth?: number }[],
  seal = false,
) {
  const disk = new SimulatedDisk();
  const writer = PackWriter.create(disk, "/", storeId, packId, 1n)!;
  for (const { chunks, ...options } of frames) await writeFrames(writer, [rawFrame(chunks, options)]);
  if (frames.length === 0) await writer.sync();
  if (seal) await writer.seal();
  writer.close();
  return disk;
}

function bytesOf(disk: SimulatedDisk): Buffer {
  const file = disk.open(path, { access: "read" });
  const bytes = Buffer.alloc(file.sizeBytes());
  file.readSync(bytes, 0);
  file.close();
  return bytes;
}

function diskWith(bytes: Uint8Array): SimulatedDisk {
  const disk = new SimulatedDisk();
  const file = disk.open(path, { access: "write", create: "must" });
  file.writeSync(bytes, 0);
  file.close();
  return disk;
}

const scan = (disk: SimulatedDisk, options = {}) => scanPack(disk, "/", packId, storeId, options);

describe("reading a pack", () => {
  it("gives back every frame that was written, sealed or not", async () => {
    const cases: { frames: { chunks: Uint8Array[]; bases: Uint8Array[]; depth: number }[]; seal: boolean }[] =
      [];
    checkProperty(framesArbitrary, fc.boolean(), (frames, seal) => {
      if (cases.length < 60) cases.push({ frames, seal });
    });
    for (const { frames, seal } of cases) {
      const disk = await packOf(frames, seal);
      for (const readData of [false, true]) {
        const found = scan(disk, { readData });
        expect(found.damage).toEqual([]);
        expect(found.sealed).toBe(seal);
        expect(found.goodBytes + (seal ? 24 : 0)).toBe(found.sizeBytes);
        expect(
          found.frames.map(({ header }) => [header.depth, header.chunks.length, header.bases.length]),
        ).toEqual(frames.map(({ depth, chunks, bases }) => [depth, chunks.length, bases.length]));
      }
    }
  });

  const small = [
    { chunks: [Buffer.from("first chunk")] },
    { chunks: [Buffer.from("two"), Buffer.from("three")] },
  ];

  it("has the same bytes when it was written around the page cache, whatever the sizes and syncs", async () => {
    const directory = mkdtempSync(join(tmpdir(), "varve-pack-"));
    const byte = (i: number) => Math.imul(i, 2_654_435_761) >>> 24;
    const frames = [
      1, 300_000, 262_144, 262_144, 262_144, 70_000, 262_144, 5, 262_144, 262_144, 262_144, 262_144,
    ];
    const written: Buffer[] = [];
    for (const aside of [false, true]) {
      const writer = PackWriter.create(realDisk, directory, storeId, aside ? 2n : 1n, 1n)!;
      writer.aside = aside;
      for (const [i, sizeBytes] of frames.entries()) {
        await writer.append(rawFrame([Uint8Array.from({ length: sizeBytes }, (_, at) => byte(at + i))]));
        if (i % 5 === 4) await writer.sync();
      }
      await writer.sync();
      const scan = scanPack(realDisk, directory, writer.packId, storeId, {
        fromOffset: PACK_HEADER_BYTES,
        readData: true,
      });
      expect(scan.damage).toEqual([]);
      expect(scan.frames.length).toBe(frames.length);
      expect(scan.goodBytes).toBeLessThanOrEqual(writer.sizeBytes);
      // Where half of it is cut off again, writing goes on in the middle of a page.
      await writer.cutBack(scan.frames[6]!.offset, 6);
      await writer.append(rawFrame([new Uint8Array(2_000_000 % 262_144).fill(9)]));
      await writer.sync();
      writer.close();
      written.push(readFileSync(join(directory, packFileName(writer.packId))));
    }
    rmSync(directory, { recursive: true });
    expect(written[1]!.byteLength).toBe(written[0]!.byteLength);
    // But for the pack's id and the checksums it is part of, the same.
    const payload = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, at) => byte(at + 1)));
    expect(written[1]!.indexOf(payload)).toBe(written[0]!.indexOf(payload));
  });

  it("has everything in the file when a sync fills up the last write around the page cache", async () => {
    const directory = mkdtempSync(join(tmpdir(), "varve-pack-"));
    const writer = PackWriter.create(realDisk, directory, storeId, packId, 1n)!;
    writer.aside = true;
    await writer.sync();
    const start = writer.sizeBytes;
    expect(start % 4096, "what follows begins within a page").toBeGreaterThan(0);
    const wanted = start + (1 << 20) - 100;
    const headerBytes = (await writer.append(rawFrame([new Uint8Array(1000)]))).frameBytes - 1000;
    while (wanted - writer.sizeBytes > 0) {
      const left = wanted - writer.sizeBytes;
      const rawBytes = left > 400_000 ? 200_000 : left > 250_000 ? left >> 1 : left - headerBytes;
      await writer.append(rawFrame([new Uint8Array(rawBytes).fill(7)]));
    }
    expect(writer.sizeBytes).toBe(wanted);
    await writer.sync();
    const { byteLength } = readFileSync(join(directory, packFileName(packId)));
    expect(byteLength).toBe(writer.sizeBytes);
    expect(scanPack(realDisk, directory, packId, storeId, { readData: true }).damage).toEqual([]);
    writer.close();
    rmSync(directory, { recursive: true });
  });

  it("finds the whole frames before any place where the pack ends", async () => {
    const whole = bytesOf(await packOf(small, true));
    const ends = scan(diskWith(whole)).frames.map(({ offset, frameBytes }) => offset + frameBytes);
    for (let end = 0; end < whole.byteLength; end++) {
      const found = scan(diskWith(whole.subarray(0, end)), { readData: true });
      expect(found.frames.length, `cut at ${end}`).toBe(ends.filter((each) => each <= end).length);
      expect(found.sealed).toBe(false);
    }
  });

  it("takes no frame with a flipped bit for good, and misses no other", async () => {
    const whole = bytesOf(await packOf(small, true));
    const used = scan(diskWith(whole)).frames;
    for (let bit = 0; bit < whole.byteLength * 8; bit++) {
      const at = bit >> 3;
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 1 << (bit & 7);
      const found = scan(diskWith(bytes), { readData: true });
      const hit = used.findIndex(({ offset, frameBytes }) => at >= offset && at < offset + frameBytes);
      expect(found.frames.length, `bit ${bit}`).toBe(hit < 0 ? 2 : 1);
      expect(found.damage.length > 0, `bit ${bit}`).toBe(true);
      for (const { offset } of found.frames) expect(used.some((each) => each.offset === offset)).toBe(true);
    }
  });

  it("does not take a frame of another place or pack for one of its own", () => {
    const frame = rawFrame([Buffer.from("data")]);
    const bytes = placedFrame(frame, packId, 512);
    expect(decodeFrame(bytes, packId, 512)).toMatchObject({ header: { depth: 0 } });
    expect(decodeFrame(bytes, packId, 1024)).toBe("header checksum");
    expect(decodeFrame(bytes, packId + 1n, 512)).toBe("header checksum");
  });

  it("asks for no memory that a hostile header names", () => {
    const frame = rawFrame([Buffer.from("data")]);
    const lying = (change: (header: Buffer) => void) => {
      const header = placedFrame(frame, packId, 512).subarray(0, -frame.payload.byteLength);
      change(header);
      const seed = Buffer.alloc(16);
      seed.writeBigUInt64LE(packId, 0);
      seed.writeBigUInt64LE(512n, 8);
      header.writeUInt32LE(crc32c(header.subarray(8), crc32c(seed)), 4);
      return decodeFrameHeader(header, packId, 512);
    };
    expect(lying((header) => header.writeUInt32LE(0x7fffffff, 12))).toBe("header fields");
    expect(lying((header) => header.writeUInt32LE(0x7fffffff, 24 + 32))).toBe("header fields");
    expect(lying(() => {})).toMatchObject({ payloadBytes: 4 });
  });

  it("refuses a pack of a newer format by name, and one of another store", () => {
    const header = Buffer.from(encodePackHeader(storeId, packId, 1n));
    expect(checkPackHeader(header, packId, storeId)).toBeUndefined();
    expect(checkPackHeader(header, packId + 1n, storeId)).toMatch(/another pack/);
    expect(checkPackHeader(header, packId, Buffer.alloc(16))).toMatch(/another store/);
    for (let end = 0; end < PACK_HEADER_BYTES; end++) {
      expect(checkPackHeader(header.subarray(0, end), packId, storeId)).toMatch(/shorter/);
    }
    header.writeUInt16LE(2, 8);
    header.writeUInt32LE(crc32c(header.subarray(0, 60)), 60);
    expect(() => checkPackHeader(header, packId, storeId)).toThrowError(
      expect.toSatisfy((error) => isStoreError(error, "ERR_STORE_VERSION")),
    );
  });

  it("knows a seal only in its own place", () => {
    const seal = encodeSeal(packId, 1024, 3);
    expect(isSeal(seal, packId, 1024)).toBe(true);
    expect(isSeal(seal, packId, 1048)).toBe(false);
    expect(isSeal(seal, packId + 1n, 1024)).toBe(false);
  });

  it("writes no header wider than it says", () => {
    expect(placedFrame(rawFrame([Buffer.alloc(1)]), packId, 64).byteLength).toBe(frameHeaderBytes(1, 0) + 1);
  });
});

describe("a pack that is written while more of it is gathered", () => {
  const megabyte = () => rawFrame([new Uint8Array(1 << 20).fill(1)]);

  it("tells of a failed write at the next one or at the sync, and is never written again", async () => {
    for (const failed of [0, 1, 2]) {
      const disk = new SimulatedDisk();
      const writer = PackWriter.create(disk, "", storeId, packId, 1n)!;
      disk.inject({ on: "write", path, after: failed, effect: { kind: "EIO" } });
      const problem = await (async () => {
        for (let i = 0; i < 3; i++) await writer.append(megabyte());
        await writer.sync();
      })().catch((error: unknown) => error);
      expect(isStoreError(problem, "ERR_IO"), String(problem)).toBe(true);
      expect(writer.failed).toBe(true);
      await expect(writer.sync()).rejects.toBe(problem);
      await writer.cutBack(PACK_HEADER_BYTES, 0);
      writer.close();
    }
  });

  it("is neither cut nor closed under a write", async () => {
    const disk = new SimulatedDisk();
    const writer = PackWriter.create(disk, "", storeId, packId, 1n)!;
    for (let i = 0; i < 3; i++) await writer.append(megabyte());
    await writer.cutBack(PACK_HEADER_BYTES, 0);
    const frame = rawFrame([new Uint8Array(100).fill(2)]);
    await writer.append(frame);
    await writer.sync();
    writer.close();
    const scan = scanPack(disk, "", packId, storeId, { readData: true });
    expect(scan.damage).toEqual([]);
    expect(scan.frames.map(({ header }) => header.chunks[0]!.digest)).toEqual([frame.chunks[0]!.digest]);
  });
});
