// A disk slower than the loop that saves: what is captured stays within its bound, the loop is told or left waiting as it
// asked, nothing hangs, and every save that was taken is there, in order.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tensorBytes } from "../../formats/tensor.ts";
import { openStore, type Store } from "../../open-store.ts";
import { digestOf, digestText } from "../../src/chunks/digest.ts";
import type { Disk, DiskFile } from "../../src/disk/disk.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { seeded } from "../checkpoints/seeded.ts";

const STAGING_BYTES = 1 << 20;
const SPOOL_BYTES = 5 << 20;
const ELEMENTS = 600_000;

let directory: string;
let store: Store;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-throttled-"));
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** The real disk, on which writes to packs wait for `turn` first. */
function slowDisk(turn: (sizeBytes: number) => Promise<void>): Disk {
  const slowFile = (file: DiskFile) =>
    overriding(file, {
      write: async (source: Uint8Array, position: number, options?: { aside?: boolean }) => {
        await turn(source.byteLength);
        await file.write(source, position, options);
      },
    });
  return overriding(realDisk, {
    open: (path, options) => {
      const file = realDisk.open(path, options);
      return path.endsWith(".pack") && options.access === "write" ? slowFile(file) : file;
    },
  });
}

function overriding<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const value = Reflect.get(name in changes ? changes : target, name) as unknown;
      return typeof value === "function" && !(name in changes) ? value.bind(target) : value;
    },
  });
}

const open = (turn: (sizeBytes: number) => Promise<void>) =>
  openStore(join(directory, "store"), {
    create: true,
    workers: 2,
    stagingBytes: STAGING_BYTES,
    spoolBytes: SPOOL_BYTES,
    ...{ disk: slowDisk(turn) },
  });

const hashOf = (tensor: Parameters<typeof tensorBytes>[0]) => digestText(digestOf(tensorBytes(tensor)));
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "resolved",
    (error: unknown) => (isStoreError(error) ? error.code : String(error)),
  );

describe("a disk slower than the loop", () => {
  it("makes saves wait or be skipped as asked, within the bound, and keeps each ref's order", () =>
    seeded(async (random) => {
      let delayedBytes = 0;
      let mostBytes = 0;
      const modelBytes = ELEMENTS * 4;
      store = await open(async (sizeBytes) => {
        delayedBytes += sizeBytes;
        // Slower than the loop, however slow that is: nothing is written before there is room for no third save.
        while (mostBytes < 2 * modelBytes) await delay(1);
        await delay(sizeBytes / 20_000 + random.below(20));
      });
      const model = store.checkpoints.allocate({ w: { dtype: "F32", shape: [ELEMENTS] } });
      const look = () => {
        const { heldBytes, limitBytes } = store.checkpoints.captureStats();
        expect(limitBytes).toBe(STAGING_BYTES + SPOOL_BYTES);
        mostBytes = Math.max(mostBytes, heldBytes);
      };
      const watch = setInterval(look, 1);
      const taken: { ref: string; hash: string; durable: Promise<{ version: number }> }[] = [];
      let skips = 0;
      for (let i = 0; i < 24; i++) {
        const words = new Uint32Array(model.w.data.buffer, model.w.data.byteOffset, ELEMENTS);
        for (let k = 0; k < ELEMENTS; k++) words[k] = (k * 2654435761 + i * 40503) ^ (k << (i % 7));
        const hash = hashOf(model.w);
        const ref = random.pick(["a", "b"]);
        const ticket = store.checkpoints.save(ref, model, {
          onPressure: random.chance(0.5) ? "wait" : "skip",
        });
        look();
        if (ticket.skipped) {
          skips += 1;
          expect(await codeOf(ticket.durable)).toBe("ERR_ABORTED");
          await ticket.captured;
          continue;
        }
        taken.push({ ref, hash, durable: ticket.durable });
        await ticket.tensorCaptured("w");
      }
      const versions = { a: 0, b: 0 } as Record<string, number>;
      for (const { ref, hash, durable } of taken) {
        const { version } = await durable;
        versions[ref]! += 1;
        expect(version).toBe(versions[ref]);
        const restored = await store.checkpoints.restore(`${ref}@${version}`);
        expect(hashOf(restored.get("w")!)).toBe(hash);
      }
      clearInterval(watch);
      look();
      const stats = store.checkpoints.captureStats();
      expect(stats.skips).toBe(skips);
      expect(taken.length + skips).toBe(24);
      expect(delayedBytes).toBeGreaterThan(modelBytes);
      expect(mostBytes, "the bound is used").toBeGreaterThanOrEqual(2 * modelBytes);
      expect(mostBytes, "and kept").toBeLessThanOrEqual(STAGING_BYTES + SPOOL_BYTES);
      expect(stats).toMatchObject({ heldBytes: 0, stagingFreeBytes: STAGING_BYTES });
      // Two saves may wait to be encoded, two may be kept to encode against, one is idle.
      expect(readdirSync(join(directory, "store", "spool")).length).toBeLessThanOrEqual(5);
    }));

  it("hangs nobody while it stands still, and takes up where it stopped", async () => {
    let opened = false;
    let letGo: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      letGo = () => {
        opened = true;
        resolve();
      };
    });
    store = await open(() => gate);
    const model = store.checkpoints.allocate({ w: { dtype: "F32", shape: [ELEMENTS] } });
    const hashes: string[] = [];
    const durable: Promise<{ version: number }>[] = [];
    const saveNow = (options: Parameters<typeof store.checkpoints.save>[2] = {}) => {
      model.w.data.fill((hashes.length + 1) as never);
      hashes.push(hashOf(model.w));
      const ticket = store.checkpoints.save("m", model, options);
      durable.push(ticket.durable);
      return ticket;
    };
    await saveNow().captured;
    await saveNow().captured;
    // There is room for two. The loop that waits is not given its fence; the one that skips goes on at once.
    const abort = new AbortController();
    const waiting = store.checkpoints.save("m", model, { signal: abort.signal });
    const skipped = store.checkpoints.save("m", model, { onPressure: "skip" });
    expect(skipped.skipped).toBe(true);
    expect(await codeOf(skipped.durable)).toBe("ERR_ABORTED");
    let fenced = false;
    waiting.captured.then(
      () => (fenced = true),
      () => {},
    );
    // Other parts of the store do not stand still with it.
    store.state.map("strategy").put("position", 1);
    expect(store.state.map("strategy").get("position")).toBe(1);
    await delay(50);
    expect(fenced).toBe(false);
    expect(opened).toBe(false);
    abort.abort();
    expect(await codeOf(waiting.durable)).toBe("ERR_ABORTED");
    const third = saveNow();
    letGo();
    await third.captured;
    for (const [i, each] of durable.entries()) expect((await each).version).toBe(i + 1);
    for (const [i, hash] of hashes.entries()) {
      expect(hashOf((await store.checkpoints.restore(`m@${i + 1}`)).get("w")!)).toBe(hash);
    }
    expect(store.checkpoints.captureStats()).toMatchObject({ heldBytes: 0, skips: 1, waits: 2 });
  });
});
