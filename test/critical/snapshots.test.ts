import { describe, expect, it } from "vitest";
import { LEAF_ROWS } from "../../src/critical/cold-rows.ts";
import { Critical } from "../../src/critical/critical.ts";
import { KernelState } from "../../src/critical/kernel-state.ts";
import { loadSnapshot } from "../../src/critical/recovery.ts";
import { decodeHeader, encodeHeader, HEADER_BYTES } from "../../src/critical/snapshot-format.ts";
import { warmUp } from "../../src/critical/snapshot-writer.ts";
import { State } from "../../src/critical/state.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { SNAPSHOT_BYTES_MAX } from "../../src/limits.ts";
import { openTestStore, tradingUntil } from "./store.ts";

function fill(critical: Critical, entries: number, from = 0): void {
  const map = critical.map<{ n: number }>("orders");
  for (let at = from; at < from + entries; at += 500) {
    critical.commit((tx) => {
      for (let i = at; i < Math.min(at + 500, from + entries); i++) tx.put(map, `order-${i}é`, { n: i });
    });
  }
}

describe("a snapshot", () => {
  it("holds the state of one LSN though commits go on while it is taken", async () => {
    const store = openTestStore();
    fill(store.critical, 5000);
    const map = store.critical.map<{ n: number }>("orders");
    // A snapshot is of the LSN that there is when it begins, a turn of the event loop or more after it was asked for.
    const states = new Map([[store.critical.lsn, Object.fromEntries(map.entries())]]);
    const taking = store.critical.snapshot();
    let turns = 0;
    const trade = () => {
      turns++;
      const { lsn } = store.critical.commit((tx) => {
        for (let i = 0; i < 50; i++) tx.put(map, `order-${(turns * 50 + i) % 5000}é`, { n: -1 });
        tx.delete(map, `order-${turns}é`);
        tx.put(map, `new-${turns}`, { n: turns });
      });
      states.set(lsn, Object.fromEntries(map.entries()));
    };
    const { lsn } = await tradingUntil(taking, trade);
    expect(turns).toBeGreaterThan(0);
    const after = Object.fromEntries(map.entries());
    // Without the log behind it, the snapshot is all there is.
    const alone = openTestStore({
      disk: store.disk,
      journal: store.journal.truncated(Number(store.critical.lsn - lsn)),
    });
    expect(Object.fromEntries(alone.critical.map("orders").entries())).toEqual(states.get(lsn));
    expect(Object.fromEntries(store.crash().critical.map("orders").entries())).toEqual(after);
  });

  it("finds no leaf to fill when it begins, whichever were touched while others were filled", async () => {
    const { critical, disk } = openTestStore();
    fill(critical, 30_000);
    await critical.snapshot();
    const state = new State();
    const { entries } = loadSnapshot(disk, "/store/critical", state, () => new KernelState());
    entries.index(state, 0);
    entries.finish(state);
    const [table] = state.tables();
    const touch = (leaf: number) => table!.slot(table!.cold!.key(leaf * LEAF_ROWS + 5));
    const leaves = Math.floor(30_000 / LEAF_ROWS);
    for (let leaf = 10; leaf < leaves; leaf++) touch(leaf);
    // Long before all those are filled.
    setImmediate(() => {
      for (let leaf = 0; leaf < 10; leaf++) touch(leaf);
    });
    await warmUp(state);
    expect(table!.order.warmNext(0)).toBe(-1);
  });

  it("is taken when the log has grown enough, and the log is trimmed behind the one before", async () => {
    const store = openTestStore({ snapshots: { everyRecords: 10, bytesPerSecond: 1e12 } });
    for (let i = 0; i < 100; i++) {
      fill(store.critical, 1, i);
      // However long one takes, the next is due after ten commits more.
      while (store.critical.stats().snapshots!.running) await new Promise((resolve) => setImmediate(resolve));
    }
    const stats = store.critical.stats().snapshots!;
    expect(stats.taken).toBeGreaterThan(2);
    expect(stats.lastError).toBeUndefined();
    expect(store.journal.firstLsn).toBeGreaterThan(1n);
    expect(store.journal.firstLsn).toBeLessThanOrEqual(stats.lsn);
    expect(store.crash().critical.map("orders").size).toBe(100);
  });

  it("that is damaged is passed over for the one before, and said to be", async () => {
    const store = openTestStore();
    const disk = store.disk as SimulatedDisk;
    fill(store.critical, 1000);
    await store.critical.snapshot();
    fill(store.critical, 1000, 1000);
    await store.critical.snapshot();
    fill(store.critical, 10, 2000);
    disk.flipBit("/store/critical/snapshot-b", 8 * 20_000);
    const again = store.crash();
    expect(again.warnings.join()).toContain("snapshot-b is damaged");
    expect(again.critical.map("orders").size).toBe(2010);
    expect(again.critical.stats().recovery).toMatchObject({ damaged: ["/store/critical/snapshot-b"] });
    await again.critical.snapshot();
    const mended = again.crash();
    expect(mended.warnings).toEqual([]);
    expect(mended.critical.map("orders").size).toBe(2010);
  });

  it("refuses to open when no snapshot is whole and the log no longer reaches back", async () => {
    const store = openTestStore();
    const disk = store.disk as SimulatedDisk;
    for (let round = 0; round < 3; round++) {
      fill(store.critical, 100, round * 100);
      await store.critical.snapshot();
    }
    for (const slot of ["a", "b"]) disk.flipBit(`/store/critical/snapshot-${slot}`, 8 * 4200);
    expect(() => store.crash()).toThrow(/no longer holds LSN 1/);
    expect(() => openTestStore({ disk: new SimulatedDisk(), journal: store.journal.crashed() })).toThrow(
      /no longer holds LSN 1/,
    );
  });

  it("notices every bit flipped in it", async () => {
    const store = openTestStore();
    store.critical.sequence("nonce").next();
    fill(store.critical, 3);
    await store.critical.snapshot();
    const disk = store.disk as SimulatedDisk;
    const path = "/store/critical/snapshot-a";
    const sizeBytes = disk.stat(path)!.sizeBytes;
    const checked = [
      ...Array(52 * 8).keys(),
      ...Array.from({ length: (sizeBytes - 4096) * 8 }, (_, i) => 4096 * 8 + i),
    ];
    for (const bit of checked) {
      disk.flipBit(path, bit);
      let noticed = false;
      try {
        const { critical } = openTestStore({ disk, journal: store.journal.crashed() });
        // The log still reaches back to the beginning, so a snapshot that is passed over costs nothing.
        noticed = critical.stats().recovery.snapshotLsn === 0n && critical.map("orders").size === 3;
      } catch {
        noticed = true;
      }
      expect(noticed, `bit ${bit}`).toBe(true);
      disk.flipBit(path, bit);
    }
  });

  it("is refused when it is larger than any opening has room for", async () => {
    const store = openTestStore();
    fill(store.critical, 3);
    await store.critical.snapshot();
    const file = store.disk.open("/store/critical/snapshot-a", { access: "write" });
    const page = Buffer.alloc(HEADER_BYTES);
    file.readSync(page, 0);
    const say = (bodyBytes: number) =>
      file.writeSync(encodeHeader({ ...decodeHeader(page)!, number: 9, bodyBytes }), 0);
    const open = () => openTestStore({ disk: store.disk, journal: store.journal.crashed() });
    // A byte that is not there is damage; one more than is allowed is no question of bytes.
    say(SNAPSHOT_BYTES_MAX - HEADER_BYTES);
    expect(open().critical.stats().recovery.damaged).toHaveLength(1);
    say(SNAPSHOT_BYTES_MAX - HEADER_BYTES + 1);
    expect(open).toThrow(expect.objectContaining({ code: "ERR_LIMIT" }));
    file.close();
  });

  it("keeps the engine going when the disk is full, and says so", async () => {
    const store = openTestStore();
    const disk = store.disk as SimulatedDisk;
    fill(store.critical, 100);
    disk.inject({ on: "write", path: "snapshot-a", after: 1, effect: { kind: "ENOSPC" } });
    await expect(store.critical.snapshot()).rejects.toMatchObject({ code: "ERR_DISK_FULL" });
    expect(store.warnings.join()).toContain("a snapshot failed");
    fill(store.critical, 100, 100);
    await store.critical.snapshot();
    expect(store.critical.stats().snapshots!.lastError).toBeUndefined();
  });
});

