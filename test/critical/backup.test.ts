import { describe, expect, it } from "vitest";
import type { CriticalOptions } from "../../src/critical/critical.ts";
import type { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { openTestStore } from "./store.ts";

const BACKUP = "/backup/critical";

function filledStore(options: Partial<CriticalOptions> = {}) {
  const store = openTestStore(options);
  const map = store.critical.map<number>("m");
  const commit = (count: number) => {
    for (let i = 0; i < count; i++) {
      store.critical.commit((tx) => {
        tx.put(map, `k${i % 50}`, i);
        return tx.next(store.critical.sequence("nonce"));
      });
    }
  };
  const openBackup = () =>
    openTestStore({ disk: store.disk, directory: BACKUP, journal: new MemoryJournal() }).critical;
  return { ...store, map, commit, openBackup };
}

describe("a backup", () => {
  it("is the state of one LSN, opens like any store, and its sequences are fenced until adopted", async () => {
    const store = filledStore();
    store.commit(300);
    const pending = store.critical.backup(BACKUP);
    const expected = Object.fromEntries(store.map.entries());
    store.commit(10);
    const { lsn } = await pending;
    const copy = store.openBackup();
    expect(copy.lsn).toBe(lsn);
    const map = copy.map<number>("m");
    expect(lsn).toBeGreaterThanOrEqual(300n);
    if (lsn === 300n) expect(Object.fromEntries(map.entries())).toEqual(expected);
    expect(map.at(7n).get("k6")).toBe(6);
    expect(copy.verifyAudit()).toMatchObject({ whole: true, firstLsn: 1n, lastLsn: lsn });
    try {
      copy.sequence("nonce").next();
      expect.unreachable();
    } catch (error) {
      expect(isStoreError(error, "ERR_SEQUENCE_FENCED")).toBe(true);
    }
    expect(() => copy.adoptMoved()).toThrow(/is a backup/);
    expect(copy.adoptSequence("nonce", 1000n)).toBe(1000n);
    expect(copy.sequence("nonce").next()).toBe(1000n);
    expect(copy.lsn).toBe(lsn + 2n);
    expect(store.critical.sequence("nonce").next()).toBe(311n);
  });

  it("goes on from its own log after a crash and across its own snapshots", async () => {
    const store = filledStore();
    store.commit(100);
    await store.critical.backup(BACKUP);
    const journal = new MemoryJournal();
    const copy = openTestStore({ disk: store.disk, directory: BACKUP, journal });
    const map = copy.critical.map<number>("m");
    for (let round = 0; round < 4; round++) {
      copy.critical.commit((tx) => tx.put(map, "since", round));
      await copy.critical.snapshot();
    }
    const again = copy.crash();
    expect(again.critical.map("m").get("since")).toBe(3);
    expect(again.critical.lsn).toBe(104n);
    expect(again.critical.verifyAudit().whole).toBe(true);
  });

  it("onto an earlier one writes only what is new, and refuses one that was opened", async () => {
    const store = filledStore();
    const noise = store.critical.map<Uint8Array>("noise");
    const bytes = new Uint8Array(1_000_000);
    for (let i = 0; i < 12; i++) {
      for (let at = 0; at < bytes.length; at++) bytes[at] = Math.floor(Math.random() * 256);
      store.critical.commit((tx) => tx.put(noise, "k", bytes));
    }
    const first = await store.critical.backup(BACKUP);
    store.commit(20);
    const second = await store.critical.backup(BACKUP);
    expect(second.writtenBytes).toBeLessThan(first.writtenBytes * 0.75);
    expect(store.openBackup().lsn).toBe(second.lsn);
    const disk = store.disk as SimulatedDisk;
    disk.open(`${BACKUP}/wal-000000000001.seg`, { access: "write", create: "must" }).close();
    await expect(store.critical.backup(BACKUP)).rejects.toMatchObject({ code: "ERR_EXISTS" });
  });

  it.each([1, 2, 3, 5])(
    "cut off at history write %i leaves the earlier one whole, its history too",
    async (after) => {
      const store = filledStore();
      const noise = store.critical.map<Uint8Array>("noise");
      const fill = (count: number) => {
        for (let i = 0; i < count; i++) {
          const bytes = Uint8Array.from({ length: 200_000 }, () => Math.floor(Math.random() * 256));
          store.critical.commit((tx) => tx.put(noise, "k", bytes));
        }
      };
      fill(12);
      const { lsn } = await store.critical.backup(BACKUP);
      fill(6);
      const disk = store.disk as SimulatedDisk;
      const [name] = disk.list(`${BACKUP}/history`);
      const path = `${BACKUP}/history/${name}`;
      const sizeBytes = disk.stat(path)!.sizeBytes;
      disk.inject({ on: "write", path, after, effect: { kind: "EIO" } });
      await store.critical.backup(BACKUP).catch(() => {});
      expect(disk.stat(path)!.sizeBytes).toBeGreaterThanOrEqual(sizeBytes);
      const reader = openTestStore({ disk, directory: BACKUP, readOnly: true }).critical;
      expect(reader.lsn).toBeGreaterThanOrEqual(lsn);
      expect(reader.verifyAudit()).toMatchObject({ whole: true, firstLsn: 1n, lastLsn: reader.lsn });
      await reader.close();
      const again = await store.critical.backup(BACKUP);
      const copy = store.openBackup();
      expect(copy.lsn).toBe(again.lsn);
      expect(copy.verifyAudit()).toMatchObject({ whole: true, firstLsn: 1n, lastLsn: again.lsn });
    },
  );

  it("goes on from an earlier one whose history the store has dropped since, which goes there too", async () => {
    const store = filledStore({ history: { keepBytes: 1 << 20 } });
    const noise = store.critical.map<Uint8Array>("noise");
    const fill = async () => {
      for (let i = 0; i < 60; i++) {
        const bytes = Uint8Array.from({ length: 500_000 }, () => Math.floor(Math.random() * 256));
        store.critical.commit((tx) => tx.put(noise, "k", bytes));
      }
      await store.critical.snapshot();
    };
    const files = (directory: string) => store.disk.list(`${directory}/history`).sort();
    await fill();
    await store.critical.backup(BACKUP);
    const earlier = files(BACKUP);
    await fill();
    const { lsn } = await store.critical.backup(BACKUP);
    expect(files(BACKUP)).toEqual(files("/store/critical"));
    expect(files(BACKUP).filter((name) => name.endsWith(".hist") && earlier.includes(name))).toEqual([]);
    expect(store.openBackup().verifyAudit()).toMatchObject({ whole: true, lastLsn: lsn });
  });

  it("that runs out of disk leaves the engine and the earlier backup as they were", async () => {
    const store = filledStore();
    store.commit(100);
    await store.critical.backup(BACKUP);
    store.commit(100);
    (store.disk as SimulatedDisk).inject({
      on: "write",
      path: "/backup/critical/snapshot-b",
      after: 1,
      effect: { kind: "ENOSPC" },
    });
    await expect(store.critical.backup(BACKUP)).rejects.toMatchObject({ code: "ERR_DISK_FULL" });
    store.commit(1);
    await store.critical.snapshot();
    expect(store.openBackup().lsn).toBe(100n);
  });
});
