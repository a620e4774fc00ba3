import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collect } from "../../formats/compression/streams.ts";
import { readTable, type WriteTablesOptions, writeTables } from "../../formats/tables/files.ts";
import { isStoreError } from "../../src/errors.ts";
import { chunks } from "./contents.ts";
import { checkAsync } from "./property.ts";
import { smallTable as table } from "./small-table.ts";

/** Damaged files end in a `StoreError` or in a table: never in another error, a hang or a crash. */

async function outcome(name: string, bytes: Uint8Array): Promise<"read" | "refused"> {
  try {
    await readTable({ name, stream: () => chunks(bytes, 1000) });
    return "read";
  } catch (error) {
    if (isStoreError(error)) return "refused";
    throw error;
  }
}

const formats: WriteTablesOptions[] = [
  { format: "arrow" },
  { format: "arrow", buffers: "lz4" },
  { format: "arrow", buffers: "zstd" },
  { format: "arrow", layout: "stream" },
  { format: "parquet" },
  { format: "csv", compression: "gzip" },
  { format: "csv", compression: "zstd" },
];

describe("a damaged table file", () => {
  for (const options of formats) {
    const name = `t.${options.format}`;
    const label = [options.format, options.layout, options.buffers, options.compression]
      .filter(Boolean)
      .join(" ");

    it(`${label}: cut off anywhere, it is refused`, async () => {
      const whole = await collect(writeTables([table], options));
      expect(await outcome(name, whole)).toBe("read");
      const read: number[] = [];
      // Reading Parquet starts a process each time.
      const places = options.format === "parquet" ? 30 : 150;
      for (let length = 8; length < whole.length; length += 1 + Math.floor(whole.length / places)) {
        if ((await outcome(name, whole.subarray(0, length))) === "read") read.push(length);
      }
      expect(read).toEqual([]);
    });

    // In hostile-parquet.test.ts, with bounds of time and memory that a test can wait for.
    if (options.format === "parquet") continue;

    it(`${label}: with bytes changed, it is read or refused, and nothing else`, async () => {
      const whole = await collect(writeTables([table], options));
      const flips = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      });
      await checkAsync(
        flips,
        async (changes) => {
          const bytes = new Uint8Array(whole);
          for (const [at, mask] of changes) bytes[at]! ^= mask;
          await outcome(name, bytes);
        },
        150,
      );
    });
  }

  it("random bytes are read or refused under any name", () =>
    checkAsync(
      fc.tuple(fc.constantFrom("t.csv", "t.ndjson", "t"), fc.uint8Array({ maxLength: 300 })),
      async ([name, bytes]) => {
        await outcome(name, bytes);
      },
      200,
    ));
});
