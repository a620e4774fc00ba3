import { describe, expect, it } from "vitest";
import { sourceOf } from "../../formats/byte-source.ts";
import { readNpyLayout, readNpzLayout } from "../../formats/npy/reader.ts";
import { isStoreError } from "../../src/errors.ts";
import { zipOf } from "./pt-file.ts";
import { randomOf } from "./random-bytes.ts";

function npyOf(literal: string, dataBytes: number, version = 1): Uint8Array {
  const header = Buffer.from(literal, version === 3 ? "utf8" : "latin1");
  const head = Buffer.alloc(version === 1 ? 10 : 12);
  head.write("\x93NUMPY", "latin1");
  head[6] = version;
  if (version === 1) head.writeUInt16LE(header.byteLength, 8);
  else head.writeUInt32LE(header.byteLength, 8);
  return Buffer.concat([head, header, Buffer.alloc(dataBytes, 1)]);
}

const literal = (descr: string, shape: string, fortran = "False") =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }    \n`;

const spansOf = (file: Uint8Array) =>
  readNpyLayout(sourceOf(file)).spans.map(({ name, dtype, shape, sizeBytes }) => [
    name,
    dtype,
    shape,
    sizeBytes,
  ]);

function ruleOf(read: () => unknown): unknown {
  try {
    read();
  } catch (error) {
    if (isStoreError(error, "ERR_FORMAT_NPY")) return error.context["rule"];
    throw error;
  }
  return "accepted";
}

describe("an .npy file", () => {
  it.each([
    ["|b1", "BOOL", 1],
    ["|i1", "I8", 1],
    ["|u1", "U8", 1],
    ["<i2", "I16", 2],
    ["<u2", "U16", 2],
    ["<f2", "F16", 2],
    ["<i4", "I32", 4],
    ["<u4", "U32", 4],
    ["<f4", "F32", 4],
    ["<i8", "I64", 8],
    ["<u8", "U64", 8],
    ["<f8", "F64", 8],
    ["<c8", "C64", 8],
  ])("of %s is one tensor of %s", (descr, dtype, width) => {
    expect(spansOf(npyOf(literal(descr, "(2, 3)"), 6 * width))).toEqual([
      ["array", dtype, [2, 3], 6 * width],
    ]);
  });

  it("is read in every version, with one axis, none, or an empty one", () => {
    expect(spansOf(npyOf(literal("<f4", "(3,)"), 12, 2))).toEqual([["array", "F32", [3], 12]]);
    expect(spansOf(npyOf(literal("<f4", "()"), 4, 3))).toEqual([["array", "F32", [], 4]]);
    expect(spansOf(npyOf(literal("<f4", "(0, 5)"), 0))).toEqual([["array", "F32", [0, 5], 0]]);
    expect(spansOf(npyOf(literal("<i8", "(3L, 2L)"), 48))).toEqual([["array", "I64", [3, 2], 48]]);
  });

  it("says what its bytes are: the transpose, big-endian elements, pairs of doubles", () => {
    expect(spansOf(npyOf(literal("<f8", "(2, 3)", "True"), 48))).toEqual([["array.T", "F64", [3, 2], 48]]);
    expect(spansOf(npyOf(literal("<f8", "(3,)", "True"), 24))).toEqual([["array", "F64", [3], 24]]);
    expect(spansOf(npyOf(literal(">f4", "(2,)"), 8))).toEqual([["array (big-endian f4)", "U8", [2, 4], 8]]);
    expect(spansOf(npyOf(literal("<c16", "(2,)"), 32))).toEqual([["array", "F64", [2, 2], 32]]);
  });

  it("has no tensor when its elements are no numbers", () => {
    expect(spansOf(npyOf(literal("<U3", "(2,)"), 24))).toEqual([]);
    expect(spansOf(npyOf(literal("|O", "(2,)"), 24))).toEqual([]);
    const record = "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }\n";
    expect(spansOf(npyOf(record, 8))).toEqual([]);
  });

  it.each([
    ["data cut short", npyOf(literal("<f4", "(2,)"), 7), "size"],
    ["data too long", npyOf(literal("<f4", "(2,)"), 9), "size"],
    ["a shape past 2^53", npyOf(literal("<f4", "(9999999999999, 9999999999999)"), 9), "shape"],
    ["a negative axis", npyOf(literal("<f4", "(-1,)"), 4), "header"],
    ["no shape", npyOf("{'descr': '<f4', 'fortran_order': False, }\n", 4), "header"],
    ["an expression", npyOf(literal("<f4", "(__import__('os'),)"), 4), "header"],
    ["version 9", npyOf(literal("<f4", "(1,)"), 4, 9), "version"],
    ["another magic", new Uint8Array(200), "magic"],
    ["a header past the end", npyOf(literal("<f4", "(1,)"), 4).subarray(0, 40), "header"],
    ["nothing", new Uint8Array(0), "magic"],
  ])("with %s is refused", (_, file, rule) => {
    expect(ruleOf(() => readNpyLayout(sourceOf(file)))).toBe(rule);
  });

  it("ends in its error and no other, whatever bytes are changed", () => {
    const random = randomOf();
    const good = zipOf([{ name: "a.npy", data: npyOf(literal("<f4", "(2, 3)"), 24) }]);
    for (let round = 0; round < 3000; round++) {
      const file = Buffer.from(good);
      for (let n = random.below(3); n >= 0; n--) file[random.below(file.byteLength)] = random.below(256);
      try {
        readNpzLayout(sourceOf(file));
      } catch (error) {
        if (!isStoreError(error, "ERR_FORMAT_NPY")) throw new Error(random.says, { cause: error });
      }
    }
  });
});

describe("an .npz file", () => {
  it("has its stored arrays by name and passes over what is compressed", () => {
    const data = npyOf(literal("<f4", "(2,)"), 8);
    const file = zipOf([
      { name: "a.npy", data },
      { name: "notes.txt", data },
      { name: "packed.npy", data, method: 8 },
    ]);
    expect(readNpzLayout(sourceOf(file)).spans.map(({ name }) => name)).toEqual(["a"]);
  });

  it("is refused when two arrays have one name", () => {
    const data = npyOf(literal("<f4", "(2,)"), 8);
    const file = zipOf([
      { name: "a.npy", data },
      { name: "a.npy", data },
    ]);
    expect(ruleOf(() => readNpzLayout(sourceOf(file)))).toBe("zip");
  });
});
