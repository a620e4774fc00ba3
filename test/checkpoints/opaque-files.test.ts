import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type Store } from "../../open-store.ts";
import { Random } from "../../src/disk/random.ts";
import { isStoreError } from "../../src/errors.ts";
import { randomBytes, seeded } from "./seeded.ts";

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "varve-opaque-"));
  store = await openStore(join(directory, "store"), { create: true, workers: 1 });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function saveAndRestore(bytes: Uint8Array): Promise<number> {
  const path = join(directory, "data.bin");
  writeFileSync(path, bytes);
  const { storedBytes, version } = await store.checkpoints.saveFiles("m", [path]);
  const out = join(directory, "out.bin");
  await store.checkpoints.restoreFiles(`m@${version}`, { out, force: true });
  expect(Buffer.compare(readFileSync(out), bytes)).toBe(0);
  return storedBytes;
}

describe("an opaque file", () => {
  it("costs little to save again when bytes were inserted, removed or appended", async () => {
    // The same bytes in every run: cuts follow the content, and some content has none for long.
    const random = new Random(7);
    const first = Buffer.from(randomBytes(random, 6 << 20));
    expect(await saveAndRestore(first)).toBeGreaterThan(6 << 20);
    const at = random.below(5 << 20);
    const inserted = Buffer.concat([first.subarray(0, at), Buffer.from("inserted"), first.subarray(at)]);
    expect(await saveAndRestore(inserted)).toBeLessThan(40_000);
    const removed = Buffer.concat([inserted.subarray(0, 1000), inserted.subarray(501_000)]);
    // Where it was cut out, two of the largest chunks may be new before cuts fall together again.
    expect(await saveAndRestore(removed)).toBeLessThan(2 * 262_144 + 40_000);
    const appended = Buffer.concat([removed, randomBytes(random, 100_000)]);
    expect(await saveAndRestore(appended)).toBeLessThan(500_000);
  });

  it("with one byte in a hundred changed at random costs less than the whole, and comes back", async () => {
    await seeded(async (random) => {
      const first = Buffer.from(randomBytes(random, 2 << 20));
      await saveAndRestore(first);
      const second = Buffer.from(first);
      for (let i = 0; i < second.byteLength / 100; i++)
        second[random.below(second.byteLength)] = random.below(256);
      expect(await saveAndRestore(second)).toBeLessThan(second.byteLength * 0.5);
    });
  });

  it("of any size around a chunk's, the empty one too, comes back", async () => {
    await seeded(async (random) => {
      for (const size of [0, 1, 16_383, 16_384, 262_143, 262_144, 262_145, 4 << 20, (4 << 20) + 1]) {
        await saveAndRestore(randomBytes(random, size));
      }
    });
  });
});

describe("a directory of files", () => {
  it("comes back as it was, shared chunks once", async () => {
    await seeded(async (random) => {
      const same = randomBytes(random, 300_000);
      const files = {
        "a.bin": same,
        "deep/er/b.bin": same,
        "deep/__proto__": randomBytes(random, 10),
        e: new Uint8Array(0),
      };
      mkdirSync(join(directory, "in/deep/er"), { recursive: true });
      for (const [name, bytes] of Object.entries(files)) writeFileSync(join(directory, "in", name), bytes);
      const { storedBytes, files: count } = await store.checkpoints.saveFiles("m", [join(directory, "in")]);
      expect(count).toBe(4);
      expect(storedBytes).toBeLessThan(310_000);
      await store.checkpoints.restoreFiles("m", { out: join(directory, "out/") });
      for (const [name, bytes] of Object.entries(files)) {
        expect(Buffer.compare(readFileSync(join(directory, "out", name)), bytes), name).toBe(0);
      }
      const again = await store.checkpoints
        .restoreFiles("m", { out: join(directory, "out/") })
        .catch((error) => error);
      expect(isStoreError(again, "ERR_EXISTS")).toBe(true);
    });
  });
});
