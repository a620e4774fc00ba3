import { readFileSync } from "node:fs";
import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockChecksum } from "../../src/wal/block-checksum.ts";
import { blockHash } from "../../src/wal/block-hash.ts";
import {
  BLOCK_BYTES,
  decodeBlock,
  decodeOpenPayload,
  HEADER_BYTES,
  PAYLOAD_BYTES,
} from "../../src/wal/format.ts";
import type { JournalEntry } from "../../src/wal/journal.ts";
import { writeOf } from "../../src/wal/journal.ts";
import { RecordAssembler } from "../../src/wal/reader.ts";
import { blocksFor, type Chain, Group } from "../../src/wal/writer.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const STORE_ID = Uint8Array.from({ length: 16 }, (_, index) => index);

function chain(change: Partial<Chain> = {}): Chain {
  return {
    storeId: STORE_ID,
    segmentBlocks: 1024,
    epoch: 3,
    nextSequence: 2050,
    durableThrough: 2049,
    logStart: 1024,
    nextLsn: 77,
    previousHash: new Uint8Array(16).fill(0xee),
    ...change,
  };
}

/** The block of docs/formats/wal.md: one record of five bytes. */
function workedExample(): Uint8Array {
  const group = new Group(new Uint8Array(BLOCK_BYTES), STORE_ID);
  group.append(writeOf({ payload: new TextEncoder().encode("hello"), timeUs: 1_700_000_000_000_000n }));
  return group.seal(chain());
}

function entriesOf(bytes: Uint8Array, first: number): JournalEntry[] | undefined {
  const assembler = new RecordAssembler();
  const entries: JournalEntry[] = [];
  for (let at = 0; at < bytes.byteLength; at += BLOCK_BYTES) {
    const block = decodeBlock(bytes.subarray(at, at + BLOCK_BYTES), first + at / BLOCK_BYTES, STORE_ID);
    if (block.fault !== undefined) return undefined;
    entries.push(...(assembler.add(block.header, block.payload) ?? []));
  }
  return entries;
}

