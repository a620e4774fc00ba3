import { crc32c as crcOf } from "@node-rs/crc32";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isStoreError } from "../../src/errors.ts";
import {
  LOG_HEADER_BYTES,
  MARK_BYTES,
  RECORD_HEADER_BYTES,
  recordBytes,
} from "../../src/versions/log-format.ts";
import {
  checkLogHeader,
  decodeMark,
  recordAt,
  scanLog,
  strayPadding,
} from "../../src/versions/log-reader.ts";
import { encodeLogHeader, encodeMark, encodeRecord } from "../../src/versions/log-writer.ts";
import { checkProperty } from "../formats/seed.ts";

const storeId = Buffer.from("00112233445566778899aabbccddeeff", "hex");
const payload = Buffer.from("hello, log");
const record = { seq: 7n, timeUs: 1_700_000_000_000_000n, payload };

/** A log of three records, as it lies on the disk. */
function smallLog(): Buffer {
  const parts = [Buffer.from(encodeLogHeader(storeId))];
  let offset = LOG_HEADER_BYTES;
  for (let seq = 1; seq <= 3; seq++) {
    const bytes = Buffer.from(encodeRecord({ ...record, seq: BigInt(seq) }, storeId, offset));
    parts.push(bytes);
    offset += bytes.byteLength;
  }
  return Buffer.concat(parts);
}

describe("the version log's bytes", () => {
  it("are these, for a header", () => {
    const header = Buffer.from(encodeLogHeader(storeId));
    expect(header.byteLength).toBe(512);
    expect(header.subarray(0, 32).toString("hex")).toBe(
      `56415256454c473101000000${storeId.toString("hex")}${GOLDEN.header}`,
    );
    expect(header.subarray(32).every((byte) => byte === 0)).toBe(true);
  });

  it("are these, for a record", () => {
    const bytes = Buffer.from(encodeRecord(record, storeId, 512));
    expect(bytes.byteLength).toBe(512);
    expect(bytes.subarray(0, 38).toString("hex")).toBe(
      `52454331${GOLDEN.record}0a000000070000000000000000401e18240a060068656c6c6f2c206c6f67`,
    );
    expect(bytes.subarray(38).every((byte) => byte === 0)).toBe(true);
  });

  it("are these, for a mark", () => {
    const bytes = Buffer.from(encodeMark({ logBytes: 1024, seq: 7n }, storeId));
    expect(bytes.toString("hex")).toBe(
      `4d524b31${GOLDEN.mark}000400000000000007000000000000000000000000000000`,
    );
  });
});

/** Checksums of the bytes above: they change when the format does, and then its version must. */
const GOLDEN = { header: "610d6b66", record: "83ba0882", mark: "1cd47ee6" };

describe("reading the version log", () => {
  it("gives back what was written, in any number and size", () => {
    checkProperty(
      fc.array(fc.record({ timeUs: fc.bigInt(0n, 2n ** 63n), payload: fc.uint8Array({ maxLength: 2000 }) })),
      (records) => {
        let offset = LOG_HEADER_BYTES;
        const parts = records.map(({ timeUs, payload }, i) => {
          const bytes = encodeRecord({ seq: BigInt(i + 1), timeUs, payload }, storeId, offset);
          offset += bytes.byteLength;
          return bytes;
        });
        const scan = scanLog(Buffer.concat(parts), storeId, LOG_HEADER_BYTES);
        expect(scan.damage).toEqual([]);
        expect(scan.goodBytes).toBe(offset);
        expect(
          scan.records.map(({ timeUs, payload }) => ({ timeUs, payload: Uint8Array.from(payload) })),
        ).toEqual(records);
      },
    );
  });

  it("finds the whole records before any place where the log ends", () => {
    const log = smallLog().subarray(LOG_HEADER_BYTES);
    const size = recordBytes(payload.byteLength);
    for (let end = 0; end <= log.byteLength; end++) {
      const scan = scanLog(log.subarray(0, end), storeId, LOG_HEADER_BYTES);
      expect(scan.records.length, `cut at ${end}`).toBe(Math.floor(end / size));
      expect(scan.damage).toEqual([]);
      expect(scan.tailBytes).toBe(end % size);
    }
  });

  it("takes no record with a flipped bit for good", () => {
    const log = smallLog();
    const size = recordBytes(payload.byteLength);
    const used = RECORD_HEADER_BYTES + payload.byteLength;
    for (let bit = LOG_HEADER_BYTES * 8; bit < log.byteLength * 8; bit++) {
      log[bit >> 3]! ^= 1 << (bit & 7);
      const scan = scanLog(log.subarray(LOG_HEADER_BYTES), storeId, LOG_HEADER_BYTES);
      const place = ((bit >> 3) - LOG_HEADER_BYTES) % size;
      // Behind its payload a record has zeros that nobody needs: that they are is for `check` to say.
      expect(scan.records.length, `bit ${bit}`).toBe(place < used ? 2 : 3);
      expect(strayPadding(log, scan.records).length, `bit ${bit}`).toBe(place < used ? 0 : 1);
      for (const { payload: found } of scan.records) expect(Buffer.compare(found, payload)).toBe(0);
      log[bit >> 3]! ^= 1 << (bit & 7);
    }
  });

  it("does not take a record of another place or store for one of its own", () => {
    const bytes = encodeRecord(record, storeId, 512);
    expect(recordAt(bytes, 0, storeId, 512)).toBeDefined();
    expect(recordAt(bytes, 0, storeId, 1024)).toBeUndefined();
    expect(recordAt(bytes, 0, Buffer.alloc(16), 512)).toBeUndefined();
  });

  it("finds every flipped bit and every cut of a header and a mark", () => {
    const header = Buffer.from(encodeLogHeader(storeId));
    for (let bit = 0; bit < 32 * 8; bit++) {
      header[bit >> 3]! ^= 1 << (bit & 7);
      expect(checkLogHeader(header, storeId), `bit ${bit}`).toBeDefined();
      header[bit >> 3]! ^= 1 << (bit & 7);
    }
    for (let end = 0; end < 32; end++) expect(checkLogHeader(header.subarray(0, end), storeId)).toBeDefined();
    expect(checkLogHeader(header, storeId)).toBeUndefined();
    const mark = Buffer.from(encodeMark({ logBytes: 512, seq: 1n }, storeId));
    for (let bit = 0; bit < MARK_BYTES * 8; bit++) {
      mark[bit >> 3]! ^= 1 << (bit & 7);
      expect(decodeMark(mark, storeId), `bit ${bit}`).toBeUndefined();
      mark[bit >> 3]! ^= 1 << (bit & 7);
    }
    for (let end = 0; end < MARK_BYTES; end++)
      expect(decodeMark(mark.subarray(0, end), storeId)).toBeUndefined();
    expect(decodeMark(mark, storeId)).toEqual({ logBytes: 512, seq: 1n });
  });

  it("refuses a log of a newer format by name", () => {
    const header = Buffer.from(encodeLogHeader(storeId));
    header.writeUInt16LE(2, 8);
    header.writeUInt32LE(crcOf(header.subarray(0, 28)), 28);
    expect(() => checkLogHeader(header, storeId)).toThrowError(
      expect.toSatisfy((error) => isStoreError(error, "ERR_STORE_VERSION")),
    );
  });
});
