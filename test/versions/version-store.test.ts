import { beforeEach, describe, expect, it } from "vitest";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { LOG_HEADER_BYTES } from "../../src/versions/log-format.ts";
import { VersionStore } from "../../src/versions/version-store.ts";

const storeId = Buffer.alloc(16, 9);
const directory = "/versions";

let disk: SimulatedDisk;

beforeEach(() => {
  disk = new SimulatedDisk();
  VersionStore.create({ disk, directory, storeId });
  disk.syncDirectory("/");
});

function open(on = disk, readOnly = false): Promise<VersionStore> {
  return VersionStore.open({ disk: on, directory, storeId, readOnly, nowUs: () => 1n });
}

function put(store: VersionStore, key: string, value: unknown) {
  return store.commit(() => [{ map: "m", key, value }]);
}

function keysOf(store: VersionStore): string[] {
  return [...store.entries("m")].map(([key]) => key);
}

/** The log as it is, and the mark as it was some commits ago: what a power cut may leave, for the mark is never synced. */
function setBackMark(on: SimulatedDisk, mark: Uint8Array | undefined): void {
  on.remove(`${directory}/mark`);
  if (mark === undefined) return;
  const file = on.open(`${directory}/mark`, { access: "write", create: "must" });
  file.writeSync(mark, 0);
  file.close();
}

function bytesOf(on: SimulatedDisk, name: string): Buffer {
  const file = on.open(`${directory}/${name}`, { access: "read" });
  const bytes = Buffer.alloc(file.sizeBytes());
  file.readSync(bytes, 0);
  file.close();
  return bytes;
}

function overwrite(on: SimulatedDisk, name: string, at: number, bytes: Uint8Array): void {
  const file = on.open(`${directory}/${name}`, { access: "write" });
  file.writeSync(bytes, at);
  file.close();
}

const code = (wanted: string) => expect.toSatisfy((error) => isStoreError(error) && error.code === wanted);

