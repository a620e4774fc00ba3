import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Codec, loadCodec } from "../../src/codec/codec.ts";
import type { EncodeInput, ReplayPlan, Workshop } from "../../src/codec/encoding.ts";
import { lazyDelta, loadLz4, loadZstd } from "../../src/codec/libraries.ts";
import { PayloadRooms } from "../../src/codec/payload.ts";
import {
  ADAM_WEIGHT,
  COPY,
  DECAY,
  DECAY_SCALED,
  PROGRAMS,
  SQUARE_OF_MOMENT,
} from "../../src/codec/replay/programs.ts";
import { misfit, type Recipe, readRecipe, type Segment, writeRecipe } from "../../src/codec/replay/recipe.ts";
import { replay } from "../../src/codec/table.ts";
import { isStoreError } from "../../src/errors.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { CHUNK_ELEMENTS } from "../../src/limits.ts";
import { chunkOf, stepped } from "./chunks.ts";
import { anyRecipe } from "./recipes.ts";
import { noise, property } from "./seeded.ts";

let workshop: Workshop;
let codec: Codec;
beforeAll(async () => {
  const [kernels, lz4, zstd] = await Promise.all([loadKernels(), loadLz4(), loadZstd()]);
  workshop = { kernels, lz4, zstd, delta: lazyDelta(), payloads: new PayloadRooms() };
  codec = await loadCodec();
});

function decoded(payload: Uint8Array, plan: ReplayPlan, sizeBytes: number): Uint8Array {
  const target = new Uint8Array(sizeBytes).fill(0x5a);
  replay.decode(workshop, { encoding: 11, element: "f32", payload, bases: plan.bases }, target);
  return target;
}

/** Adam's step over so many weights in float32, in one chunk: w, m, v; and the recipe that foresees it. */
function adamStep(count: number, seed: number) {
  const next = noise(seed);
  const f = Math.fround;
  const uniform = () => next() / 2 ** 31 - 1;
  const before = Float32Array.from({ length: count * 3 }, (_, i) =>
    i < count ? uniform() : i < 2 * count ? uniform() * 0.01 : Math.abs(uniform()) * 1e-3,
  );
  const after = before.slice();
  for (let i = 0; i < count; i++) {
    const g = f(uniform() * 0.05);
    const m = f(f(before[count + i]! * f(0.9)) + f(g * f(0.1)));
    const v = f(f(before[2 * count + i]! * f(0.999)) + f(f(f(0.001) * g) * g));
    after[count + i] = m;
    after[2 * count + i] = v;
    after[i] = f(before[i]! + f(f(f(-0.01) * m) / f(f(f(Math.sqrt(v)) / f(0.5)) + f(1e-8))));
  }
  const rule = (program: number, ...constants: number[]) => ({
    program,
    constants: Float32Array.from(constants),
  });
  const own = (start: number) => ({ base: 0, start });
  const parent = (start: number) => ({ base: 1, start });
  const recipe: Recipe = {
    rules: [
      rule(ADAM_WEIGHT, 1, -0.01, 0.5, 1e-8),
      rule(DECAY_SCALED, 0.9, 0.1),
      rule(SQUARE_OF_MOMENT, 0.9, 10, 0.999, 0.001),
    ],
    segments: [
      { rule: 0, lanes: count, operands: [parent(0), own(count), own(2 * count)] },
      { rule: 1, lanes: count, operands: [parent(count), parent(2 * count)] },
      { rule: 2, lanes: count, operands: [parent(2 * count), parent(count), own(count)] },
    ],
  };
  const bytes = new Uint8Array(after.buffer);
  return { bytes, plan: { recipe, bases: [new Uint8Array(before.buffer)] } };
}

