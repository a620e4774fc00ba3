import { describe, expect, it } from "vitest";
import { isStoreError, type StoreError } from "../../../src/errors.ts";
import { COLUMN_DEPENDENCIES_MAX } from "../../../src/limits.ts";
import { type EncodedColumn, loadColumnCodec } from "../../../src/series/columns/column-codec.ts";
import { numberColumn, numbersIn, quotes, sameBits, textColumn } from "./samples.ts";

const codec = await loadColumnCodec();
const rows = 300;
const table = [
  ...quotes(rows, 5),
  numberColumn("odd", "f64", numbersIn("f64", "awkward decimals", rows, 5)),
  numberColumn(
    "average",
    "f64",
    Float64Array.from({ length: rows }, (_, i) => (6_000_000 + ((i * i) % 97)) / 600),
  ),
  numberColumn("raw", "f64", numbersIn("f64", "random bits", rows, 5)),
  textColumn(
    "text",
    Array.from({ length: rows }, (_, i) => `row ${i % 9}`),
  ),
];

/** What decoding a table says about a column, with another put in its place. */
function complaint(sound: readonly EncodedColumn[], name: string, bytes: Uint8Array): StoreError | undefined {
  const decoder = codec.decoder(
    sound.map((column) => (column.name === name ? { ...column, bytes } : column)),
    rows,
  );
  try {
    decoder.decode(name);
    return undefined;
  } catch (error) {
    if (isStoreError(error, "ERR_STORE_CORRUPT")) return error;
    throw error;
  }
}

describe("damaged columns", () => {
  for (const profile of ["light", "compact"] as const) {
    it(`a ${profile} column cut anywhere is refused, by name and byte`, () => {
      const sound = codec.encode(table, { profile });
      for (const { name, bytes } of sound) {
        for (let length = 0; length < bytes.length; length++) {
          const error = complaint(sound, name, bytes.slice(0, length));
          expect(error?.context, `${name} cut to ${length} bytes`).toMatchObject({
            column: name,
            atByte: expect.any(Number),
          });
          expect(error!.context["atByte"]).toBeLessThanOrEqual(length);
        }
      }
    });

    it(`a ${profile} column with a byte too many is refused`, () => {
      const sound = codec.encode(table, { profile });
      for (const { name, bytes } of sound) {
        expect(complaint(sound, name, new Uint8Array([...bytes, 0])), name).toBeDefined();
      }
    });

    it(`a flipped bit in a ${profile} column ends in an error or in values, and leaves the others alone`, () => {
      const sound = codec.encode(table, { profile });
      for (const { name, bytes } of sound) {
        for (let bit = 0; bit < bytes.length * 8; bit += bytes.length > 400 ? 7 : 1) {
          const flipped = bytes.slice();
          flipped[bit >> 3]! ^= 1 << (bit & 7);
          complaint(sound, name, flipped);
        }
      }
      const decoder = codec.decoder(sound, rows);
      for (const { name, values, type } of table) {
        if (type !== "utf8") expect(sameBits(decoder.decode(name).values, values), name).toBe(true);
      }
    });
  }

  it("a column stored against itself, or in a circle, is refused", () => {
    const sound = codec.encode(table);
    const dependent = sound.find(({ dependsOn }) => dependsOn.length > 0)!;
    const other = sound.find(({ name }) => name === dependent.dependsOn[0])!;
    const decoder = codec.decoder(
      [dependent, { ...other, bytes: new Uint8Array(renamed(dependent.bytes, other.name, dependent.name)) }],
      rows,
    );
    expect(() => decoder.decode(dependent.name)).toThrowError(
      expect.objectContaining({ code: "ERR_STORE_CORRUPT" }) as Error,
    );
  });

  it("a column whose reference is missing is refused", () => {
    const dependent = codec.encode(table).find(({ dependsOn }) => dependsOn.length > 0)!;
    expect(() => codec.decoder([dependent], rows).decode(dependent.name)).toThrowError(
      expect.objectContaining({
        code: "ERR_STORE_CORRUPT",
        message: expect.stringMatching(/missing/),
      }) as Error,
    );
  });

  it("more dependencies than a column may have are refused, as many as it may are read", () => {
    const [sound] = codec.encode([numberColumn("x", "u8", new Uint8Array(rows))]);
    const named = (count: number) => {
      const names = Array.from({ length: count }, () => [1, 0x78]).flat();
      return new Uint8Array([
        0,
        (count & 127) | (count > 127 ? 128 : 0),
        ...(count > 127 ? [count >> 7] : []),
        ...names,
        ...sound!.bytes.subarray(2),
      ]);
    };
    expect(complaint([sound!], "x", named(COLUMN_DEPENDENCIES_MAX))).toBeUndefined();
    expect(complaint([sound!], "x", named(COLUMN_DEPENDENCIES_MAX + 1))?.message).toMatch(/over 255/);
  });

  it("other columns of a segment with a damaged one can be read", () => {
    const sound = codec.encode(table);
    const alone = sound.find(({ dependsOn }) => dependsOn.length === 0)!;
    const attacked = sound.map((column) =>
      column === alone ? column : { ...column, bytes: new Uint8Array([255]) },
    );
    const { values } = table.find(({ name }) => name === alone.name)!;
    expect(sameBits(codec.decoder(attacked, rows).decode(alone.name).values, values)).toBe(true);
  });
});

/** The first occurrence of a name in a header, replaced by another of any length. */
function renamed(bytes: Uint8Array, from: string, to: string): number[] {
  const text = Buffer.from(bytes);
  const at = text.indexOf(from);
  return [...text.subarray(0, at - 1), to.length, ...Buffer.from(to), ...text.subarray(at + from.length)];
}
