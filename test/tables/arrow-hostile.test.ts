import {
  Dictionary,
  Field,
  FixedSizeList,
  Float32,
  Int32,
  makeData,
  makeVector,
  Table,
  tableToIPC,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { describe, expect, it } from "vitest";
import { readArrow } from "../../formats/arrow/reader.ts";
import { isStoreError } from "../../src/errors.ts";
import { ARROW_TABLES_MAX } from "../../src/limits.ts";
import { noise } from "../codec/seeded.ts";

/**
 * Arrow's metadata are flatbuffers, whose readers trust what they read: one count changed to 2^31 once kept this
 * process busy and allocating until it was killed. Whatever is changed, reading ends soon in a table or an error.
 */
const texts = vectorFromArray(["p", "q", "p", "p"], new Dictionary(new Utf8(), new Int32()));
const lists = vectorFromArray(
  [
    [1, 2],
    [3, 4],
    [5, 6],
    [7, 8],
  ],
  new FixedSizeList(2, new Field("item", new Float32(), false)),
);
const table = new Table({
  x: makeVector(Float64Array.of(1, 2, 3, 4)),
  s: vectorFromArray(["a", "bb", null, "d"], new Utf8()),
  d: texts,
  l: lists,
  b: vectorFromArray([true, false, null, true]),
});
const samples = (["stream", "file"] as const).map((layout) => ({ layout, bytes: tableToIPC(table, layout) }));

async function outcome(bytes: Uint8Array, options = {}): Promise<"read" | "refused"> {
  try {
    for await (const { rows } of readArrow(bytes, options)) expect(rows).toBeLessThan(1000);
    return "read";
  } catch (error) {
    if (isStoreError(error, "ERR_FORMAT_ARROW") || isStoreError(error, "ERR_LIMIT")) return "refused";
    throw error;
  }
}

describe("hostile Arrow metadata", () => {
  it("with any count or offset made huge are read or refused at once", async () => {
    for (const { bytes } of samples) {
      expect(await outcome(bytes)).toBe("read");
      for (let at = 0; at + 4 <= bytes.length; at += 4) {
        for (const value of [0x7fffffff, 0xffffffff, 0x3fffffff, 0x00100000]) {
          const changed = bytes.slice();
          new DataView(changed.buffer).setUint32(at, value, true);
          await outcome(changed);
        }
      }
    }
  });

  it("changed at random for a while are read or refused", async () => {
    const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    const seconds = Number(process.env["VARVE_FUZZ_SECONDS"] ?? 3);
    const end = performance.now() + seconds * 1000;
    for (let round = seed; performance.now() < end; round++) {
      const next = noise(round * 2654435761);
      const { bytes } = samples[next() % samples.length]!;
      const changed = bytes.slice();
      for (let i = 0; i <= next() % 3; i++) {
        const at = next() % (bytes.length - 4);
        if (next() % 2 === 0) changed[at]! ^= 1 + (next() % 255);
        else new DataView(changed.buffer).setUint32(at & ~3, next() % 70_000, true);
      }
      await outcome(changed).catch((cause) => {
        throw new Error(`VARVE_SEED=${round} repeats this failure`, { cause });
      });
    }
  });

  it("that are many tables are refused before any is read", async () => {
    const { bytes } = samples[0]!;
    expect(await outcome(bytes, { tablesMax: ARROW_TABLES_MAX })).toBe("read");
    expect(await outcome(bytes, { tablesMax: 10 })).toBe("refused");
  });

  it("whose one long value stands at every row take no more memory than allowed", async () => {
    const long = vectorFromArray(["x".repeat(1 << 20)], new Utf8());
    const rows = 500;
    const type = new Dictionary(new Utf8(), new Int32());
    const data = makeData({ type, length: rows, data: new Int32Array(rows), dictionary: long });
    const bytes = tableToIPC(new Table({ d: new Vector([data]) }), "stream");
    expect(bytes.byteLength).toBeLessThan(1_100_000);
    expect(await outcome(bytes, { expandedBytesMax: rows << 20 })).toBe("read");
    expect(await outcome(bytes, { expandedBytesMax: (rows << 20) - 1 })).toBe("refused");
  });

  it("of compressed buffers are refused where those are not wanted", async () => {
    const { writeArrow } = await import("../../formats/arrow/writer.ts");
    const values = new Float64Array(100);
    const columns = [{ name: "x", type: "f64" as const, rows: 100, values }];
    const pieces: Uint8Array[] = [];
    for await (const piece of writeArrow([{ rows: 100, columns }], { layout: "stream", compression: "zstd" }))
      pieces.push(piece.slice());
    const bytes = new Uint8Array(Buffer.concat(pieces));
    expect(await outcome(bytes)).toBe("read");
    expect(await outcome(bytes, { compressed: false })).toBe("refused");
  });
});