describe("a log block", () => {
  it("has the bytes of the format page", () => {
    const block = workedExample();
    expect(Buffer.from(block.subarray(0, HEADER_BYTES + 17)).toString("hex")).toBe(
      [
        "766172766557414c",
        "01000100",
        "dd4d3a5c",
        "000102030405060708090a0b0c0d0e0f",
        "03000000",
        "00040000",
        "0208000000000000",
        "0208000000000000",
        "0108000000000000",
        "0004000000000000",
        "4d00000000000000",
        "0100",
        "1100",
        "0000",
        "0000",
        "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        "05000000",
        "00401e18240a0600",
        "68656c6c6f",
      ].join(""),
    );
    expect(block.subarray(HEADER_BYTES + 17).every((byte) => byte === 0)).toBe(true);
    expect(Buffer.from(blockHash(block.subarray(0, HEADER_BYTES + 17))).toString("hex")).toBe(
      "bbd9654b5c920a39d1dc20e45d415640",
    );
  });

  it("is what the page shows", () => {
    const page = readFileSync(new URL("../../docs/formats/wal.md", import.meta.url), "utf8");
    const shown = [...page.matchAll(/^[0-9a-f]{3} {2}((?:[0-9a-f]{2} {1,2})+)/gm)]
      .map(([, bytes]) => bytes)
      .join("")
      .replaceAll(" ", "");
    const block = Buffer.from(workedExample()).toString("hex", 0, HEADER_BYTES + 17);
    // The last line of the dump is the padding.
    expect(shown).toBe(`${block}00`);
  });

  it("gives back any records, however they cross blocks", () => {
    const records = fc.array(
      fc.record({
        payload: fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.integer({ min: 0, max: 3 * PAYLOAD_BYTES }).map((size) => new Uint8Array(size).fill(size)),
          fc.integer({ min: -30, max: 30 }).map((less) => new Uint8Array(PAYLOAD_BYTES - 12 + less).fill(7)),
        ),
        timeUs: fc.bigInt({ min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) }),
      }),
      { minLength: 1, maxLength: 30 },
    );
    fc.assert(
      fc.property(records, (list) => {
        const group = new Group(new Uint8Array(256 * BLOCK_BYTES).fill(0x5a), STORE_ID);
        for (const record of list) expect(group.append(writeOf(record))).toBe(true);
        const position = chain();
        const total = list.reduce((sum, { payload }) => sum + 12 + payload.byteLength, 0);
        const bytes = group.seal(position);
        expect(bytes.byteLength).toBe(blocksFor(total) * BLOCK_BYTES);
        const entries = entriesOf(bytes, 2050)!;
        expect(entries.map(({ lsn }) => lsn)).toEqual(list.map((_, index) => BigInt(77 + index)));
        expect(entries.map(({ timeUs }) => timeUs)).toEqual(list.map(({ timeUs }) => timeUs));
        for (const [index, { payload }] of list.entries()) {
          expect(Buffer.compare(entries[index]!.payload, payload)).toBe(0);
        }
        expect(position.nextLsn).toBe(77 + list.length);
      }),
      { seed, numRuns: 60 },
    );
  });

  it("links its blocks by hash and tells each where its write began", () => {
    const group = new Group(new Uint8Array(4 * BLOCK_BYTES), STORE_ID);
    group.append(writeOf({ payload: new Uint8Array(10_000).fill(1), timeUs: 5n }));
    const bytes = group.seal(chain());
    const headers = [0, 1, 2].map((index) => {
      const block = decodeBlock(bytes.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES), 2050 + index);
      if (block.fault !== undefined) throw new Error(block.fault);
      return block;
    });
    expect(headers.map(({ header }) => header.writeStart)).toEqual([2050, 2050, 2050]);
    expect(headers.map(({ header }) => header.recordCount)).toEqual([1, 0, 0]);
    expect(headers.map(({ header }) => header.firstLsn)).toEqual([77, 78, 78]);
    expect(headers.map(({ header }) => header.continued)).toEqual([
      0,
      PAYLOAD_BYTES,
      10_012 - 2 * PAYLOAD_BYTES,
    ]);
    expect(Buffer.from(headers[1]!.header.previousHash)).toEqual(Buffer.from(blockHash(headers[0]!.used)));
    expect(Buffer.from(headers[2]!.header.previousHash)).toEqual(Buffer.from(blockHash(headers[1]!.used)));
  });

  it("hashes as published, whatever the length", () => {
    const hex = (text: string) => Buffer.from(blockHash(new TextEncoder().encode(text))).toString("hex");
    expect(hex("The quick brown fox jumps over the lazy dog")).toBe("c383152f672ceeec6cf67b5d2c1de9e5");
    expect(hex("")).toBe("0".repeat(32));
    const bytes = Uint8Array.from({ length: 64 }, (_, index) => index);
    const seen = Array.from({ length: 65 }, (_, size) =>
      Buffer.from(blockHash(bytes.subarray(0, size))).toString("hex"),
    );
    expect(new Set(seen).size).toBe(65);
  });

  it("has the checksum the library gives, whatever the length", () => {
    const bytes = Uint8Array.from({ length: BLOCK_BYTES }, (_, index) => (index * 131) >>> 3);
    const view = new DataView(bytes.buffer);
    for (const length of [0, 1, 2, 3, 4, 5, 104, 121, 333, 1023, 1024, 1025, BLOCK_BYTES]) {
      expect(blockChecksum(bytes, view, length)).toBe(crc32c(bytes.subarray(0, length)));
    }
  });

  it("pads with zeros whatever its memory held before", () => {
    const group = new Group(new Uint8Array(2 * BLOCK_BYTES).fill(0xaa), STORE_ID);
    const end = chain({ durableThrough: 0, logStart: 0 });
    for (const [round, sizeBytes] of [3000, 10, 5000, 10, 7000, 1, 200, 200].entries()) {
      const payload = new Uint8Array(sizeBytes).fill(0x55);
      expect(group.append(writeOf({ payload, timeUs: 1n }))).toBe(true);
      // Every other one is given up, as records are for which there is no space.
      if (round % 2 === 1) group.seal({ ...end, previousHash: end.previousHash.slice() });
      group.reset();
      expect(group.append(writeOf({ payload: payload.subarray(0, 7), timeUs: 1n }))).toBe(true);
      const { nextSequence } = end;
      const written = group.seal(end);
      expect(decodeBlock(written.subarray(0, BLOCK_BYTES), nextSequence, STORE_ID).fault).toBeUndefined();
      group.reset();
    }
  });

  it("refuses a record that does not fit its memory any more", () => {
    const group = new Group(new Uint8Array(BLOCK_BYTES), STORE_ID);
    expect(group.append(writeOf({ payload: new Uint8Array(PAYLOAD_BYTES - 11), timeUs: 0n }))).toBe(false);
    expect(group.append(writeOf({ payload: new Uint8Array(PAYLOAD_BYTES - 12), timeUs: 0n }))).toBe(true);
    expect(group.append(writeOf({ payload: new Uint8Array(0), timeUs: 0n }))).toBe(false);
    group.reset();
    expect(group.append(writeOf({ payload: new Uint8Array(0), timeUs: 0n }))).toBe(true);
  });

  it("shows any single flipped bit, in what is used and in what is not", () => {
    const block = workedExample();
    for (let bit = 0; bit < BLOCK_BYTES * 8; bit++) {
      const index = bit >>> 3;
      block[index]! ^= 1 << (bit & 7);
      if (decodeBlock(block, 2050, STORE_ID).fault === undefined)
        throw new Error(`bit ${bit} went unnoticed`);
      block[index]! ^= 1 << (bit & 7);
    }
    expect(decodeBlock(block, 2050, STORE_ID).fault).toBeUndefined();
  });

  it("shows that it was cut off, at any byte, whatever follows", () => {
    const whole = workedExample();
    for (const fill of [0, 0xff]) {
      for (let size = 0; size < HEADER_BYTES + 17; size++) {
        const cut = new Uint8Array(BLOCK_BYTES).fill(fill);
        cut.set(whole.subarray(0, size));
        const { fault } = decodeBlock(cut, 2050, STORE_ID);
        expect(fault).toBe(size === 0 && fill === 0 ? "empty" : "damaged");
      }
    }
  });

  it("belongs to one place, one store and one format", () => {
    const block = workedExample();
    expect(decodeBlock(block, 2051, STORE_ID)).toEqual({ fault: "stale" });
    expect(decodeBlock(block, 2050, new Uint8Array(16))).toEqual({ fault: "foreign" });
    expect(decodeBlock(new Uint8Array(BLOCK_BYTES), 2050)).toEqual({ fault: "empty" });
    // Moved with a header that claims the new place: the checksum still knows the old one.
    const moved = block.slice();
    new DataView(moved.buffer).setUint32(40, 2051, true);
    new DataView(moved.buffer).setUint32(48, 2051, true);
    expect(decodeBlock(moved, 2051, STORE_ID)).toEqual({ fault: "damaged" });
  });

  it("survives any bytes at all without an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(BLOCK_BYTES - 200), (noise, at) => {
        const block = workedExample().slice();
        block.set(noise, at);
        const decoded = decodeBlock(block, 2050, STORE_ID);
        if (decoded.fault === undefined) new RecordAssembler().add(decoded.header, decoded.payload);
      }),
      { seed, numRuns: 2000 },
    );
  });

  it("pads open blocks unlike others, so that no mixture with a torn block it is written over is whole", () => {
    const data = workedExample();
    const open = new Group(new Uint8Array(BLOCK_BYTES), STORE_ID).sealOpen(
      chain(),
      {
        openId: new Uint8Array(16),
        openedUs: 1n,
        lastSequence: 2049,
        lastLsn: 76,
        lastHash: new Uint8Array(16),
      },
      0,
    );
    expect(data.subarray(HEADER_BYTES + 100).every((byte) => byte === 0)).toBe(true);
    expect(open.subarray(HEADER_BYTES + 100).every((byte) => byte === 0xff)).toBe(true);
    for (const [block, other] of [
      [open, 0],
      [data, 0xff],
    ] as const) {
      expect(decodeBlock(block, 2050, STORE_ID).fault).toBeUndefined();
      // The last sector as the other kind of block would have left it.
      const mixed = block.slice();
      mixed.fill(other, BLOCK_BYTES - 512);
      expect(decodeBlock(mixed, 2050, STORE_ID).fault).toBe("damaged");
    }
  });

  it("opens an epoch with where the chain before it ended", () => {
    const group = new Group(new Uint8Array(BLOCK_BYTES), STORE_ID);
    const open = {
      openId: new Uint8Array(16).fill(9),
      openedUs: 1_700_000_000_000_000n,
      lastSequence: 2049,
      lastLsn: 76,
      lastHash: new Uint8Array(16).fill(0xee),
    };
    const block = decodeBlock(group.sealOpen(chain(), open, 1), 2050, STORE_ID);
    if (block.fault !== undefined) throw new Error(block.fault);
    expect(block.header).toMatchObject({ kind: "open", flags: 1, recordCount: 0, firstLsn: 77 });
    expect(decodeOpenPayload(block.payload)).toEqual({
      ...open,
      openId: expect.objectContaining({ length: 16 }),
      lastHash: expect.objectContaining({ length: 16 }),
    });
    expect(decodeOpenPayload(block.payload.subarray(1))).toBeUndefined();
  });
});
