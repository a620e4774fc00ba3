import { describe, expect, it } from "vitest";
import { applyPatch } from "../../src/codec/encodings/patch.ts";
import { isStoreError } from "../../src/errors.ts";
import { CHUNK_BYTES_MAX } from "../../src/limits.ts";
import { seeded } from "../checkpoints/seeded.ts";
import { type PatchRun, patchOf } from "./patches.ts";

/** The worked example of docs/formats/encodings.md. */
const EXAMPLE = Uint8Array.from([2, 2, 1, 1, 1, 1, 0xaa, 0xbb, 0xcc, 0xdd]);

describe("a patch", () => {
  it("is what the page on encodings says", () => {
    const chunk = Uint8Array.from([0, 0, 0xaa, 0xbb, 0, 0, 0xcc, 0xdd, 0, 0]);
    const runs = [
      { from: 1, units: 1 },
      { from: 3, units: 1 },
    ];
    expect([...patchOf(chunk, 2, runs)]).toEqual([...EXAMPLE]);
    const target = new Uint8Array(10);
    applyPatch(EXAMPLE, target);
    expect(target).toEqual(chunk);
  });

  it("gives back any runs of any unit, up to the largest chunk", async () => {
    await seeded((random) => {
      for (let i = 0; i < 300; i++) {
        const unit = [1, 2, 4, 12, 64, 400][random.below(6)]!;
        const units = random.below(i === 0 ? Math.floor(CHUNK_BYTES_MAX / unit) : 4000) + 1;
        const base = random.fill(new Uint8Array(units * unit));
        const chunk = base.slice();
        const runs: PatchRun[] = [];
        for (let from = random.below(units); from < units; from += 1 + random.below(units)) {
          const count = Math.min(units - from, 1 + random.below(5));
          runs.push({ from, units: count });
          random.fill(chunk.subarray(from * unit, (from + count) * unit));
          from += count;
        }
        const payload = patchOf(chunk, unit, runs);
        applyPatch(payload, base);
        expect(Buffer.compare(base, chunk)).toBe(0);
      }
    });
  });

  it("that no encoder wrote ends in an error or in bounds", async () => {
    await seeded((random) => {
      for (let i = 0; i < 5000; i++) {
        const payload = i % 2 === 0 ? EXAMPLE.slice() : random.fill(new Uint8Array(random.below(40)));
        if (i % 2 === 0) payload[random.below(payload.length)] = random.below(256);
        tolerant(() => applyPatch(payload, new Uint8Array(10)));
      }
      for (let length = 0; length < EXAMPLE.length; length++) {
        expect(() => applyPatch(EXAMPLE.subarray(0, length), new Uint8Array(10))).toThrowError(/patch/);
      }
    });
  });
});

function tolerant(apply: () => void): void {
  try {
    apply();
  } catch (error) {
    expect(isStoreError(error, "ERR_STORE_CORRUPT"), String(error)).toBe(true);
  }
}
