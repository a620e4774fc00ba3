import { describe, expect, it } from "vitest";
import { type ColumnValues, numberArray } from "../../../src/series/columns/column.ts";
import { loadColumnCodec } from "../../../src/series/columns/column-codec.ts";

const codec = await loadColumnCodec();

describe("columns of every kind come back", () => {
  const rows = 70_001;
  const price = Float64Array.from({ length: rows }, (_, i) => (6_000_000 + ((i * 7919) % 1000)) / 100);
  const words = Array.from({ length: rows }, (_, i) => ["buy", "sell", "", "größer"][(i * i) % 4]!);
  const noise = Array.from({ length: rows }, (_, i) => `${(i * 2654435761) % 4294967296}`);
  const columns: ColumnValues[] = [
    { name: "price", type: "f64", rows, values: price },
    {
      name: "ts",
      type: "i64",
      rows,
      values: BigInt64Array.from(
        price,
        (p, i) => 1_700_000_000_000_000_000n + BigInt(i) * 1000n + BigInt(Math.round(p)),
      ),
    },
    { name: "side", type: "bool", rows, values: new Uint8Array(8751).map((_, i) => i * 37) },
    {
      name: "list",
      type: { fixedSizeList: { type: "i32", size: 3 } },
      rows,
      values: new Int32Array(rows * 3).map((_, i) => i ^ (i >> 3)),
    },
    { name: "word", type: "utf8", rows, ...text(words) },
    { name: "noise", type: "binary", rows, ...text(noise) },
    {
      name: "maybe",
      type: "f32",
      rows,
      values: new Float32Array(rows).map((_, i) => i / 7),
      validity: new Uint8Array(8751).fill(0xb7),
    },
  ];

  it("whole", () => {
    const encoded = codec.encode(columns);
    const decoder = codec.decoder(encoded, rows);
    for (const column of columns) {
      const back = decoder.decode(column.name);
      if (column.validity === undefined) {
        if (column.type !== "bool") expect(back.values).toEqual(column.values);
        expect(back.offsets).toEqual(column.offsets);
      }
    }
  });

  it("by rows", () => {
    const decoder = codec.decoder(codec.encode(columns), rows);
    for (const [from, to] of [
      [0, 0],
      [5, 6],
      [65_530, 65_541],
      [1023, 70_001],
    ] as const) {
      expect(decoder.decode("price", from, to).values).toEqual(price.subarray(from, to));
      const { values, offsets } = decoder.decode("word", from, to);
      const read = Array.from({ length: to - from }, (_, i) =>
        Buffer.from((values as Uint8Array).subarray(offsets![i], offsets![i + 1])).toString(),
      );
      expect(read).toEqual(words.slice(from, to));
      const list = numberArray("i32", (to - from) * 3);
      expect(decoder.decode("list", from, to, list).values).toBe(list);
      expect(list).toEqual((columns[3]!.values as Int32Array).subarray(from * 3, to * 3));
    }
  });
});

function text(rows: readonly string[]) {
  const offsets = new Int32Array(rows.length + 1);
  const parts = rows.map((row) => Buffer.from(row));
  parts.forEach((part, i) => {
    offsets[i + 1] = offsets[i]! + part.length;
  });
  return { values: new Uint8Array(Buffer.concat(parts)), offsets };
}
