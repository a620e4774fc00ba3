import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkStoreAt, openStore, repairStoreAt } from "../../open-store.ts";
import type { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { digestOfStep, durableOf, run, start, temporaryDirectory } from "./processes.ts";
import { contentOf, faultOf, type Model } from "./save-scenario.ts";
import { seed, seeded } from "./seeded.ts";
import { openSimulated, STORE } from "./simulated-store.ts";

/** More for a campaign: `FLIP_ROUNDS=200 npx vitest run test/checkpoints/bit-flips`. */
const rounds = Number(process.env["FLIP_ROUNDS"] ?? 1);

describe("a flipped bit in a store on the simulated disk", () => {
  it("never makes a restore give wrong bytes, and check names every version it takes away", async () => {
    await seeded(async (random) => {
      const disk = new SimulatedDisk();
      const models = new Map<number, Model>();
      const store = await openSimulated(disk, "kept");
      for (let step = 1; step <= 4; step++) {
        const data = random.fill(new Uint8Array(600)).fill(7, 100, 500);
        models.set(step, {
          w: { dtype: "U8", shape: [600], data },
          same: { dtype: "U8", shape: [2], data: new Uint8Array(2) },
        });
        await store.checkpoints.save("m", models.get(step)!, { step, resume: Uint8Array.of(step) }).durable;
      }
      const names = Object.keys(await contentOf(store));
      await store.close();
      const packs = disk.list(`${STORE}/chunks/packs`).map((name) => `chunks/packs/${name}`);
      let lost = 0;
      for (const file of ["varve.json", "versions/log", "versions/mark", ...packs]) {
        const path = `${STORE}/${file}`;
        const bits = disk.stat(path)!.sizeBytes * 8;
        for (let i = 0; i < 60 * rounds; i++) {
          const bit = random.below(bits);
          const rotten = disk.killed();
          rotten.flipBit(path, bit);
          const missing = await missingOf(rotten, names, models);
          lost += missing.length;
          if (missing.length === 0) continue;
          const at = `bit ${bit} of ${file}, ${missing.length} lost`;
          expect(await checkNames(rotten, missing, file.endsWith(".pack")), at).toEqual([]);
        }
      }
      expect(lost).toBeGreaterThan(0);
    });
  });
});

/** Versions that do not restore; wrong bytes fail the test at once. */
async function missingOf(
  disk: SimulatedDisk,
  names: string[],
  models: Map<number, Model>,
): Promise<string[]> {
  let store: Awaited<ReturnType<typeof openSimulated>>;
  try {
    store = await openSimulated(disk, "kept", { create: false });
  } catch (error) {
    if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
    return names;
  }
  const missing: string[] = [];
  for (const name of names) {
    try {
      expect(await faultOf(store, name, models)).toBeUndefined();
    } catch (error) {
      if (!isStoreError(error)) throw error;
      expect(["ERR_STORE_CORRUPT", "ERR_NOT_FOUND"]).toContain(error.code);
      missing.push(name);
    }
  }
  await store.close();
  return missing;
}

/** What `check` misses: versions it should name, or any problem at all. */
async function checkNames(disk: SimulatedDisk, missing: string[], byName: boolean): Promise<string[]> {
  const { checkStore } = await import("../../checkpoints/check.ts");
  const { ok, damagedVersions, problems } = await checkStore(disk, STORE, { readData: true });
  expect(ok).toBe(false);
  expect(problems.length).toBeGreaterThan(0);
  return byName ? missing.filter((name) => !damagedVersions.includes(name)) : [];
}

describe("a flipped bit in a store on the real disk", () => {
  let directory: string;
  let durable: { name: string; step: number }[];

  beforeAll(async () => {
    directory = temporaryDirectory();
    const store = `${directory}/whole`;
    durable = durableOf(await run(["save", store, "m", 5, 1, 0]));
    durable.push(...durableOf(await run(["save", store, "n", 2, 50, 0])));
    expect(durable.length).toBe(7);
  });

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** Restores every version in processes of their own; what damage ends them is no wrong answer. */
  async function restoreAll(store: string): Promise<Set<string>> {
    const restored = new Set<string>();
    const child = start(["restore", store, ...durable.map(({ name }) => name)]);
    await child.ended;
    for (const [word, name, digest] of child.lines) {
      if (word !== "restored") continue;
      const { step } = durable.find((each) => each.name === name)!;
      expect(digest, `${name} has wrong bytes`).toBe(digestOfStep(step));
      restored.add(name!);
    }
    return restored;
  }

  function flip(path: string, random: Random): string {
    const bytes = readFileSync(path);
    const bit = random.below(bytes.byteLength * 8);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    writeFileSync(path, bytes);
    return `bit ${bit} of ${path}`;
  }

  const files = ["varve.json", "versions/log", "versions/mark", "chunks/index/data.mdb", "pack"];
  // Each takes seconds: another two every time, all of them in a campaign.
  const chosen = rounds > 1 ? files : [files[seed % 5]!, files[(seed + 2) % 5]!];
  for (const file of chosen) {
    it(`in ${file} is found, is never served, and is mended`, async () => {
      await seeded(async (random) => {
        for (let round = 0; round < rounds; round++) {
          const store = `${directory}/flipped-${file.replaceAll("/", "-")}-${round}`;
          cpSync(`${directory}/whole`, store, { recursive: true });
          const packs = `${store}/chunks/packs`;
          const largest = readdirSync(packs).sort(
            (a, b) => statSync(join(packs, b)).size - statSync(join(packs, a)).size,
          );
          const at = flip(file === "pack" ? join(packs, largest[0]!) : join(store, file), random);
          const restored = await restoreAll(store);
          const lost = durable.filter(({ name }) => !restored.has(name));
          const check = await checkStoreAt(store, { readData: true });
          if (lost.length > 0) expect(check.ok, at).toBe(false);
          const repaired = await repairStoreAt(store);
          expect(repaired.check.problems, at).toEqual([]);
          // One bit is always turned back, or was in what can be rebuilt.
          expect(repaired.damagedVersions, at).toEqual([]);
          expect([...(await restoreAll(store))].sort(), at).toEqual(durable.map(({ name }) => name).sort());
          const opened = await openStore(store, { workers: 0 });
          await opened.gc();
          expect((await opened.check({ readData: true })).problems, at).toEqual([]);
          await opened.close();
          rmSync(store, { recursive: true });
        }
      });
    });
  }

  it("in the last frame of a pack, which zeros follow, is mended", async () => {
    const store = `${directory}/last-frame`;
    cpSync(`${directory}/whole`, store, { recursive: true });
    for (const pack of readdirSync(`${store}/chunks/packs`)) {
      const path = `${store}/chunks/packs/${pack}`;
      const bytes = readFileSync(path);
      let last = bytes.byteLength - 1;
      while (bytes[last] === 0) last--;
      expect(last).toBeLessThan(bytes.byteLength - 1);
      bytes[last]! ^= 1;
      writeFileSync(path, bytes);
    }
    expect((await checkStoreAt(store, { readData: true })).ok).toBe(false);
    const repaired = await repairStoreAt(store);
    expect(repaired.damagedVersions).toEqual([]);
    expect(repaired.check.problems).toEqual([]);
  });

  it("that cannot be turned back is put on record, and saving the same again heals it", async () => {
    const store = `${directory}/garbled`;
    cpSync(`${directory}/whole`, store, { recursive: true });
    const [pack] = readdirSync(`${store}/chunks/packs`);
    const path = `${store}/chunks/packs/${pack}`;
    const bytes = readFileSync(path);
    // The first frame: the base of many others.
    bytes.fill(0x55, 200, 300);
    writeFileSync(path, bytes);
    const before = await checkStoreAt(store, { readData: true });
    expect(before.ok).toBe(false);
    expect(before.damagedVersions.length).toBeGreaterThan(0);
    const repaired = await repairStoreAt(store);
    expect(repaired.check.ok).toBe(true);
    expect(repaired.damagedVersions).toEqual(before.damagedVersions);
    expect(repaired.quarantined.length).toBe(1);
    const restored = await restoreAll(store);
    const whole = durable.filter(({ name }) => !repaired.damagedVersions.includes(name));
    // A version that lost its header alone still gives its tensors.
    for (const { name } of whole) expect(restored.has(name), name).toBe(true);
    for (const { step } of durable) await run(["save", store, "again", 1, step, 0]);
    const healed = await repairStoreAt(store);
    expect(healed.check.ok).toBe(true);
    const after = await restoreAll(store);
    for (const { name } of durable) {
      expect(after.has(name) || healed.damagedVersions.includes(name), name).toBe(true);
    }
    expect(healed.damagedVersions.length).toBeLessThan(before.damagedVersions.length);
  });
});
