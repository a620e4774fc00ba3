import { describe, expect, it } from "vitest";
import { SAFETENSORS_RULES } from "../../formats/safetensors/format.ts";
import { parseHeader, readHeaderLength } from "../../formats/safetensors/reader.ts";
import { isStoreError, type StoreError } from "../../src/errors.ts";
import { corpus, fileOf } from "./hostile-corpus.ts";

function refusal(file: Uint8Array, sizeBytes = file.byteLength): StoreError | undefined {
  try {
    parseHeader(file, sizeBytes);
    return undefined;
  } catch (error) {
    if (isStoreError(error, "ERR_FORMAT_SAFETENSORS")) return error;
    throw error;
  }
}

describe("a safetensors header", () => {
  it.each(corpus)("with %s", (_name, file, rule) => {
    const error = refusal(file);
    expect(error?.context["rule"] ?? "accepted").toBe(rule);
    if (error === undefined) return;
    const offset = error.context["offset"] as number;
    expect(Number.isInteger(offset) && offset >= 0 && offset <= file.byteLength).toBe(true);
    expect(error.message).toContain(`rule ${rule}, at byte ${offset}`);
    expect(error.message.length).toBeLessThan(400);
    expect(error.hint).toBeDefined();
  });

  it("has a hostile file for every rule", () => {
    const covered = new Set(corpus.map(([, , rule]) => rule));
    expect(SAFETENSORS_RULES.filter((rule) => !covered.has(rule))).toEqual([]);
  });

  it("says at which byte and in which tensor a rule is broken", () => {
    const file = fileOf('{"ok":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"w\\n":{"dtype":"F99"}}');
    const error = refusal(file);
    const at = Buffer.from(file).indexOf('"F99"');
    expect(error?.context).toEqual({ rule: "dtype", offset: at, tensor: "w\n" });
    expect(error?.message).toBe(
      `safetensors: the unknown dtype "F99" in tensor "w\\n" (rule dtype, at byte ${at})`,
    );
  });

  it("names the data_offsets that leave a gap", () => {
    const file = fileOf(
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}}',
      6,
    );
    expect(refusal(file)?.context).toEqual({
      rule: "coverage",
      offset: Buffer.from(file).indexOf("[5,6]"),
      tensor: "b",
    });
  });

  it("names no tensor for a fault outside of every entry", () => {
    const file = fileOf('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}} x');
    expect(refusal(file)?.context).toEqual({ rule: "trailing-bytes", offset: file.byteLength - 1 });
  });
});

describe("a parsed header", () => {
  it("gives the tensors by offset, as the file has them in the header's order where places are equal", () => {
    const header =
      '{"late":{"dtype":"F32","shape":[2,1],"data_offsets":[3,11]},' +
      '"first":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},' +
      '"empty 2":{"dtype":"U8","shape":[0],"data_offsets":[3,3]},' +
      '"empty 1":{"dtype":"BF16","shape":[4,0],"data_offsets":[3,3]}}';
    const start = 8 + header.length;
    const file = fileOf(header, 11);
    expect(parseHeader(file.subarray(0, start), file.byteLength)).toEqual({
      metadata: new Map(),
      layout: {
        format: "safetensors",
        spans: [
          { name: "first", dtype: "U8", shape: [3], offset: start, sizeBytes: 3 },
          { name: "empty 2", dtype: "U8", shape: [0], offset: start + 3, sizeBytes: 0 },
          { name: "empty 1", dtype: "BF16", shape: [4, 0], offset: start + 3, sizeBytes: 0 },
          { name: "late", dtype: "F32", shape: [2, 1], offset: start + 3, sizeBytes: 8 },
        ],
      },
    });
  });

  it("decodes every escape in names and metadata", () => {
    const header =
      '{"__metadata__":{"\\"\\\\\\/\\b\\f\\n\\r\\t":"\\u0000\\u00e9\\u20AC\\uD83D\\uDE00é€😀\\uDBFF\\uDFFF","__proto__":"x"},' +
      '"\\u005f_proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}';
    const { layout, metadata } = parseHeader(fileOf(header), fileOf(header).byteLength);
    expect([...metadata]).toEqual([
      ['"\\/\b\f\n\r\t', "\0é€😀é€😀\u{10ffff}"],
      ["__proto__", "x"],
    ]);
    expect(layout.spans.map(({ name }) => name)).toEqual(["__proto__"]);
    expect(Object.prototype).not.toHaveProperty("dtype");
  });

  it("reads offsets past 4 GiB without the data at hand", () => {
    const sizeBytes = 5 * 2 ** 30;
    const header = `{"big":{"dtype":"F32","shape":[${sizeBytes / 4}],"data_offsets":[0,${sizeBytes}]}}`;
    const file = fileOf(header);
    expect(parseHeader(file, file.byteLength + sizeBytes).layout.spans[0]?.sizeBytes).toBe(sizeBytes);
  });

  it("reads from a view that does not start its buffer", () => {
    const header = '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}';
    const file = fileOf(header);
    const shifted = new Uint8Array(file.byteLength + 3);
    shifted.set(file, 3);
    expect(parseHeader(shifted.subarray(3), file.byteLength).layout.spans[0]?.name).toBe("a");
  });
});

