import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseHeader, type SafetensorsHeader } from "../../formats/safetensors/reader.ts";
import { planFile, safetensorsFile, type TensorDescription } from "../../formats/safetensors/writer.ts";
import { DTYPES, dtypeBits, type Tensor, tensorSizeBytes } from "../../formats/tensor.ts";
import { isStoreError } from "../../src/errors.ts";
import { fileOf } from "./hostile-corpus.ts";
import { checkProperty } from "./seed.ts";

/** A parse either gives a layout that covers the file exactly, or the format's error; anything else throws. */
function parseOrRefuse(file: Uint8Array, sizeBytes = file.byteLength): SafetensorsHeader | undefined {
  let header: SafetensorsHeader;
  try {
    header = parseHeader(file, sizeBytes);
  } catch (error) {
    if (isStoreError(error, "ERR_FORMAT_SAFETENSORS")) {
      expect(error.context["offset"]).toBeLessThanOrEqual(Math.max(8, sizeBytes));
      return undefined;
    }
    throw error;
  }
  let covered = 8 + Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  for (const span of header.layout.spans) {
    expect(span.offset).toBe(covered);
    expect(span.sizeBytes).toBe(tensorSizeBytes(span.dtype, span.shape));
    covered += span.sizeBytes;
  }
  expect(covered).toBe(sizeBytes);
  expect(new Set(header.layout.spans.map(({ name }) => name)).size).toBe(header.layout.spans.length);
  return header;
}

const name = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.constantFrom(
    "",
    "\0",
    "__proto__",
    "constructor",
    "../../x",
    "a\u2028b",
    '"\\/',
    "\u{10ffff}",
    "\ue000",
    "😀",
  ),
);

const description = fc
  .record({
    name: name.filter((text) => text !== "__metadata__"),
    dtype: fc.constantFrom(...DTYPES),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
  })
  // 4- and 6-bit types must fill their last byte.
  .map(({ name, dtype, shape }) => ({ name, dtype, shape: dtypeBits(dtype) < 8 ? [...shape, 4] : shape }));

const tensors = fc.uniqueArray(description, { selector: (tensor) => tensor.name, maxLength: 8 });
const metadata = fc
  .uniqueArray(fc.tuple(name, name), { selector: ([key]) => key, maxLength: 4 })
  .map((entries) => new Map(entries));

function withData(descriptions: readonly TensorDescription[]): Map<string, Tensor> {
  let next = 1;
  return new Map(
    descriptions.map(({ name, dtype, shape }) => {
      const data = new Uint8Array(tensorSizeBytes(dtype, shape)).map(() => next++);
      return [name, { dtype, shape, data }];
    }),
  );
}

const example = safetensorsFile(
  new Map<string, Tensor>([
    ["w", { dtype: "F32", shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) }],
    ["b\n😀", { dtype: "BF16", shape: [3], data: new Uint8Array(6) }],
    ["empty", { dtype: "I64", shape: [0], data: new BigInt64Array(0) }],
  ]),
  new Map([["step", "600"]]),
);

describe("a safetensors file", () => {
  it("gives back every tensor and all metadata that were written", () => {
    checkProperty(tensors, metadata, (descriptions, entries) => {
      const contents = withData(descriptions);
      const file = safetensorsFile(contents, entries);
      const header = parseOrRefuse(file);
      expect(header?.metadata).toEqual(new Map([...entries].sort()));
      expect(header?.layout).toEqual(planFile(descriptions, entries).layout);
      for (const { name, dtype, shape, offset, sizeBytes } of header?.layout.spans ?? []) {
        const written = contents.get(name)!;
        expect({ dtype, shape }).toEqual({ dtype: written.dtype, shape: written.shape });
        expect(file.subarray(offset, offset + sizeBytes)).toEqual(written.data);
      }
      expect(header?.layout.spans.length).toBe(descriptions.length);
    });
  });

  it("is the same whatever the order in which tensors and metadata are given", () => {
    checkProperty(tensors, metadata, fc.nat(), (descriptions, entries, turn) => {
      const turned = <T>(list: T[]) => [
        ...list.slice(turn % (list.length || 1)),
        ...list.slice(0, turn % (list.length || 1)),
      ];
      const reordered = planFile(turned(descriptions).reverse(), new Map(turned([...entries]).reverse()));
      expect(reordered).toEqual(planFile(descriptions, entries));
    });
  });

  it("is refused when it is cut anywhere", () => {
    for (let length = 0; length < example.byteLength; length++) {
      expect(parseOrRefuse(example.slice(0, length)), `cut at ${length}`).toBeUndefined();
    }
    expect(parseOrRefuse(example)).toBeDefined();
  });

  it("is read consistently or refused when any one bit is flipped", () => {
    let refused = 0;
    const whole = parseOrRefuse(example)!;
    const dataStart = whole.layout.spans[0]!.offset;
    for (let bit = 0; bit < dataStart * 8; bit++) {
      const flipped = example.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      if (parseOrRefuse(flipped) === undefined) refused++;
    }
    // Letters of names and metadata may turn into other letters; the structure may not.
    expect(refused).toBeGreaterThan((dataStart * 8) / 2);
    expect(refused).toBeLessThan(dataStart * 8);
  });

  it("is read consistently or refused when any one byte is replaced", () => {
    for (let at = 0; at < parseOrRefuse(example)!.layout.spans[0]!.offset; at++) {
      for (const byte of [0x00, 0x20, 0x22, 0x2c, 0x30, 0x39, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d, 0x80, 0xff]) {
        const changed = example.slice();
        changed[at] = byte;
        parseOrRefuse(changed);
      }
    }
  });
});