describe("the replay encoding", () => {
  it("gives back any floats under any recipe", () => {
    property(
      fc.constantFrom("gaussian", "special", "random", "sparse"),
      fc.integer({ min: 1, max: 2000 }),
      fc.integer(),
      (shape, lanes, seed) => {
        const next = noise(seed);
        const bytes = chunkOf("f32", shape, lanes, seed);
        const bases = [stepped(bytes, 4, 3, seed + 1), chunkOf("f32", "special", lanes, seed + 2)];
        const plan = { recipe: anyRecipe(lanes, next), bases };
        const encoded = replay.encode(workshop, {
          bytes,
          element: "f32",
          bases,
          profile: "compact",
          replay: plan,
        });
        if (encoded === undefined) return;
        const payload = new Uint8Array(encoded.payload);
        expect(Buffer.compare(decoded(payload, plan, bytes.length), bytes)).toBe(0);
      },
    ).check(60);
  });

  it("leaves nothing but the gradient of a step it foresees", () => {
    const { bytes, plan } = adamStep(20_000, 5);
    const input = { bytes, element: "f32", bases: plan.bases, profile: "compact", replay: plan } as const;
    const { encoding, payload, replayed, basesUsed } = codec.encode(input);
    expect({ encoding, replayed, basesUsed }).toEqual({ encoding: 11, replayed: true, basesUsed: 1 });
    expect(payload.length).toBeLessThan(bytes.length * 0.3);
    expect(Buffer.compare(decoded(new Uint8Array(payload), plan, bytes.length), bytes)).toBe(0);
  });

  it("takes unaligned and shared memory", () => {
    const { bytes, plan } = adamStep(5000, 6);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length + 1), 1, bytes.length);
    shared.set(bytes);
    const base = new Uint8Array(plan.bases[0]!.length + 3).subarray(3);
    base.set(plan.bases[0]!);
    const moved = { recipe: plan.recipe, bases: [base] };
    const input: EncodeInput = {
      bytes: shared,
      element: "f32",
      bases: [],
      profile: "compact",
      replay: moved,
    };
    const encoded = replay.encode(workshop, input)!;
    expect(Buffer.compare(decoded(new Uint8Array(encoded.payload), plan, bytes.length), bytes)).toBe(0);
  });

  it("declines what it does not foresee, what it cannot hold, and recipes that do not fit", () => {
    const { bytes, plan } = adamStep(300, 7);
    const encode = (change: object) =>
      replay.encode(workshop, {
        bytes,
        element: "f32",
        bases: [],
        profile: "compact",
        replay: plan,
        ...change,
      });
    expect(encode({})).toBeDefined();
    expect(encode({ replay: undefined })).toBeUndefined();
    expect(encode({ element: "i32" })).toBeUndefined();
    expect(encode({ bytes: bytes.subarray(1) })).toBeUndefined();
    expect(encode({ bytes: new Uint8Array((CHUNK_ELEMENTS + 1) * 4) })).toBeUndefined();
    expect(encode({ replay: { ...plan, bases: [] } })).toBeUndefined();
    expect(encode({ bytes: chunkOf("f32", "random", 900, 1) })).toBeUndefined();
  });

  it("ends in an error or other bytes, whatever byte is flipped and wherever it is cut", () => {
    const { bytes, plan } = adamStep(120, 8);
    const input: EncodeInput = { bytes, element: "f32", bases: [], profile: "compact", replay: plan };
    const payload = new Uint8Array(replay.encode(workshop, input)!.payload);
    const attempt = (damaged: Uint8Array, bases: Uint8Array[] = plan.bases) => {
      try {
        decoded(damaged, { ...plan, bases }, bytes.length);
      } catch (error) {
        if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
        return false;
      }
      return true;
    };
    for (let at = 0; at < payload.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = new Uint8Array(payload);
        flipped[at]! ^= 1 << bit;
        attempt(flipped);
      }
      expect(attempt(payload.slice(0, at))).toBe(false);
    }
    expect(attempt(payload, [])).toBe(false);
    expect(attempt(payload, [new Uint8Array(8)])).toBe(false);
    expect(attempt(new Uint8Array([...payload, 0]))).toBe(false);
    expect(attempt(payload)).toBe(true);
  });
});

describe("a recipe", () => {
  it("is read back as it was written, and cut short is none", () => {
    const recipe = anyRecipe(3000, noise(9));
    const bytes = writeRecipe(recipe);
    expect(readRecipe(bytes)).toEqual({ recipe, sizeBytes: bytes.length });
    for (let at = 0; at < bytes.length; at++) {
      const cut = readRecipe(bytes.subarray(0, at));
      if (cut !== undefined) expect(misfit(cut.recipe, 3000, [3000, 3000])).toBeDefined();
    }
  });

  it("must cover its chunk, stay within its bases and go from stage to stage", () => {
    const rule = (program: number) => ({
      program,
      constants: new Float32Array(PROGRAMS[program]!.constants),
    });
    const one = (base: number, start: number) => [{ base, start }];
    const of = (program: number, lanes: number, operands: Segment["operands"]): Recipe => ({
      rules: [rule(program)],
      segments: [{ rule: 0, lanes, operands }],
    });
    expect(misfit(of(COPY, 10, one(1, 0)), 10, [10])).toBeUndefined();
    expect(misfit(of(COPY, 9, one(1, 0)), 10, [10])).toMatch(/cover/);
    expect(misfit(of(COPY, 11, one(1, 0)), 10, [11])).toMatch(/do not fit/);
    expect(misfit(of(COPY, 10, one(1, 1)), 10, [10])).toMatch(/outside/);
    expect(misfit(of(COPY, 10, one(2, 0)), 10, [10])).toMatch(/outside/);
    expect(misfit(of(DECAY, 10, one(0, 0)), 10, [10])).toMatch(/from itself/);
    expect(misfit(of(COPY, 10, one(1, 0)), 10, new Array(9).fill(10))).toMatch(/too many bases/);
  });
});
