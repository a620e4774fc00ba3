import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { collect } from "../../formats/compression/streams.ts";
import type { DecodeLimits } from "../../formats/parquet/messages.ts";
import { readParquet } from "../../formats/parquet/reader.ts";
import { writeTables } from "../../formats/tables/files.ts";
import type { Table } from "../../formats/tables/table.ts";
import { isStoreError, type StoreError } from "../../src/errors.ts";
import { onePageFile, varint } from "./parquet-file.ts";
import { checkAsync } from "./property.ts";
import { smallTable } from "./small-table.ts";

/** Parquet files made for it end in an error that names the column, in bounded time and memory. */

/** One of them at a time: a machine that is busy takes long for what ends by its memory. */
const LITTLE_TIME = { stepMs: 1500 };
const LITTLE_MEMORY = { heapBytes: 256 << 20, memoryBytes: 256 << 20 };

async function read(bytes: Uint8Array, limits: Partial<DecodeLimits> = {}): Promise<Table[]> {
  const tables: Table[] = [];
  for await (const table of readParquet(bytes, { limits })) tables.push(table);
  return tables;
}

async function refusal(bytes: Uint8Array, limits: Partial<DecodeLimits>): Promise<StoreError> {
  const error = await read(bytes, limits).then(
    () => expect.unreachable("it was read"),
    (thrown: unknown) => thrown,
  );
  if (!isStoreError(error, "ERR_FORMAT_PARQUET")) throw error;
  expect(error.hint).toBeTruthy();
  return error;
}

const int32 = (...values: number[]) => Buffer.from(Int32Array.from(values).buffer);
/** A run of one value, as levels and dictionary places have it. */
const run = (count: number, value: number) => Buffer.concat([varint(count * 2), Buffer.of(value)]);
const withLength = (bytes: Buffer) => Buffer.concat([int32(bytes.length), bytes]);

describe("a hostile Parquet file", () => {
  it("is made as files that can be read are", async () => {
    const [table] = await read(onePageFile({ type: 1, rows: 3, encoding: 0, page: int32(7, -1, 9) }));
    expect(table?.columns[0]?.values).toEqual(Int32Array.of(7, -1, 9));
    const levels = withLength(run(2, 1));
    const page = Buffer.concat([levels, int32(5, 6)]);
    const [nullable] = await read(onePageFile({ type: 1, rows: 2, encoding: 0, optional: true, page }));
    expect(nullable?.columns[0]?.values).toEqual(Int32Array.of(5, 6));
  });

  it("is given up when its blocks lead back to where they began", async () => {
    // Blocks of −16 values in one miniblock each: as values of one bit it is −2 bytes long, which leads back from behind the
    // block's own two bytes to its first, and no value is ever written.
    const head = Buffer.concat([varint(2 ** 32 - 16), varint(1), varint(8), varint(0)]);
    const page = Buffer.concat([head, Buffer.of(0, 1), Buffer.alloc(64)]);
    const error = await refusal(onePageFile({ type: 1, rows: 8, encoding: 5, page }), LITTLE_TIME);
    expect(error.message).toMatch(/column "a", rows 0 to 8: decoding it took more than 1.5 s/);
    expect(error.context).toMatchObject({ column: "a", fromRow: 0, toRow: 8, limitMs: 1500 });
  });

  it("is given up when a run asks for more values than any array holds", async () => {
    const page = Buffer.concat([withLength(run(2 ** 30, 1)), int32(5, 6)]);
    const error = await refusal(
      onePageFile({ type: 1, rows: 2, encoding: 0, optional: true, page }),
      LITTLE_MEMORY,
    );
    expect(error.message).toMatch(/column "a", rows 0 to 2: decoding it took more memory/);
  });

  it("is given up when it fills memory outside the heap", async () => {
    // A block whose numbers take no bits: 2^29 of 8 bytes each from a dozen bytes.
    const values = 2 ** 29;
    const page = Buffer.concat([
      varint(2 ** 30),
      varint(1),
      varint(values),
      varint(0),
      varint(2),
      Buffer.of(0),
    ]);
    const error = await refusal(onePageFile({ type: 2, rows: 2, values, encoding: 5, page }), LITTLE_MEMORY);
    expect(error.message).toMatch(/column "a", rows 0 to 2: decoding it took more memory/);
  });

  it("is given up when its footer is a number without end", async () => {
    const footer = Buffer.concat([Buffer.of(0x16), Buffer.alloc(4 << 20, 0xff), Buffer.of(0, 0)]);
    const error = await refusal(
      Buffer.concat([Buffer.from("PAR1"), footer, int32(footer.length), Buffer.from("PAR1")]),
      LITTLE_TIME,
    );
    expect(error.message).toMatch(/its footer: decoding it took more than 1.5 s/);
  });

  it("leaves nothing running when its reader stops early", async () => {
    const rows = 10;
    const file = onePageFile({ type: 1, rows, encoding: 0, page: int32(...Array(rows).keys()) });
    for await (const table of readParquet(file, { batchRows: 3 })) {
      expect(process.getActiveResourcesInfo()).toContain("ProcessWrap");
      expect(table.rows).toBe(3);
      break;
    }
    await expect.poll(() => process.getActiveResourcesInfo()).not.toContain("ProcessWrap");
  });

  it("with bytes changed is read or refused, and nothing else", async () => {
    const whole = await collect(writeTables([smallTable], { format: "parquet" }));
    const change = fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }));
    await checkAsync(
      fc.array(change, { minLength: 1, maxLength: 4 }),
      async (changes) => {
        const bytes = new Uint8Array(whole);
        for (const [at, mask] of changes) bytes[at]! ^= mask;
        await read(bytes, { ...LITTLE_TIME, ...LITTLE_MEMORY }).catch((error: unknown) => {
          if (!isStoreError(error)) throw error;
        });
      },
      25,
    );
  });
});