describe("the version store", () => {
  it("shows acknowledged records at once when a power cut has set the mark back", async () => {
    const store = await open();
    await put(store, "a", 1);
    const mark = bytesOf(disk, "mark");
    await put(store, "b", 2);
    await put(store, "c", 3);
    for (const left of [mark, undefined, Buffer.alloc(32, 7)]) {
      for (const readOnly of [false, true]) {
        const found = disk.killed();
        setBackMark(found, left);
        expect(keysOf(await open(found, readOnly))).toEqual(["a", "b", "c"]);
      }
    }
  });

  it("cuts off a torn record and goes on after it", async () => {
    const store = await open();
    await put(store, "a", 1);
    const whole = bytesOf(disk, "log");
    await put(store, "b", 2);
    const found = disk.killed();
    setBackMark(found, undefined);
    overwrite(found, "log", whole.byteLength + 30, Buffer.from("torn"));
    const again = await open(found);
    expect(keysOf(again)).toEqual(["a"]);
    await put(again, "c", 3);
    expect(keysOf(await open(found.killed()))).toEqual(["a", "c"]);
  });

  it("refuses to open over a damaged record that good ones follow, wherever the mark stands", async () => {
    const store = await open();
    await put(store, "a", 1);
    await put(store, "b", 2);
    const mark = bytesOf(disk, "mark");
    await put(store, "c", 3);
    for (const left of [mark, undefined]) {
      const found = disk.killed();
      setBackMark(found, left);
      found.flipBit(`${directory}/log`, (LOG_HEADER_BYTES + 30) * 8);
      await expect(open(found)).rejects.toThrowError(code("ERR_STORE_CORRUPT"));
      await expect(open(found, true)).rejects.toThrowError(code("ERR_STORE_CORRUPT"));
    }
  });

  it("refuses to open when records the mark speaks of are gone", async () => {
    const store = await open();
    await put(store, "a", 1);
    await put(store, "b", 2);
    const found = disk.killed();
    const log = found.open(`${directory}/log`, { access: "write" });
    log.truncate(LOG_HEADER_BYTES + 512);
    log.close();
    await expect(open(found)).rejects.toThrowError(code("ERR_STORE_CORRUPT"));
  });

  it("leaves nothing of a record whose write failed, and goes on", async () => {
    for (const effect of [{ kind: "EIO" }, { kind: "ENOSPC", shortBytes: 100 }] as const) {
      disk = new SimulatedDisk();
      VersionStore.create({ disk, directory, storeId });
      const store = await open();
      await put(store, "a", 1);
      disk.inject({ on: "write", path: "/log", effect });
      await expect(put(store, "lost", 0)).rejects.toThrowError();
      expect(keysOf(await open(disk.killed()))).toEqual(["a"]);
      await put(store, "b", 2);
      expect(keysOf(await open(disk.killed()))).toEqual(["a", "b"]);
    }
  });

  it("acknowledges nothing after a failed sync, and another process builds on nothing the sync did not write", async () => {
    const store = await open();
    await put(store, "a", 1);
    disk.inject({ on: "sync", path: "/log", effect: { kind: "EIO" } });
    await expect(put(store, "lost", 0)).rejects.toThrowError(code("ERR_IO"));
    await expect(put(store, "after", 0)).rejects.toThrowError(code("ERR_POISONED"));
    // The page cache of the same machine, where the failed pages pass for clean.
    const other = await open();
    expect(keysOf(other)).toEqual(["a"]);
    await put(other, "b", 2);
    const random = new Random(5);
    for (let i = 0; i < 20; i++) expect(keysOf(await open(disk.crashed(random)))).toEqual(["a", "b"]);
  });

  it("acknowledges a durable record even if its mark cannot be written", async () => {
    const store = await open();
    await put(store, "a", 1);
    disk.inject({ on: "write", path: "/mark", effect: { kind: "ENOSPC" } });
    await put(store, "b", 2);
    expect(keysOf(await open(disk.killed()))).toEqual(["a", "b"]);
  });

  it("never tears an acknowledged record by appending the next one", async () => {
    const store = await open();
    for (const key of ["a", "b", "c"]) await put(store, key, 1);
    const log = disk.open(`${directory}/log`, { access: "write" });
    log.writeSync(Buffer.alloc(700, 0xee), log.sizeBytes());
    const random = new Random(6);
    for (let i = 0; i < 40; i++) expect(keysOf(await open(disk.crashed(random)))).toEqual(["a", "b", "c"]);
  });

  it("lets two processes append in turn, each building on the other", async () => {
    const [one, two] = [await open(), await open()];
    await put(one, "a", 1);
    const committed = await two.commit(() => [{ map: "m", key: "n", value: keysOf(two).length }]);
    expect(committed.seq).toBe(2n);
    one.refresh();
    expect(one.get("m", "n")?.value).toBe(1);
    await Promise.all([put(one, "b", 1), put(two, "c", 1), put(one, "d", 1), put(two, "e", 1)]);
    one.refresh();
    two.refresh();
    expect(keysOf(one)).toEqual(keysOf(two));
    expect(keysOf(one).length).toBe(6);
    expect(one.seq).toBe(6n);
  });

  it("writes nothing when a change is refused while it is built", async () => {
    const store = await open();
    const before = bytesOf(disk, "log").byteLength;
    await expect(
      store.commit(() => {
        throw new Error("refused");
      }),
    ).rejects.toThrowError("refused");
    expect(bytesOf(disk, "log").byteLength).toBe(before);
    await put(store, "a", 1);
  });

  it("refuses a record over the limit and takes one just below it", async () => {
    const store = await open();
    await expect(put(store, "big", Buffer.alloc(1 << 20))).rejects.toThrowError(code("ERR_LIMIT"));
    await put(store, "fits", Buffer.alloc((1 << 20) - 100));
    expect(keysOf(await open(disk.killed()))).toEqual(["fits"]);
  });

  it("changes nothing when it was opened for reading", async () => {
    const store = await open(disk, true);
    await expect(put(store, "a", 1)).rejects.toThrowError(code("ERR_INVALID_ARGUMENT"));
  });

  it("keeps time going forward when the clock goes back", async () => {
    const store = await open();
    const first = await put(store, "a", 1);
    const second = await put(store, "b", 1);
    expect(second.timeUs).toBeGreaterThan(first.timeUs);
  });
});
