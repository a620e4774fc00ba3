import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { ELEMENTS, type Element, elementWidth } from "../../src/codec/element.ts";
import type { Workshop } from "../../src/codec/encoding.ts";
import { lazyDelta, loadLz4, loadZstd } from "../../src/codec/libraries.ts";
import { PayloadRooms } from "../../src/codec/payload.ts";
import { ENCODINGS, packedDifference, residual } from "../../src/codec/table.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { CHUNK_BYTES_MAX, CHUNK_ELEMENTS } from "../../src/limits.ts";
import { chunkOf, SHAPES, stepped } from "./chunks.ts";
import { referenceResidual } from "./reference.ts";
import { referencePacked } from "./reference-packed.ts";
import { noise, property, SEED } from "./seeded.ts";

let workshop: Workshop;
beforeAll(async () => {
  const [kernels, lz4, zstd] = await Promise.all([loadKernels(), loadLz4(), loadZstd()]);
  const delta = lazyDelta();
  await delta.load();
  workshop = { kernels, lz4, zstd, delta, payloads: new PayloadRooms() };
});

/** Bases of every kind: a step before, two steps before, shorter, longer, unrelated. */
function basesOf(bytes: Uint8Array, element: Element, seed: number): Uint8Array[][] {
  const width = elementWidth(element);
  const parent = stepped(bytes, width, 1 + (seed & 15), seed + 1);
  const grandparent = stepped(parent, width, 1 + ((seed >> 4) & 7), seed + 2);
  const longer = new Uint8Array(bytes.length + 37).fill(3);
  const random = chunkOf(element, "random", Math.floor(bytes.length / width), seed);
  return [
    [],
    [parent],
    [parent, grandparent],
    [parent.subarray(0, parent.length >> 1), longer],
    [random, parent],
    [parent, parent],
  ];
}

/** Every encoding that accepts the chunk gives it back, and says which bases it needs. */
function everyWay(bytes: Uint8Array, element: Element, bases: Uint8Array[]): void {
  for (const encoding of ENCODINGS.values()) {
    for (const profile of ["fast", "compact"] as const) {
      const encoded = encoding.encode(workshop, { bytes, element, bases, profile });
      if (encoded === undefined) continue;
      const target = new Uint8Array(bytes.length).fill(0x5a);
      const used = bases.slice(0, encoded.basesUsed);
      encoding.decode(
        workshop,
        { encoding: encoding.id, element, payload: encoded.payload, bases: used },
        target,
      );
      expect(Buffer.compare(target, bytes), `${encoding.name} of ${bytes.length} bytes of ${element}`).toBe(
        0,
      );
    }
  }
}

describe("every encoding", () => {
  it.each(ELEMENTS)("gives back %s of every shape and length against every kind of base", (element) => {
    property(
      fc.constantFrom(...SHAPES),
      fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 3000 })),
      fc.integer({ min: 0, max: 7 }),
      fc.integer(),
      (shape, count, tail, seed) => {
        const bytes = chunkOf(element, shape, count, seed, tail % elementWidth(element));
        for (const bases of basesOf(bytes, element, seed)) everyWay(bytes, element, bases);
      },
    ).check(6);
  });

  it("takes chunks of 65,536 elements and of the largest size", () => {
    for (const element of ["u8", "bf16", "f32"] as const) {
      const full = chunkOf(element, "gaussian", CHUNK_ELEMENTS, 3);
      everyWay(full, element, [
        stepped(full, elementWidth(element), 3, 4),
        stepped(full, elementWidth(element), 5, 6),
      ]);
      const largest = chunkOf(element, "special", CHUNK_BYTES_MAX / elementWidth(element), 5);
      everyWay(largest, element, [stepped(largest, elementWidth(element), 9, 4)]);
    }
  });

  it("keeps not-a-number payloads, both zeros, denormals and infinities apart", () => {
    const patterns = [0, 1, 0x8000, 0x8001, 0x7f80, 0xff80, 0x7fc0, 0x7fc1, 0xffff, 0x7f7f, 0x0080];
    const bytes = new Uint8Array(
      new Uint16Array(patterns.flatMap((a) => patterns.map((b) => a ^ (b & 1)))).buffer,
    );
    const swapped = new Uint8Array(bytes).reverse();
    for (const element of ["bf16", "f16", "u16", "i16"] as const) {
      for (const bases of [[], [swapped], [swapped, bytes]]) everyWay(bytes, element, bases);
    }
  });
});