describe("a tensor's name", () => {
  const around = ['{"', '":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'].map((text) =>
    Buffer.from(text),
  );
  const nameOf = (bytes: readonly number[]) => {
    const file = fileOf(Buffer.concat([around[0]!, Uint8Array.from(bytes), around[1]!]));
    return refusal(file)?.context["rule"] ?? parseHeader(file, file.byteLength).layout.spans[0]?.name;
  };

  it("is UTF-8 exactly where the platform's own strict decoder finds it so", () => {
    const edges = [0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    const leads = [
      0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5,
      0xff,
    ];
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let sequences: number[][] = leads.map((lead) => [lead]);
    for (let length = 1; length <= 4; length++) {
      for (const bytes of sequences) {
        let expected = "utf-8";
        try {
          expected = decoder.decode(Uint8Array.from(bytes));
        } catch {
          // Malformed: the rule's name is what is expected.
        }
        if (nameOf(bytes) !== expected)
          expect({ bytes, name: nameOf(bytes) }).toEqual({ bytes, name: expected });
      }
      sequences = sequences.flatMap((bytes) => edges.map((edge) => [...bytes, edge]));
    }
  });

  it("takes hexadecimal digits in both cases after \\u, and no other letter", () => {
    for (let code = 0x20; code < 0x80; code++) {
      const letter = String.fromCharCode(code);
      const digit = /[0-9a-fA-F]/.test(letter);
      const name = nameOf([...Buffer.from(`\\u00${letter}1`)]);
      expect(name, letter).toBe(digit ? String.fromCharCode(Number.parseInt(`${letter}1`, 16)) : "escape");
    }
  });
});

describe("the number of tensors", () => {
  const headerOf = (count: number) =>
    fileOf(
      `{${Array.from({ length: count }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`).join(",")}}`,
    );

  it("is accepted at 262,144 and refused one past it", () => {
    const file = headerOf(262_144);
    expect(parseHeader(file, file.byteLength).layout.spans.length).toBe(262_144);
    expect(refusal(headerOf(262_145))?.context["rule"]).toBe("limit");
  });
});

describe("the header length", () => {
  it("is accepted at 100,000,000 and refused one past it", () => {
    const first8 = new Uint8Array(8);
    const view = new DataView(first8.buffer);
    view.setBigUint64(0, 100_000_000n, true);
    expect(readHeaderLength(first8, 100_000_008)).toBe(100_000_000);
    view.setBigUint64(0, 100_000_001n, true);
    expect(() => readHeaderLength(first8, 200_000_000)).toThrow(/at most 100000000/);
  });

  it("may end exactly where the file does", () => {
    const file = fileOf("{}");
    expect(readHeaderLength(file, 10)).toBe(2);
    expect(() => readHeaderLength(file, 9)).toThrow(/rule header-length/);
  });

  it("asks the caller for the bytes it needs", () => {
    expect(() => readHeaderLength(new Uint8Array(7), 100)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
    );
    expect(() => parseHeader(fileOf("{}").subarray(0, 9), 10)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARGUMENT" }),
    );
  });
});
