import { describe, expect, it } from "vitest";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { openTestStore } from "./store.ts";

const HISTORY = "/store/critical/history/0000000000000001.hist";

async function filledStore(disk = new SimulatedDisk()) {
  const store = openTestStore({ disk });
  const map = store.critical.map<number>("limits");
  for (let i = 1; i <= 600; i++) {
    store.critical.commit((tx) => tx.put(map, `k${i % 7}`, i), {
      actor: "risk",
      reason: `change ${i} ${"x".repeat(200)}`,
      basedOn: ["00ff"],
    });
    // Ends a block: the history has several links.
    if (i === 300) await store.critical.snapshot();
  }
  await store.critical.snapshot();
  store.critical.commit((tx) => tx.delete(map, "k1"));
  return { ...store, map };
}

describe("history", () => {
  it.each([5, {}, { lsn: 5 }, undefined, "5"])("refuses %j as a moment", async (moment) => {
    const { critical } = openTestStore();
    expect(() => critical.map("limits").at(moment as never)).toThrow(/a moment is a bigint/);
  });

  it("is not whole without the files somebody removed, the oldest or all", async () => {
    const store = await filledStore();
    store.disk.remove(HISTORY);
    const { whole, firstBad } = store.crash().critical.verifyAudit();
    expect(whole).toBe(false);
    expect(firstBad).toMatchObject({ firstLsn: 1n, lastLsn: 600n });
  });

  it("tells every change of a key with before and after, across files, memory and a crash", async () => {
    const store = await filledStore();
    for (const { critical } of [store, store.crash()]) {
      const changes = [...critical.map<number>("limits").history("k1")];
      expect(changes).toHaveLength(87);
      expect(changes[0]).toMatchObject({ lsn: 1n, actor: "risk", before: undefined, after: 1 });
      expect(changes[1]).toMatchObject({ lsn: 8n, before: 1, after: 8 });
      expect(changes.at(-1)).toMatchObject({ lsn: 601n, before: 596, after: undefined });
    }
  });

  it("shows a map as it was at an LSN and at a time", async () => {
    const store = await filledStore();
    const { critical, map } = store;
    const tenth = [...critical.log({ since: { lsn: 10n } })][0]!;
    for (const moment of [10n, { lsn: 10n }, tenth.timeUs, { timeUs: tenth.timeUs }]) {
      const past = map.at(moment);
      expect(past.lsn).toBe(10n);
      expect(past.get("k1")).toBe(8);
      expect([...past.entries({ from: "k2", to: "k4" })]).toEqual([
        ["k2", 9],
        ["k3", 10],
      ]);
    }
    expect([...map.at(0n).entries()]).toEqual([]);
    expect(map.at(600n).get("k1")).toBe(596);
    expect(map.at(601n).get("k1")).toBeUndefined();
    expect(() => map.at(602n)).toThrow(/has not been committed/);
  });

  it("keeps what had expired readable in the past", async () => {
    let nowUs = 1_000_000;
    const store = openTestStore({ clock: () => nowUs });
    const map = store.critical.map<string>("windows");
    const { lsn } = store.critical.commit((tx) => tx.put(map, "w", "open", { expiresAtUs: 2_000_000n }));
    nowUs = 3_000_000;
    store.critical.commit((tx) => tx.put(map, "w", "again"));
    expect(map.at(lsn).get("w")).toBe("open");
    expect([...map.history("w")].map(({ before, after }) => [before, after])).toEqual([
      [undefined, "open"],
      [undefined, "again"],
    ]);
  });

  it("removes expired entries with a snapshot, as commits the trail knows", async () => {
    let nowUs = 1_000_000;
    const store = openTestStore({ clock: () => nowUs });
    const map = store.critical.map<number>("windows");
    store.critical.commit((tx) => {
      for (let i = 0; i < 600; i++) tx.put(map, `w${i}`, i, { expiresAtUs: 2_000_000n });
      tx.put(map, "stays", 1);
    });
    nowUs = 3_000_000;
    store.critical.commit((tx) => tx.put(map, "other", 1));
    await store.critical.snapshot();
    expect(store.critical.stats().maps[0]!.entries).toBe(2);
    expect([...store.critical.log()].at(-1)).toMatchObject({ actor: "varve", reason: "expired" });
  });

  it("is an audit trail that proves itself whole and names the first bad link", async () => {
    const store = await filledStore();
    const report = store.critical.verifyAudit();
    expect(report).toMatchObject({ whole: true, firstLsn: 1n, lastLsn: 601n, records: 601 });
    expect(report.links).toBeGreaterThan(1);
    const second = [...store.critical.log({ since: { lsn: 2n }, map: "limits", key: "k2" })][0]!;
    expect(second).toMatchObject({
      lsn: 2n,
      kind: "transaction",
      actor: "risk",
      basedOn: ["00ff"],
      changes: [{ map: "limits", key: "k2", before: undefined, after: 2 }],
    });
    const disk = store.disk as SimulatedDisk;
    disk.flipBit(HISTORY, (512 + 300) * 8);
    const bad = store.crash().critical.verifyAudit();
    expect(bad.whole).toBe(false);
    expect(bad.firstBad).toMatchObject({ file: HISTORY, offset: 512, firstLsn: 1n });
    expect(bad.firstBad!.lastLsn).toBeGreaterThan(1n);
    disk.flipBit(HISTORY, (512 + 300) * 8);
    expect(store.crash().critical.verifyAudit().whole).toBe(true);
  });

  it("notices every bit flipped in a block", async () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m");
    store.critical.commit((tx) => tx.put(map, "k", 1));
    await store.critical.snapshot();
    const disk = store.disk as SimulatedDisk;
    const sizeBytes = disk.stat(HISTORY)!.sizeBytes;
    const bits = [
      ...Array(56 * 8).keys(),
      ...Array.from({ length: (sizeBytes - 512) * 8 }, (_, i) => 512 * 8 + i),
    ];
    for (const bit of bits) {
      disk.flipBit(HISTORY, bit);
      let noticed = false;
      try {
        noticed = !store.critical.verifyAudit().whole;
      } catch (error) {
        noticed = isStoreError(error, "ERR_STORE_VERSION");
      }
      expect(noticed, `bit ${bit}`).toBe(true);
      disk.flipBit(HISTORY, bit);
    }
    expect(store.critical.verifyAudit().whole).toBe(true);
  });

  it("drops whole files beyond its size and says what it no longer has", async () => {
    const store = openTestStore({ history: { keepBytes: 1 } });
    const map = store.critical.map<Uint8Array>("m");
    const noise = new Uint8Array(900_000);
    for (let file = 0; file < 4; file++) {
      for (let i = 0; i < 10; i++) {
        for (let at = 0; at < noise.length; at++) noise[at] = Math.floor(Math.random() * 256);
        store.critical.commit((tx) => tx.put(map, "k", noise));
      }
      await store.critical.snapshot();
    }
    const { firstLsn, files } = store.critical.stats().history;
    expect(files).toBe(2);
    expect(firstLsn).toBeGreaterThan(1n);
    expect(() => map.at(1n)).toThrow(/older than the history kept/);
    expect(store.critical.verifyAudit()).toMatchObject({ whole: true, firstLsn });
    expect(store.crash().critical.verifyAudit()).toMatchObject({ whole: true, firstLsn });
    await store.critical.backup("/copy/critical");
    const copied = { disk: store.disk, directory: "/copy/critical", journal: new MemoryJournal() };
    expect(openTestStore(copied).critical.verifyAudit()).toMatchObject({ whole: true, firstLsn });
    // What was dropped since is said to be; a file more than that was removed by somebody.
    const [oldest] = store.disk.list("/store/critical/history").filter((name) => name.endsWith(".hist"));
    store.disk.remove(`/store/critical/history/${oldest}`);
    expect(store.crash().critical.verifyAudit()).toMatchObject({
      whole: false,
      firstBad: { firstLsn, problem: expect.stringMatching(/missing/) },
    });
  });
});