describe("the packed-difference encoding", () => {
  it("is decoded by plain TypeScript to the same bytes as by the kernels", () => {
    const next = noise(SEED);
    for (const element of ["u8", "i16", "f16", "bf16", "f32", "i64", "f64", "f8e4m3"] as const) {
      for (const shape of ["gaussian", "special", "sparse", "random", "ramp"] as const) {
        const bytes = chunkOf(element, shape, 300 + (next() % 1900), next(), next() % elementWidth(element));
        for (const bases of basesOf(bytes, element, next()).filter((offered) => offered.length > 0)) {
          for (const profile of ["fast", "compact"] as const) {
            const encoded = packedDifference.encode(workshop, { bytes, element, bases, profile });
            if (encoded === undefined) continue;
            const input = { encoding: packedDifference.id, element, payload: encoded.payload, bases };
            expect(Buffer.compare(referencePacked(input, bytes.length), bytes), `${element} ${shape}`).toBe(
              0,
            );
          }
        }
      }
    }
  });

  it("gives back differences of every size, packed, patched and whole, with and without a map", () => {
    const next = noise(SEED);
    const seen = new Set<string>();
    for (const element of ["u16", "bf16", "f32", "u32", "f64"] as const) {
      const width = elementWidth(element);
      for (const unchanged of [0, 0.5, 0.9]) {
        for (const rare of [0.001, 0.02]) {
          const parent = chunkOf(element, "gaussian", 20_000, next());
          const noiseBits = width > 2 && unchanged === 0 ? 12 : 0;
          const bytes = moved(parent, width, { unchanged, rare, noiseBits }, next);
          const profile = next() % 2 === 0 ? "fast" : "compact";
          const { payload } = packedDifference.encode(workshop, {
            bytes,
            element,
            bases: [parent],
            profile,
          })!;
          const input = { encoding: packedDifference.id, element, payload, bases: [parent] };
          const target = new Uint8Array(bytes.length);
          packedDifference.decode(workshop, input, target);
          expect(Buffer.compare(target, bytes), `${element} ${unchanged} ${rare}`).toBe(0);
          expect(Buffer.compare(referencePacked(input, bytes.length), bytes)).toBe(0);
          seen.add(payload[0]! >> 7 ? "mapped" : "unmapped");
          if ((payload[0]! & 127) > 0) seen.add("low bytes");
        }
      }
    }
    expect([...seen].sort()).toEqual(["low bytes", "mapped", "unmapped"]);
  });

  it("gives fewer bits to lanes whose parent is larger, since their steps are fewer units", () => {
    // Steps of one size: a unit of a lane of 2^-8 is 2^8 times smaller than that of 1.
    const next = noise(SEED);
    const parent = new Float32Array(CHUNK_ELEMENTS).map(() => (1 + next() / 2 ** 32) * 2 ** -(next() % 9));
    const later = parent.map((w) => w + ((next() % 65) - 32) * 2 ** -23);
    const encoded = packedDifference.encode(workshop, {
      bytes: new Uint8Array(later.buffer),
      element: "f32",
      bases: [new Uint8Array(parent.buffer)],
      profile: "fast",
    })!;
    // Seven bits for the largest, fifteen for the smallest: eleven on average, of 32.
    expect(encoded.payload.length).toBeLessThan((CHUNK_ELEMENTS * 12.5) / 8);
  });

  it("refuses headers, patches and ends that no encoder writes", () => {
    const bytes = chunkOf("bf16", "gaussian", 4000, 2);
    const parent = moved(bytes, 2, { unchanged: 0, rare: 0.02, rareBits: 5 }, noise(7));
    const element: Element = "bf16";
    const encoded = packedDifference.encode(workshop, {
      bytes,
      element,
      bases: [parent],
      profile: "compact",
    });
    const payload = encoded!.payload.slice();
    const decode = (damaged: Uint8Array, bases = [parent]) => {
      const input = { encoding: packedDifference.id, element, payload: damaged, bases };
      return () => packedDifference.decode(workshop, input, new Uint8Array(8000));
    };
    const withByte = (at: number, byte: number) => payload.map((old, i) => (i === at ? byte : old));
    expect(decode(payload)).not.toThrow();
    expect(decode(payload, [])).toThrow(/needs a base/);
    expect(decode(withByte(0, 2))).toThrow(/2 low bytes/);
    expect(decode(withByte(0, 129))).toThrow(/1 low bytes and a map/);
    expect(decode(withByte(2, 1))).toThrow(/top exponent/);
    expect(decode(withByte(3, 15))).toThrow(/width of 15/);
    expect(decode(withByte(13, 255))).toThrow(/ends within its lanes/);
    expect(decode(Uint8Array.of(...payload, 0))).toThrow(/does not end/);
    for (let end = 0; end < payload.length; end++) expect(decode(payload.subarray(0, end))).toThrow();
    // A patch past the last lane: every gap as wide as it gets.
    const gapBytes = payload[11]! | (payload[12]! << 8);
    expect(gapBytes).toBeGreaterThan(20);
    const gapsAt = payload.length - 2 * gapBytes;
    const far = payload.map((byte, i) => (i >= gapsAt && i < gapsAt + gapBytes && byte < 255 ? 254 : byte));
    expect(decode(far)).toThrow(/past its last lane/);
  });
});

