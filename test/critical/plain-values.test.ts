import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "../../src/critical/byte-writer.ts";
import { writePlain } from "../../src/critical/plain-values.ts";

const packr = new Packr({ useRecords: false, useBigIntExtension: true, moreTypes: true });

/** What the writer made of a value, behind bytes of an earlier piece and in a buffer that must grow. */
function written(value: unknown, initialBytes = 64): Buffer | undefined {
  const out = new ByteWriter(initialBytes, 8 << 20);
  out.bytes(new Uint8Array(23));
  out.keep();
  out.u8(7);
  const isPlain = writePlain(value, out);
  const bytes = Buffer.from(out.written());
  expect(bytes[0]).toBe(7);
  if (!isPlain) expect(bytes.byteLength).toBe(1);
  return isPlain ? bytes.subarray(1) : undefined;
}

describe("values written in one pass", () => {
  const text = fc.string({ unit: "binary", maxLength: 90 });
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof({ maxDepth: 4 }, tie("leaf"), tie("list"), tie("object")),
    leaf: fc.oneof(
      text,
      fc.constantFrom("", "x".repeat(31), "x".repeat(32), "x".repeat(64), "x".repeat(65), "é".repeat(128)),
      fc.constantFrom("y".repeat(255), "y".repeat(256), "y".repeat(70_000), "ö".repeat(15), "ö".repeat(16)),
      fc.integer(),
      fc.constantFrom(0, -0, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, -32, -33, -128, -129),
      fc.constantFrom(
        -32_768,
        -32_769,
        -(2 ** 31),
        -(2 ** 31) - 1,
        0.1,
        Number.NaN,
        Number.POSITIVE_INFINITY,
      ),
      fc.double(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.boolean(),
      fc.constant(null),
    ),
    list: fc.array(tie("tree"), { maxLength: 20 }),
    object: fc.dictionary(
      text.filter((name) => name !== "__proto__"),
      tie("tree"),
      { maxKeys: 20, noNullPrototype: true },
    ),
  }));

  it("are to the byte what the library writes", () => {
    fc.assert(
      fc.property(tree, (value) => {
        fc.pre(wellFormed(value));
        expect(written(value)?.equals(packr.pack(value))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("are left to the library when they hold anything unusual, and nothing of them stays", () => {
    const deep: unknown[] = [];
    let innermost = deep;
    for (let level = 0; level < 70; level++) {
      const inner: unknown[] = [];
      innermost.push(inner);
      innermost = inner;
    }
    const unusual = [
      undefined,
      { a: 1, b: undefined },
      [new Uint8Array(3)],
      { big: 2n ** 63n },
      -(2n ** 63n) - 1n,
      { text: "a\ud800" },
      Object.assign(Object.create(null), { a: 1 }),
      { constructor: "mine" },
      JSON.parse('{"__proto__":1}'),
      { when: new Date(0) },
      () => 1,
      Symbol("s"),
      deep,
      new Array(70_000).fill(1),
      "z".repeat((1 << 20) + 1),
    ];
    for (const value of unusual) expect(written(value)).toBeUndefined();
  });
});

function wellFormed(value: unknown): boolean {
  if (typeof value === "string") return (value as unknown as { isWellFormed(): boolean }).isWellFormed();
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([name, each]) => wellFormed(name) && wellFormed(each));
}
