import { beforeAll, describe, expect, it } from "vitest";
import { type Codec, loadCodec } from "../../src/codec/codec.ts";
import type { Element } from "../../src/codec/element.ts";
import { ENCODINGS } from "../../src/codec/table.ts";

const bytesOf = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const u16 = (values: number[]) => new Uint8Array(new Uint16Array(values).buffer);
const repeated = (count: number, value: number) => new Array<number>(count).fill(value);

interface Golden {
  encoding: string;
  element: Element;
  chunk: Uint8Array;
  bases: Uint8Array[];
  payload: string;
}

const f32 = (values: number[]) => new Uint8Array(new Float32Array(values).buffer);
const text = (words: string) => new TextEncoder().encode(words);
const ones = u16(repeated(16, 0x3f80));
const steady = u16(repeated(32, 0x3f80));
/** 1.0 and 0.5 in turn. */
const HALVES = repeated(32, 0x3f80).map((lane, i) => lane - 0x80 * (i & 1));
const stepped = u16([0x3f81, 0x3f7f, ...repeated(30, 0x3f80)]);

/** The worked examples of docs/formats/encodings.md: what was once written must decode for ever. */
const GOLDEN: Golden[] = [
  { encoding: "raw", element: "u8", chunk: Uint8Array.of(1, 2, 3), bases: [], payload: "01 02 03" },
  {
    encoding: "lz4",
    element: "bytes",
    chunk: new Uint8Array(64).fill(0xab),
    bases: [],
    payload: "40 00 00 00 1f ab 01 00 26 60 ab ab ab ab ab ab",
  },
  {
    encoding: "zstd",
    element: "bytes",
    chunk: new Uint8Array(64).fill(0xab),
    bases: [],
    payload: "28 b5 2f fd 00 58 45 00 00 10 ab ab 01 00 93 00 16",
  },
  {
    encoding: "delta",
    element: "bytes",
    chunk: text("the quick brown cat jumps over the lazy dog"),
    bases: [text("the quick brown fox jumps over the lazy dog")],
    payload: "01 d6 c3 c4 00 00 01 2b 00 0e 2b 00 03 04 02 63 61 74 20 04 13 18 00 13",
  },
  {
    encoding: "planes-zstd",
    element: "u16",
    chunk: u16(repeated(32, 256).map((value, i) => value + (i & 1))),
    bases: [],
    payload:
      "11 00 00 28 b5 2f fd 00 58 45 00 00 10 00 01 01 00 89 0e 0b 11 00 00 28 b5 2f fd 00 58 45 00 00 10 01 01 01 00 22 c0 02",
  },
  {
    encoding: "xor-planes-zstd",
    element: "u16",
    chunk: u16(repeated(32, 256).map((value, i) => value + i)),
    bases: [u16(repeated(32, 256).map((value, i) => value + i + (i === 5 ? 1 : 0)))],
    payload:
      "16 00 00 28 b5 2f fd 00 58 6d 00 00 38 00 00 00 00 00 03 00 01 00 0b 30 02 11 00 00 28 b5 2f fd 00 58 45 00 00 10 00 00 01 00 22 c0 02",
  },
  {
    encoding: "planes",
    element: "bf16",
    chunk: ones,
    bases: [],
    payload: "02 00 00 00 00 00 00 00 02 7f 00 00 00 00 00 00",
  },
  {
    encoding: "planes",
    element: "u8",
    chunk: new Uint8Array(64).map((_, i) => (i % 4 === 3 ? 1 : 0)),
    bases: [],
    payload:
      "01 14 00 00 00 01 00 18 40 00 02 08 00 b0 2f 00 00 b0 2f 00 00 b0 2f 00 ff 8f 00 00 ff fc 00 fc",
  },
  {
    encoding: "planes",
    element: "u8",
    chunk: new Uint8Array(64).map((_, i) => (i % 4 === 3 ? 1 : 0)),
    bases: [],
    payload: "04 00 01 11 02 00 00 02 00 00 02 00 00 02 00 00 88 88 88 88 88 88 88 88",
  },
  {
    encoding: "residual",
    element: "bf16",
    chunk: stepped,
    bases: [steady],
    payload:
      "00 02 27 00 00 00 1c 64 fc 8f ff 06 90 8f 14 00 08 80 14 00 a0 a3 00 00 a0 a3 00 00 a0 a3 00 00 a0 a3 00 00 a0 a3 00 00 a0 a3 00 00",
  },
  {
    encoding: "replay",
    element: "f32",
    chunk: f32([...repeated(32, 0.75), 0.5 + 2 ** -24, ...repeated(31, 0.5)]),
    bases: [f32([...repeated(32, 1), ...repeated(32, 0.5)])],
    payload:
      "02 05 00 00 00 bf 01 00 00 00 3f 02 00 20 01 00 00 20 01 20 01 20 00 eb 25 00 00 00 e6 e4 ff 01 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 04 64 31 00 00 01 00 80 00 08 80 00 08 80 00 08 80 00 de e3 ff 01 08 80 00 00 08 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00 00 80 00 00",
  },
  {
    encoding: "packed-difference",
    element: "bf16",
    chunk: u16(HALVES.map((lane, i) => lane + [1, -3, -1, 2][i & 3]! + (i === 31 ? 30 : 0))),
    bases: [u16(HALVES)],
    payload: "00 7f 00 32 54 76 98 ba dc ee ee 01 00 00 36 da 68 a3 8d 36 da 68 a3 0d 1f 08",
  },
];

let codec: Codec;
beforeAll(async () => {
  codec = await loadCodec();
});

describe("payloads of the first format", () => {
  it.each(GOLDEN)(
    "of $encoding for $element still decode",
    ({ encoding, element, chunk, bases, payload }) => {
      const id = [...ENCODINGS.values()].find(({ name }) => name === encoding)!.id;
      const target = new Uint8Array(chunk.length);
      codec.decode({ encoding: id, element, payload: bytesOf(payload), bases }, target);
      expect(target).toEqual(chunk);
    },
  );

  it("have the ids they always had", () => {
    expect([...ENCODINGS.values()].map(({ id, name }) => `${id} ${name}`)).toEqual([
      "0 raw",
      "1 lz4",
      "2 zstd",
      "3 delta",
      "4 planes-zstd",
      "5 xor-planes-zstd",
      "7 planes",
      "10 residual",
      "11 replay",
      "13 packed-difference",
      "32 patch",
    ]);
  });
});