interface Movement {
  /** Shares of all lanes. */
  unchanged: number;
  rare: number;
  /** Up to how many bits more the rare ones are moved by. */
  rareBits?: number;
  /** How many bits more all are moved by. */
  noiseBits?: number;
}

/** Lanes moved by up to 30 units, some not at all, and a few by any number of bits. */
function moved(
  bytes: Uint8Array,
  width: number,
  { unchanged, rare, rareBits, noiseBits }: Movement,
  next: () => number,
): Uint8Array {
  const later = new Uint8Array(bytes);
  const view = new DataView(later.buffer);
  const share = () => next() / 2 ** 32;
  for (let at = 0; at < later.length; at += width) {
    if (share() < unchanged) continue;
    let step = BigInt(next() % 61) - 30n;
    if (share() < rare) step <<= BigInt(next() % (rareBits ?? 8 * width - 5));
    step <<= BigInt(noiseBits ?? 0);
    if (width === 8) view.setBigUint64(at, BigInt.asUintN(64, view.getBigUint64(at, true) + step), true);
    else if (width === 4) view.setUint32(at, (view.getUint32(at, true) + Number(step)) >>> 0, true);
    else view.setUint16(at, (view.getUint16(at, true) + Number(step)) & 0xffff, true);
  }
  return later;
}

