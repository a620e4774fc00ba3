import { describe, expect, it } from "vitest";
import type { Critical } from "../../src/critical/critical.ts";
import type { Disk, FileStat } from "../../src/disk/disk.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { NAME_BYTES_MAX } from "../../src/limits.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { openTestStore } from "./store.ts";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
  return "no error";
}

const next = (critical: Critical, name = "nonce") => critical.sequence(name).next();

function copyFile(disk: Disk, from: string, to: string): void {
  const source = disk.open(from, { access: "read" });
  const bytes = Buffer.alloc(source.sizeBytes());
  source.readSync(bytes, 0);
  source.close();
  disk.remove(to);
  const target = disk.open(to, { access: "write", create: "must" });
  target.writeSync(bytes, 0);
  target.close();
}

describe("a sequence", () => {
  it("goes on after a crash and gives a number of a failed transaction out again", () => {
    const store = openTestStore();
    expect([next(store.critical), next(store.critical)]).toEqual([1n, 2n]);
    const again = store.crash();
    expect(() =>
      again.critical.commit((tx) => {
        expect(tx.next(again.critical.sequence("nonce"))).toBe(3n);
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(next(again.critical)).toBe(3n);
  });

  it("with a reservation writes once for many numbers and skips the rest after a crash, not after a close", async () => {
    const store = openTestStore();
    const nonce = store.critical.sequence("nonce", { reserve: 100 });
    for (let i = 1n; i <= 50n; i++) expect(nonce.next()).toBe(i);
    expect(store.critical.lsn).toBe(1n);
    const crashed = store.crash();
    expect(next(crashed.critical)).toBe(101n);
    const other = openTestStore();
    other.critical.sequence("nonce", { reserve: 100 }).next();
    await other.critical.close();
    expect(next(other.crash().critical)).toBe(2n);
  });

  it("never acknowledges a number whose reservation is still queued", async () => {
    const store = openTestStore();
    const nonce = store.critical.sequence("nonce", { reserve: 100 });
    const queued = store.critical.commitAsync((tx) => tx.next(nonce));
    const inline = nonce.next();
    expect(inline).toBe(2n);
    expect(next(store.crash().critical)).toBeGreaterThan(inline);
    expect((await queued).value).toBe(1n);
  });

  it("rises to what it is told and to the time, never falls, and starts where it is told", () => {
    let nowUs = 1_700_000_000_000_000;
    const { critical } = openTestStore({ clock: () => nowUs });
    const order = critical.sequence("order", { start: 1000n });
    expect(order.next()).toBe(1000n);
    order.atLeast(5000n);
    order.atLeast(10n);
    expect(order.next()).toBe(5000n);
    const timed = critical.sequence("timed", { floor: "timeUs" });
    expect(timed.next()).toBeGreaterThanOrEqual(1_700_000_000_000_000n);
    nowUs += 1_000_000;
    const later = timed.next();
    expect(later).toBeGreaterThanOrEqual(1_700_000_001_000_000n);
    nowUs -= 5_000_000;
    expect(timed.next()).toBeGreaterThan(later);
    expect(codeOf(() => order.atLeast(-1n))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => critical.sequence("order", { reserve: 0 }))).toBe("ERR_INVALID_ARGUMENT");
  });
});

function withChange(stat: FileStat | undefined, changed: Partial<FileStat>): FileStat | undefined {
  return stat === undefined ? undefined : { ...stat, ...changed };
}

describe("a copy of the store", () => {
  it("is recognized by its inode, refuses numbers, and issues them again once adopted", async () => {
    const store = openTestStore();
    next(store.critical);
    await store.critical.close();
    copyFile(store.disk, "/store/critical/identity", "/store/critical/identity");
    const copy = store.crash();
    expect(codeOf(() => next(copy.critical))).toBe("ERR_SEQUENCE_FENCED");
    expect(codeOf(() => next(copy.critical, "new in the copy"))).toBe("ERR_SEQUENCE_FENCED");
    expect(copy.critical.stats().fence?.detail).toContain("another inode");
    expect(copy.critical.adoptSequence("nonce", 500n)).toBe(500n);
    expect(next(copy.critical)).toBe(500n);
    const again = copy.crash();
    expect(next(again.critical)).toBe(501n);
    expect(codeOf(() => next(again.critical, "new in the copy"))).toBe("ERR_SEQUENCE_FENCED");
    again.critical.adoptMoved();
    expect(next(again.critical, "new in the copy")).toBe(1n);
  });

  it("is recognized by the machine's id; a rename in place is not noticed", async () => {
    const store = openTestStore({ machineId: "one" });
    next(store.critical);
    await store.critical.close();
    expect(next(store.crash().critical)).toBe(2n);
    const elsewhere = store.crash({ machineId: "two" });
    expect(codeOf(() => next(elsewhere.critical))).toBe("ERR_SEQUENCE_FENCED");
    elsewhere.critical.adoptMoved();
    expect(next(elsewhere.critical)).toBe(2n);
    await elsewhere.critical.close();
    expect(next(elsewhere.crash({ machineId: "two" }).critical)).toBe(3n);
  });

  it.each([
    ["another device", { device: 99n }],
    ["another inode", { inode: 99n }],
    ["another birth time", { bornNs: 99n }],
  ])("is recognized by %s, by readers too", async (detail, changed) => {
    const store = openTestStore();
    next(store.critical);
    await store.critical.close();
    const elsewhere = new Proxy(store.disk, {
      get(disk, name) {
        if (name === "stat") return (path: string) => withChange(disk.stat(path), changed);
        const value = Reflect.get(disk, name);
        return typeof value === "function" ? value.bind(disk) : value;
      },
    });
    const reader = openTestStore({ disk: elsewhere, journal: store.journal.crashed(), readOnly: true });
    expect(reader.critical.stats().fence).toMatchObject({ kind: "copy", detail });
    const copy = openTestStore({ disk: elsewhere, journal: store.journal.crashed() });
    expect(codeOf(() => next(copy.critical))).toBe("ERR_SEQUENCE_FENCED");
    expect(copy.critical.stats().fence).toMatchObject({ kind: "copy", detail });
  });

  it.each([
    ["missing", (disk: SimulatedDisk) => disk.remove("/store/critical/identity")],
    ["damaged", (disk: SimulatedDisk) => disk.flipBit("/store/critical/identity", 99)],
  ])("is recognized by an identity that is %s once something was committed", async (_, spoil) => {
    const disk = new SimulatedDisk();
    const store = openTestStore({ disk });
    next(store.critical);
    await store.critical.close();
    spoil(disk);
    const copy = store.crash();
    expect(codeOf(() => next(copy.critical))).toBe("ERR_SEQUENCE_FENCED");
    copy.critical.adoptMoved();
    expect(next(copy.critical)).toBe(2n);
    expect(next(copy.crash().critical)).toBe(3n);
  });

  it("made as a fork refuses numbers like a backup, and says what it is", async () => {
    const store = openTestStore();
    next(store.critical);
    await store.critical.backup("/fork/critical", { kind: "fork" });
    const options = { disk: store.disk, directory: "/fork/critical", journal: new MemoryJournal() };
    const fork = openTestStore(options);
    expect(codeOf(() => next(fork.critical))).toBe("ERR_SEQUENCE_FENCED");
    expect(codeOf(() => fork.critical.adoptMoved())).toBe("ERR_SEQUENCE_FENCED");
    expect(fork.critical.stats().fence?.kind).toBe("fork");
    expect(fork.critical.adoptSequence("nonce", 2n)).toBe(2n);
    expect(next(fork.critical)).toBe(2n);
  });

  it("put back in place is caught by the witness, and only by it", () => {
    const disk = new SimulatedDisk();
    const options = { disk, witness: "/other-device/witness" };
    disk.makeDirectory("/other-device");
    const store = openTestStore(options);
    next(store.critical);
    const old = store.journal.crashed();
    for (let i = 0; i < 5; i++) next(store.critical);
    const rolledBack = openTestStore({ ...options, journal: old.crashed() });
    expect(codeOf(() => next(rolledBack.critical))).toBe("ERR_SEQUENCE_FENCED");
    expect(codeOf(() => rolledBack.critical.adoptMoved())).toBe("ERR_SEQUENCE_FENCED");
    expect(rolledBack.critical.adoptSequence("nonce", 2n)).toBe(7n);
    expect(next(rolledBack.critical)).toBe(7n);
    const unwatched = openTestStore({ disk, journal: old.crashed() });
    expect(next(unwatched.critical)).toBe(2n);
  });

  it("has a witness with room for every sequence that a store may have", () => {
    const disk = new SimulatedDisk();
    const options = { disk, witness: "/other-device/witness" };
    disk.makeDirectory("/other-device");
    const store = openTestStore(options);
    const sequences = Array.from({ length: 4000 }, (_, i) =>
      store.critical.sequence(`${i}`.padEnd(NAME_BYTES_MAX, "n")),
    );
    for (let from = 0; from < sequences.length; from += 500) {
      store.critical.commit((tx) => {
        for (const sequence of sequences.slice(from, from + 500)) tx.next(sequence);
      });
    }
    const old = store.journal.crashed();
    store.critical.commit((tx) => tx.next(sequences.at(-1)!));
    const rolledBack = openTestStore({ ...options, journal: old });
    expect(codeOf(() => next(rolledBack.critical, sequences[0]!.name))).toBe("ERR_SEQUENCE_FENCED");
  });

  it("has a witness that says so when neither of its slots reads", () => {
    const disk = new SimulatedDisk();
    const options = { disk, witness: "/other-device/witness" };
    disk.makeDirectory("/other-device");
    const store = openTestStore(options);
    next(store.critical);
    next(store.critical);
    for (const bit of [64, 64 + (2 << 20) * 8]) disk.flipBit("/other-device/witness", bit);
    expect(codeOf(() => store.crash())).toBe("ERR_STORE_CORRUPT");
  });
});
