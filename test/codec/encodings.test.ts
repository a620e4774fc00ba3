import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { ELEMENTS, type Element, elementWidth } from "../../src/codec/element.ts";
import type { Workshop } from "../../src/codec/encoding.ts";
import { lazyDelta, loadLz4, loadZstd } from "../../src/codec/libraries.ts";
import { PayloadRooms } from "../../src/codec/payload.ts";
import { differencePairs, ENCODINGS, residual } from "../../src/codec/table.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { CHUNK_BYTES_MAX, CHUNK_ELEMENTS } from "../../src/limits.ts";
import { chunkOf, SHAPES, stepped } from "./chunks.ts";
import { referenceResidual } from "./reference.ts";
import { referencePairs } from "./reference-pairs.ts";
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

describe("the difference-pairs encoding", () => {
  it("is decoded by plain TypeScript to the same bytes as by the kernels", () => {
    const next = noise(SEED);
    for (const element of ["u8", "i16", "f16", "bf16", "f32", "i64", "f64", "f8e4m3"] as const) {
      for (const shape of ["gaussian", "special", "sparse", "random", "ramp"] as const) {
        const bytes = chunkOf(element, shape, 300 + (next() % 700), next(), next() % elementWidth(element));
        for (const bases of basesOf(bytes, element, next()).filter((offered) => offered.length > 0)) {
          const encoded = differencePairs.encode(workshop, { bytes, element, bases, profile: "compact" });
          if (encoded === undefined) continue;
          const input = { encoding: differencePairs.id, element, payload: encoded.payload, bases };
          expect(Buffer.compare(referencePairs(input, bytes.length), bytes), `${element} ${shape}`).toBe(0);
        }
      }
    }
  });

  it("refuses shifts, escapes and ends that no encoder writes", () => {
    const bytes = chunkOf("bf16", "gaussian", 400, 2);
    const parent = stepped(bytes, 2, 2, 3);
    const { payload } = differencePairs.encode(workshop, {
      bytes,
      element: "bf16",
      bases: [parent],
      profile: "compact",
    })!;
    const decode = (damaged: Uint8Array, bases = [parent]) => {
      const element: Element = "bf16";
      const input = { encoding: differencePairs.id, element, payload: damaged, bases };
      return () => differencePairs.decode(workshop, input, new Uint8Array(800));
    };
    expect(decode(Uint8Array.of(13, ...payload.subarray(1)))).toThrow(/shift of 13/);
    expect(decode(payload, [])).toThrow(/needs a base/);
    expect(decode(Uint8Array.of(...payload, 0))).toThrow(/does not end/);
    for (let end = 0; end < payload.length; end++) expect(decode(payload.subarray(0, end))).toThrow();
    // More escapes than are ever written: every nibble of the largest chunk of bytes is 15.
    const all = Uint8Array.of(0, 2, 255, 0, 0, 0, 0, 0, 0);
    const element: Element = "u8";
    const input = { encoding: differencePairs.id, element, payload: all, bases: [parent] };
    const largest = new Uint8Array(CHUNK_BYTES_MAX);
    expect(() => differencePairs.decode(workshop, input, largest)).toThrow(/more escapes/);
  });
});

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
