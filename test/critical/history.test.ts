import { describe, expect, it } from "vitest";
import type { Critical } from "../../src/critical/critical.ts";
import { BLOCK_HEADER_BYTES, NO_LINK } from "../../src/critical/history-format.ts";
import { blockPlaces } from "../../src/critical/history-reader.ts";
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

  it("answers nothing from a block whose header or filter has changed", async () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m");
    for (let i = 1; i <= 9; i++) {
      store.critical.commit((tx) => tx.put(map, "k", i));
      if (i % 3 === 0) await store.critical.snapshot();
    }
    const disk = store.disk as SimulatedDisk;
    const [, middle] = blockPlaces(disk, HISTORY, disk.stat(HISTORY)!.sizeBytes);
    const bytes = BLOCK_HEADER_BYTES + middle!.filterBytes;
    const asked = {
      history: (crashed: typeof store) =>
        [...crashed.critical.map("m").history("k")].map(({ after }) => after),
      at: (crashed: typeof store) => crashed.critical.map("m").at(4n).get("k"),
      time: (crashed: typeof store) => crashed.critical.map("m").at({ timeUs: timeOf(5) }).lsn,
    };
    const times = [...map.history("k")].map(({ timeUs }) => timeUs);
    const timeOf = (lsn: number) => times[lsn - 1]!;
    const whole = Object.values(asked).map((ask) => ask(store.crash()));
    for (let bit = 32 + Math.floor(Math.random() * 17); bit < bytes * 8; bit += 17) {
      disk.flipBit(HISTORY, middle!.offset * 8 + bit);
      for (const [index, ask] of Object.values(asked).entries()) {
        let told: unknown;
        try {
          told = ask(store.crash());
        } catch (error) {
          if (isStoreError(error, "ERR_STORE_CORRUPT")) continue;
          throw error;
        }
        expect(told, `bit ${bit}`).toEqual(whole[index]);
      }
      disk.flipBit(HISTORY, middle!.offset * 8 + bit);
    }
  });

  it("never answers past a gap, and a past map ends with what was kept of its time", async () => {
    const store = openTestStore();
    const map = store.critical.map<unknown>("m");
    const noise = new Uint8Array(900_000);
    for (let file = 0; file < 3; file++) {
      for (let i = 0; i < 10; i++) {
        for (let at = 0; at < noise.length; at++) noise[at] = Math.floor(Math.random() * 256);
        store.critical.commit((tx) => tx.put(map, "noise", noise));
        if (i === 5) store.critical.commit((tx) => tx.put(map, "k", file));
      }
      await store.critical.snapshot();
    }
    const names = store.disk.list("/store/critical/history");
    expect(names.length).toBeGreaterThanOrEqual(3);
    const disk = (store.disk as SimulatedDisk).killed();
    const past = map.at(7n);
    expect(past.get("k")).toBe(0);

    // The file in which the second of the three changes lies.
    const starts = names.map((name) => Number(name.slice(0, 16)));
    const lost = starts.findLastIndex((start) => start <= 18);
    const [second, third] = [starts[lost]!, starts[lost + 1]!];
    expect(second).toBeGreaterThan(7);
    disk.remove(`/store/critical/history/${names[lost]}`);
    const { critical } = openTestStore({ disk, journal: store.journal.crashed() });
    const gap = new RegExp(`history of LSN ${second} to ${third - 1} is missing`);
    expect(() => critical.map("m").at(7n).get("k")).toThrow(gap);
    expect(() => [...critical.map("m").at(7n).entries()]).toThrow(gap);
    expect(() => [...critical.map("m").history("k")]).toThrow(gap);
    expect(() => [...critical.log()]).toThrow(gap);
    expect(critical.map("m").at(33n).get("k")).toBe(2);
    expect(critical.verifyAudit().whole).toBe(false);

    // A history whose oldest file is damaged is no reason to take no snapshots, nor to keep more than was asked for.
    const rotten = (store.disk as SimulatedDisk).killed();
    rotten.flipBit(HISTORY, (512 + 30) * 8);
    const again = openTestStore({ disk: rotten, journal: store.journal.crashed() });
    again.critical.commit((tx) => tx.put(again.critical.map("m"), "more", 1));
    await again.critical.snapshot();
    const small = again.crash({ history: { keepBytes: 1 } });
    await small.critical.snapshot();
    expect(small.critical.stats().history.files).toBe(2);

    // The same past map once its time is no longer kept.
    const held = store.crash({ history: { keepBytes: 1 } });
    const old = held.critical.map("m").at(7n);
    expect(old.get("k")).toBe(0);
    await held.critical.snapshot();
    expect(() => old.get("k")).toThrow(/older than the history kept/);
    expect(() => [...old.entries()]).toThrow(/older than the history kept/);
  });

  it("still holds, and finds, a head that somebody noted, whatever came between", async () => {
    expect(openTestStore().critical.verifyAudit({ head: NO_LINK.toString("hex") }).headLsn).toBe(0n);
    const store = await filledStore();
    const sealed = store.critical.verifyAudit().head;
    const more = async (to: Critical) => {
      const map = to.map<number>("limits");
      const before = to.verifyAudit().head;
      // Until another block is written.
      for (let i = 0; to.verifyAudit().head === before; i++) {
        for (let k = 0; k < 50; k++)
          to.commit((tx) => tx.put(map, `k${k}`, i), { reason: `${i} ${"y".repeat(300)}` });
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return to.verifyAudit();
    };
    const found = (critical: Critical, head: string) => critical.verifyAudit({ head }).headLsn;
    const noted = await more(store.critical);
    expect(noted.head).not.toBe(sealed);
    const lsn = found(store.critical, noted.head)!;
    expect(lsn).toBeGreaterThan(601n);

    // No snapshot has covered it: its blocks come again from the log, at this opening or at one after it.
    let crashed = store.crash();
    for (let opening = 0; opening < 3; opening++) {
      expect(found(crashed.critical, noted.head)).toBe(lsn);
      expect(found(crashed.critical, sealed)).toBe(600n);
      crashed.critical.commit((tx) => tx.put(crashed.critical.map("limits"), "few", opening));
      crashed = crashed.crash();
    }
    await more(crashed.critical);
    expect(found(crashed.critical, noted.head)).toBe(lsn);
    crashed = crashed.crash();
    const later = await more(crashed.critical);
    await crashed.critical.snapshot();
    for (const { critical } of [crashed, crashed.crash()]) {
      expect(critical.verifyAudit().whole).toBe(true);
      expect(found(critical, noted.head)).toBe(lsn);
      expect(found(critical, later.head)).toBeGreaterThan(lsn);
      expect(found(critical, NO_LINK.toString("hex"))).toBe(0n);
      expect(
        found(
          critical,
          later.head.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
        ),
      ).toBeUndefined();
    }
    // The same commits at other times are another trail.
    expect(found((await filledStore()).critical, sealed)).toBeUndefined();
    for (const head of ["", "zz", `${sealed}00`, 5]) {
      expect(() => found(store.critical, head as string)).toThrow(/64 hex digits/);
    }
  });
});