describe("the residual encoding", () => {
  it("is decoded by plain TypeScript to the same bytes as by the kernels", () => {
    const next = noise(SEED);
    for (const element of ["u8", "i16", "f16", "bf16", "f32", "i64", "f64", "f8e4m3"] as const) {
      for (const shape of ["gaussian", "special", "sparse", "random"] as const) {
        const bytes = chunkOf(element, shape, 300 + (next() % 700), next(), next() % elementWidth(element));
        for (const bases of basesOf(bytes, element, next())) {
          const encoded = residual.encode(workshop, { bytes, element, bases, profile: "compact" });
          if (encoded === undefined) continue;
          const input = { encoding: residual.id, element, payload: encoded.payload, bases };
          expect(Buffer.compare(referenceResidual(input, bytes.length), bytes), `${element} ${shape}`).toBe(
            0,
          );
        }
      }
    }
  });

  it("tells values that lie far beyond its tokens from those within, at every threshold", () => {
    // Differences of every size, of both signs, so that each run of a token begins and ends somewhere here.
    const sizes = [0, 1, 7, 8, 9, 15, 16, 511, 512, 1023, 1024, 1025, 32767, 32768, 1 << 20, 0x3fffffff];
    const differences = sizes.flatMap((size) => [size, -size, -size - 1]);
    for (const scale of [1, 3, 1000, 65_537]) {
      const parent = new Int32Array(4096).map((_, i) => (i * 2654435761) >> 3);
      const values = parent.map((value, i) => value + Math.imul(differences[i % differences.length]!, scale));
      const small = parent.map((value, i) => value + (i % 5) - 2);
      for (const chunk of [values, small]) {
        const bytes = new Uint8Array(chunk.buffer);
        const bases = [new Uint8Array(parent.buffer), new Uint8Array(small.buffer)];
        everyWay(bytes, "i32", bases);
        everyWay(bytes, "f32", bases);
        everyWay(bytes, "i16", bases);
        everyWay(bytes, "f64", bases);
      }
    }
  });

  it("costs close to nothing where nothing changed, wherever the rest changed", () => {
    const bytes = chunkOf("f32", "gaussian", CHUNK_ELEMENTS, 21);
    const parent = new Uint8Array(bytes);
    for (let row = 100; row < 120; row++) parent.fill(7, row * 64, row * 64 + 64);
    const encoded = residual.encode(workshop, { bytes, element: "f32", bases: [parent], profile: "compact" });
    // Twenty rows of sixteen floats; four thousand rows that are where they were.
    expect(encoded?.payload.length).toBeLessThan(20 * 64 + 250);
  });

  it("is exact where the sample sees nothing of what changed", () => {
    // Rows whose first columns are frozen: evenly spaced samples of sixteen lanes would see those alone.
    for (const row of [64, 128, 256, 512, 1024, 4096]) {
      for (const frozen of [16, 32, 240]) {
        const parent = new Uint16Array(CHUNK_ELEMENTS).map((_, i) => 0x3f80 + ((i * 7919) % 64));
        const values = parent.map((value, i) => (i % row < frozen ? value : value + 1 + ((i * 31) % 5)));
        everyWay(new Uint8Array(values.buffer), "bf16", [new Uint8Array(parent.buffer)]);
        const one = parent.slice();
        one[(row * 7 + frozen) % one.length]! ^= 0x8000;
        everyWay(new Uint8Array(one.buffer), "f16", [new Uint8Array(parent.buffer)]);
      }
    }
  });

  it("says which flags, bases and lengths a damaged header asks for", () => {
    const bytes = chunkOf("bf16", "gaussian", 400, 2);
    const parent = stepped(bytes, 2, 2, 3);
    const { payload } = residual.encode(workshop, {
      bytes,
      element: "bf16",
      bases: [parent],
      profile: "compact",
    })!;
    const decode = (change: (payload: Uint8Array) => void, bases = [parent]) => {
      const damaged = new Uint8Array(payload);
      change(damaged);
      return () =>
        residual.decode(
          workshop,
          { encoding: 10, element: "bf16", payload: damaged, bases },
          new Uint8Array(800),
        );
    };
    expect(decode((p) => p.fill(255, 0, 1))).toThrow(/unknown flags 255/);
    expect(decode((p) => p.fill(255, 2, 5))).toThrow(/do not fit/);
    expect(decode(() => {}, [])).toThrow(/needs 1 bases/);
    expect(decode((p) => p.fill(1, 0, 1))).toThrow(/needs 2 bases/);
  });
});
