import { expect, test } from "vitest";
import type { DiskFile } from "../../src/disk/disk.ts";
import { SyncAlong } from "../../src/disk/sync-along.ts";
import { SYNC_STEP_BYTES } from "../../src/limits.ts";

/** A file whose syncs end when the test says so. */
function fileOfSyncs() {
  const syncs: { resolve(): void; reject(error: Error): void }[] = [];
  const sync = () => new Promise<void>((resolve, reject) => syncs.push({ resolve, reject }));
  return { file: { sync } as DiskFile, syncs };
}

test("a sync begins with the step's last byte, and none while another goes on", async () => {
  const { file, syncs } = fileOfSyncs();
  const along = new SyncAlong(file);
  along.wrote(SYNC_STEP_BYTES - 1);
  expect(syncs.length).toBe(0);
  along.wrote(1);
  expect(syncs.length).toBe(1);
  along.wrote(SYNC_STEP_BYTES);
  expect(syncs.length).toBe(1);
  syncs[0]!.resolve();
  await along.settle();
  along.wrote(0);
  expect(syncs.length).toBe(2);
});

test("the end waits for the sync that goes on, then syncs what came after", async () => {
  const { file, syncs } = fileOfSyncs();
  const along = new SyncAlong(file);
  along.wrote(SYNC_STEP_BYTES);
  let ended = false;
  const end = along.end().then(() => {
    ended = true;
  });
  await new Promise(setImmediate);
  expect([syncs.length, ended]).toEqual([1, false]);
  syncs[0]!.resolve();
  await new Promise(setImmediate);
  expect([syncs.length, ended]).toEqual([2, false]);
  syncs[1]!.resolve();
  await end;
});

test("a failed sync is told at the end, even though later ones would succeed", async () => {
  const { file, syncs } = fileOfSyncs();
  const along = new SyncAlong(file);
  along.wrote(SYNC_STEP_BYTES);
  syncs[0]!.reject(new Error("the device is gone"));
  await along.settle();
  along.wrote(SYNC_STEP_BYTES);
  await expect(along.end()).rejects.toThrow("the device is gone");
  expect(syncs.length).toBe(1);
});
