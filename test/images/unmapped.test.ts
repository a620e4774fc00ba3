import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tensorBytes } from "../../formats/tensor.ts";
import { openStore, type Store } from "../../open-store.ts";
import { seeded } from "../checkpoints/seeded.ts";

// As where koffi is not installed.
vi.mock("../../src/disk/libc.ts", () => ({ libC: () => null, MAP_FAILED: -1n }));

let directory: string;
let store: Store;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "varve-unmapped-"));
  store = await openStore(directory, { create: true, workers: 0, ioBudget: Number.POSITIVE_INFINITY });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const images = () => readdirSync(join(directory, "images"));
const openImages = () =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /\.image( \(deleted\))?$/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  }).length;

async function save(value: number): Promise<Uint8Array> {
  const data = new Float32Array(300_000).map((_, i) => value + i);
  await store.checkpoints.save("m", { w: { dtype: "F32", shape: [data.length], data } }).durable;
  return tensorBytes({ dtype: "F32", shape: [data.length], data });
}

describe("a pinned ref where no file can be mapped", () => {
  it("is read from its image into memory of the caller's own, checked before it is handed out", () =>
    seeded(async (random) => {
      const wanted = await save(1);
      await (await store.checkpoints.pin("m")).imaged;
      const path = join(directory, "images", images()[0]!);
      for (let round = 0; round < 8; round++) {
        const { source, tensors, verified } = await store.checkpoints.pin("m");
        expect(source).toBe("read");
        await verified;
        expect(Buffer.compare(tensorBytes(tensors.get("w")!), wanted)).toBe(0);
        (tensors.get("w")!.data as Float32Array).fill(0);
        const bytes = readFileSync(path);
        bytes[random.below(statSync(path).size)]! ^= 1 << random.below(8);
        rmSync(path);
        writeFileSync(path, bytes);
        const again = await store.checkpoints.pin("m");
        expect(again.source).toBe("chunks");
        await again.verified;
        expect(Buffer.compare(tensorBytes(again.tensors.get("w")!), wanted)).toBe(0);
        await again.imaged;
      }
    }));

  it("keeps no hold on an image that was read: it goes when the next is there", async () => {
    await save(1);
    await (await store.checkpoints.pin("m")).imaged;
    for (let i = 0; i < 3; i++) await store.checkpoints.pin("m");
    expect(openImages()).toBe(0);
    await save(2);
    await expect.poll(images).toEqual([expect.stringMatching(/-2\.image$/)]);
    await store.checkpoints.unpin("m");
    expect(images()).toEqual([]);
  });
});