describe("a read-only opening", () => {
  it("follows a living writer, across snapshots and trims, and writes nothing", async () => {
    const disk = new SimulatedDisk();
    const options = {
      directory: "/store/critical",
      disk,
      storeId: new Uint8Array(16).fill(1),
      log: { segmentBlocks: 8, sealAfterMs: 1 },
      snapshots: { everyRecords: 1e9 },
    };
    const writer = Critical.open(options);
    fill(writer, 50);
    const reader = Critical.open({ ...options, readOnly: true });
    // All of it is known durable when the log has been sealed.
    await expect.poll(() => reader.refresh()).toBe(writer.lsn);
    expect(reader.map("orders").size).toBe(50);
    expect(() => reader.commit(() => 1)).toThrow(/read-only/);
    for (let round = 1; round < 6; round++) {
      fill(writer, 200, round * 1000);
      if (round % 2 === 0) await writer.snapshot();
      await expect.poll(() => reader.refresh()).toBe(writer.lsn);
      expect(Object.fromEntries(reader.map("orders").entries())).toEqual(
        Object.fromEntries(writer.map("orders").entries()),
      );
      expect(reader.map<{ n: number }>("orders").at(1n).get("order-7é")).toEqual({ n: 7 });
    }
    expect(reader.verifyAudit().whole).toBe(true);
    await writer.close();
    await reader.close();
  });

  it("begins again from a snapshot once it has followed much, and holds what it followed no longer", async () => {
    const disk = new SimulatedDisk();
    const options = {
      directory: "/store/critical",
      disk,
      storeId: new Uint8Array(16).fill(1),
      log: { sealAfterMs: 1 },
      snapshots: { everyRecords: 1e9, everyBytes: 1e12 },
    };
    const writer = Critical.open(options);
    const reader = Critical.open({ ...options, readOnly: true });
    const map = reader.map<{ n: number; bytes: Uint8Array }>("large");
    const written = writer.map<{ n: number; bytes: Uint8Array }>("large");
    for (let n = 1; n <= 100; n++) {
      writer.commit((tx) => tx.put(written, `k${n % 5}`, { n, bytes: new Uint8Array(1_000_000) }));
      if (n === 60) await writer.snapshot();
      if (n % 10 === 0) reader.refresh();
    }
    await writer.close();
    expect(reader.refresh()).toBe(100n);
    expect([...map.values()].map(({ n }) => n)).toEqual([100, 96, 97, 98, 99]);
    const { recovery, history } = reader.stats();
    expect(recovery.snapshotLsn).toBe(60n);
    expect(history.pendingRecords).toBeLessThanOrEqual(40);
    expect(map.at(3n).get("k3")?.n).toBe(3);
    await reader.close();
  });
});
