import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Codec, encodingName, loadCodec } from "../../src/codec/codec.ts";
import { ELEMENTS, elementCode, elementOf, elementWidth } from "../../src/codec/element.ts";
import { ENCODINGS } from "../../src/codec/table.ts";
import { isStoreError } from "../../src/errors.ts";
import { CHUNK_BYTES_MAX } from "../../src/limits.ts";
import { chunkOf, SHAPES, stepped } from "./chunks.ts";
import { property } from "./seeded.ts";

let codec: Codec;
beforeAll(async () => {
  codec = await loadCodec();
  await codec.loadDeltas();
});

function roundTrip(bytes: Uint8Array, element: (typeof ELEMENTS)[number], bases: Uint8Array[]) {
  for (const profile of ["fast", "compact"] as const) {
    const { encoding, payload, basesUsed } = codec.encode({ bytes, element, bases, profile });
    expect(payload.length).toBeLessThanOrEqual(bytes.length);
    const target = new Uint8Array(bytes.length).fill(0xa5);
    codec.decode({ encoding, element, payload, bases: bases.slice(0, basesUsed) }, target);
    expect(Buffer.compare(target, bytes), `${encodingName(encoding)} ${profile}`).toBe(0);
  }
}

describe("the codec", () => {
  it.each(ELEMENTS)("gives every %s chunk back bit for bit, with and without bases", (element) => {
    property(
      fc.constantFrom(...SHAPES),
      fc.oneof(fc.integer({ min: 0, max: 70 }), fc.integer({ min: 0, max: 5000 })),
      fc.integer({ min: 0, max: 7 }),
      fc.integer(),
      fc.integer({ min: 0, max: 3 }),
      (shape, count, tail, seed, baseCount) => {
        const bytes = chunkOf(element, shape, count, seed, tail % elementWidth(element));
        const parent = stepped(bytes, elementWidth(element), 1 + (seed & 7), seed + 1);
        const grandparent = stepped(parent, elementWidth(element), 3, seed + 2);
        const shorter = parent.subarray(0, parent.length >> 1);
        const bases = [[], [parent], [parent, grandparent], [shorter, grandparent]][baseCount]!;
        roundTrip(bytes, element, bases);
      },
    ).check(40);
  });

  it("encodes a chunk of the largest size and refuses one byte more", () => {
    const bytes = chunkOf("f32", "gaussian", CHUNK_BYTES_MAX / 4, 1);
    roundTrip(bytes, "f32", [stepped(bytes, 4, 2, 3), stepped(bytes, 4, 5, 4)]);
    roundTrip(bytes, "bytes", [stepped(bytes, 4, 2000, 3)]);
    const tooLong = new Uint8Array(CHUNK_BYTES_MAX + 1);
    const input = { bytes: tooLong, element: "u8", bases: [], profile: "fast" } as const;
    expect(() => codec.encode({ ...input, bases: [] })).toThrow(/over/);
  });

  it("reads chunks that lie unaligned in shared memory", () => {
    const shared = new Uint8Array(new SharedArrayBuffer(40_001), 3, 39_990);
    shared.set(chunkOf("f32", "gaussian", 9_997, 5, 2));
    const base = new Uint8Array(new SharedArrayBuffer(50_000), 1, 39_990);
    base.set(stepped(shared, 4, 9, 6));
    roundTrip(shared, "f32", [base]);
    roundTrip(shared, "bytes", [base]);
    roundTrip(shared, "bf16", []);
  });

  it("takes a chunk alone where its parent is another tensor's, and against it where few rows changed", () => {
    for (const element of ["bf16", "f32"] as const) {
      const width = elementWidth(element);
      const bytes = chunkOf(element, "gaussian", 20_000, 3);
      const other = chunkOf(element, "gaussian", 20_000, 4);
      const fewRows = new Uint8Array(bytes);
      fewRows.set(other.subarray(0, 640 * width), 1600 * width);
      const nameOf = (parent: Uint8Array, profile: "fast" | "compact") =>
        encodingName(codec.encode({ bytes, element, bases: [parent], profile }).encoding);
      for (const profile of ["fast", "compact"] as const) {
        expect(nameOf(other, profile)).toBe("planes");
        expect(nameOf(fewRows, profile)).toBe("residual");
      }
      expect(nameOf(stepped(bytes, width, 2, 5), "fast")).toBe("packed-difference");
    }
  });

  it("keeps an opaque chunk whose bytes moved as a small delta", () => {
    const base = chunkOf("bytes", "random", 100_000, 7);
    const bytes = new Uint8Array(base.length);
    bytes.set(base.subarray(90_000));
    bytes.set(base.subarray(0, 90_000), 10_000);
    const { encoding, payload } = codec.encode({ bytes, element: "bytes", bases: [base], profile: "fast" });
    expect(encodingName(encoding)).toBe("delta");
    expect(payload.length).toBeLessThan(200);
  });

  it("refuses payloads longer than any chunk, whatever encoding they claim", () => {
    const payload = new Uint8Array(CHUNK_BYTES_MAX + 1);
    for (const encoding of ENCODINGS.keys()) {
      const decode = () => codec.decode({ encoding, element: "u8", payload, bases: [] }, new Uint8Array(9));
      expect(decode).toThrow(/over 1048576/);
    }
  });

  it("names a frame of an encoding or element it does not know as damaged or newer", () => {
    const input = { encoding: 250, element: "u8", payload: new Uint8Array(1), bases: [] } as const;
    expect(() => codec.decode({ ...input, bases: [] }, new Uint8Array(1))).toThrow(/unknown encoding 250/);
    expect(() => elementOf(200)).toThrow(/unknown element code 200/);
    for (const element of ELEMENTS) expect(elementOf(elementCode(element))).toBe(element);
  });
});

describe("a damaged payload", () => {
  it("ends in an error or other bytes, whatever byte is flipped and wherever it is cut", () => {
    for (const element of ["bytes", "bf16", "f32", "u64"] as const) {
      const bytes = chunkOf(element, "sparse", 700, 11);
      const bases = [
        stepped(bytes, elementWidth(element), 9, 12),
        stepped(bytes, elementWidth(element), 7, 13),
      ];
      for (const offered of [[], bases.slice(0, 1), bases]) {
        for (const profile of ["fast", "compact"] as const) {
          const encoded = codec.encode({ bytes, element, bases: offered, profile });
          attack({ ...encoded, element, bases: offered.slice(0, encoded.basesUsed) }, bytes);
        }
      }
    }
  });
});

function attack(
  frame: { encoding: number; element: (typeof ELEMENTS)[number]; payload: Uint8Array; bases: Uint8Array[] },
  bytes: Uint8Array,
): void {
  const target = new Uint8Array(bytes.length);
  const decode = (payload: Uint8Array, bases: Uint8Array[]) => {
    try {
      codec.decode({ ...frame, payload, bases }, target);
      return true;
    } catch (error) {
      if (isStoreError(error, "ERR_STORE_CORRUPT")) return false;
      throw error;
    }
  };
  for (let at = 0; at < frame.payload.length; at++) {
    const flipped = new Uint8Array(frame.payload);
    flipped[at]! ^= 1 << (at & 7);
    decode(flipped, frame.bases);
    decode(frame.payload.slice(0, at), frame.bases);
  }
  if (frame.bases.length > 0) expect(decode(frame.payload, [])).toBe(false);
  expect(decode(frame.payload, frame.bases)).toBe(true);
  expect(Buffer.compare(target, bytes)).toBe(0);
}