describe("the reader under fuzz", () => {
  const token = fc.oneof(
    fc.constantFrom(
      ..."{}[],:",
      '"a"',
      '"b"',
      '"dtype"',
      '"shape"',
      '"data_offsets"',
      '"__metadata__"',
      '"U8"',
      '"F32"',
    ),
    fc.constantFrom(
      "0",
      "1",
      "4",
      "8",
      "-1",
      "1.0",
      "1e1",
      "null",
      "true",
      " ",
      "\n",
      '"\\u0061"',
      '"\\ud800"',
      '"',
    ),
    fc.constantFrom(
      '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}',
      '{"dtype":"U8","shape":[0],"data_offsets":[1,1]}',
    ),
  );

  it("never throws anything but the format's error on strings of tokens", () => {
    checkProperty(fc.array(token, { maxLength: 24 }), fc.nat(4), (tokens, dataBytes) => {
      parseOrRefuse(fileOf(`{${tokens.join("")}}`, dataBytes));
    });
  });

  it("never throws anything but the format's error on random bytes", () => {
    checkProperty(fc.uint8Array({ maxLength: 64 }), fc.nat(4), (bytes, dataBytes) => {
      parseOrRefuse(bytes);
      parseOrRefuse(fileOf(bytes, dataBytes));
      parseOrRefuse(fileOf(Uint8Array.from([0x7b, 0x22, ...bytes]), dataBytes));
    });
  });

  it("never throws anything but the format's error on spliced files", () => {
    const place = fc.nat(example.byteLength);
    checkProperty(place, place, place, (from, to, at) => {
      const piece = example.subarray(Math.min(from, to), Math.max(from, to));
      const spliced = Uint8Array.from([...example.subarray(0, at), ...piece, ...example.subarray(at)]);
      if (piece.byteLength > 0) parseOrRefuse(spliced);
    });
  });

  it("agrees with JSON.parse on which values are well-formed inside an extra field", () => {
    checkProperty(
      fc.json({ maxDepth: 4 }),
      fc.nat(200),
      fc.constantFrom(...'0,:"}]{[ e-.\\x'),
      (json, at, letter) => {
        const mutated = at < json.length ? json.slice(0, at) + letter + json.slice(at + 1) : json;
        const header = (value: string) =>
          `{"a":{"x":${value},"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`;
        let wellFormed = true;
        try {
          JSON.parse(mutated);
        } catch {
          wellFormed = false;
        }
        if (!wellFormed && breaksOut(mutated)) return;
        let rule: unknown;
        try {
          const file = fileOf(header(mutated));
          parseHeader(file, file.byteLength);
        } catch (error) {
          if (!isStoreError(error)) throw error;
          rule = error.context["rule"];
        }
        // Stricter than JSON.parse by design: keys once, no lone surrogates, no infinite numbers.
        if (wellFormed) expect([undefined, "duplicate-key", "escape", "number"]).toContain(rule);
        else expect(rule).toBeDefined();
      },
    );
  });
});

/** Whether a broken value may still make a whole header, by closing what it did not open. */
function breaksOut(value: string): boolean {
  try {
    JSON.parse(`{"x":${value},"y":0}`);
    return true;
  } catch {
    return false;
  }
}
