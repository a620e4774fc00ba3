import { crc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededCrc, shortCrc } from "../src/chunks/crc-of-place.ts";
import { crc32cTables } from "../src/crc32c.ts";
import { flipBit, flippedBit } from "../src/flipped-bit.ts";
import { checksumWithin } from "../src/series/checksum.ts";
import { blockChecksum } from "../src/wal/block-checksum.ts";

const someBytes = fc.uint8Array({ minLength: 0, maxLength: 1100 });

describe("CRC-32C made here", () => {
  it("knows what a byte does with bytes behind it", () => {
    const tables = crc32cTables(8);
    for (let behind = 0; behind < 8; behind++) {
      for (const byte of [0, 1, 0x80, 0xa5, 0xff]) {
        const bytes = new Uint8Array(behind + 1);
        const ofZeros = crc32c(bytes);
        bytes[0] = byte;
        expect(tables[behind * 256 + byte]! >>> 0).toBe((crc32c(bytes) ^ ofZeros) >>> 0);
      }
    }
  });

  it("is the library's, wherever bytes are summed up without it", () => {
    fc.assert(
      fc.property(someBytes, fc.integer({ min: 0, max: 0xffff_ffff }), (bytes, seed) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        const sum = crc32c(bytes);
        expect(blockChecksum(bytes, view, bytes.byteLength)).toBe(sum);
        expect(checksumWithin(bytes, view, 0, bytes.byteLength)).toBe(sum);
        expect(shortCrc(bytes, 0, bytes.byteLength, seed)).toBe(crc32c(bytes, seed));
        expect(seededCrc(sum, seed, bytes.byteLength)).toBe(crc32c(bytes, seed));
      }),
    );
  });

  it("names the bit that was flipped, and none where two were", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.nat(), fc.nat(), (bytes, a, b) => {
        const bits = bytes.byteLength * 8;
        const wanted = crc32c(bytes);
        flipBit(bytes, a % bits);
        expect(flippedBit(bytes, wanted, crc32c(bytes))).toBe(a % bits);
        if (a % bits === b % bits) return;
        flipBit(bytes, b % bits);
        expect(flippedBit(bytes, wanted, crc32c(bytes))).toBeUndefined();
      }),
    );
  });
});
