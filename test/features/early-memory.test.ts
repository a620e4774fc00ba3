import { describe, expect, it } from "vitest";
import { EarlyMemory } from "../../src/features/early-memory.ts";
import type { ColumnManifest } from "../../src/features/format.ts";
import { TableMemory } from "../../src/features/table-memory.ts";

const ROWS = 1 << 20;
const column = (name: string) =>
  ({ name, type: "f64", hasNulls: false, textBytes: 0, chunks: [] }) as unknown as ColumnManifest;
const columns = ["a", "b", "c"].map(column);
const rawBytes = ROWS * 8 * columns.length;

describe("memory touched before a table is loaded", () => {
  it("becomes the table's, zeroed, once nothing writes to it any more", async () => {
    const early = EarlyMemory.begin({ rawBytes, columns: columns.length })!;
    const { buffer, touchedBytes } = await early.settled();
    const memory = new TableMemory(columns, ROWS);
    memory.adopt({ buffer, touchedBytes });
    const numbers = memory.numbers(0, 0, ROWS);
    expect(numbers.buffer).toBe(buffer);
    expect(memory.isTouched(numbers.subarray(0, 4096))).toBe(touchedBytes >= 4096);
    expect(memory.isTouched(memory.numbers(2, ROWS - 1, ROWS))).toBe(touchedBytes >= rawBytes);
    numbers.fill(1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(numbers.every((byte) => byte === 1)).toBe(true);
    expect(memory.numbers(1, 0, ROWS).every((byte) => byte === 0)).toBe(true);
  });

  it("touches all of it when nobody stops it", async () => {
    const early = EarlyMemory.begin({ rawBytes, columns: columns.length })!;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { buffer, touchedBytes } = await early.settled();
    expect(touchedBytes).toBe(buffer.byteLength);
  });

  it("is not begun for a small table, nor for one whose size no memory has", () => {
    expect(EarlyMemory.begin({ rawBytes: 1 << 20, columns: 1 })).toBeUndefined();
    expect(EarlyMemory.begin({ rawBytes: Number.MAX_SAFE_INTEGER, columns: 1 })).toBeUndefined();
  });

  it("is left when the table does not fit, or would waste it", () => {
    for (const sizeBytes of [rawBytes - 64, rawBytes * 2]) {
      const memory = new TableMemory(columns, ROWS);
      const buffer = new ArrayBuffer(sizeBytes);
      memory.adopt({ buffer, touchedBytes: sizeBytes });
      const numbers = memory.numbers(0, 0, ROWS);
      expect(numbers.buffer).not.toBe(buffer);
      expect(memory.isTouched(numbers)).toBe(false);
    }
  });
});
