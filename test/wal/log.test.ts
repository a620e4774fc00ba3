import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { realDisk } from "../../src/disk/real-disk.ts";
import { isStoreError, type StoreError } from "../../src/errors.ts";
import { WAL_RECORD_BYTES_MAX } from "../../src/limits.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import { openLog } from "../../src/wal/open-log.ts";
import { createThreadCarrier } from "../../src/wal/thread-carrier.ts";
import { record, STORE_ID, setLogs } from "./set-logs.ts";

/** Not sealed before they are closed: a seal is a write too, and writes are counted. */
const logs = setLogs({ sealAfterMs: 1e9 });
const { open } = logs;

function texts(log: WriteAheadLog, lsn = log.firstLsn): string[] {
  return [...log.read(lsn)].map(
    (entry) => `${entry.lsn}:${new TextDecoder().decode(entry.payload.subarray(0, 20))}`,
  );
}

/** Waits for what happens off this thread, however busy the machine is. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

function errorOf(action: () => unknown): StoreError {
  try {
    action();
  } catch (error) {
    if (isStoreError(error)) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

describe("the write-ahead log on a real disk", () => {
  it("keeps records in order across closing and opening", async () => {
    const log = open();
    expect([log.durableLsn, log.firstLsn]).toEqual([0n, 1n]);
    expect(log.appendSync(record("one"))).toEqual({ lsn: 1n });
    expect(await log.append(record("two"))).toEqual({ lsn: 2n });
    expect(log.durableLsn).toBe(2n);
    expect(texts(log)).toEqual(["1:one", "2:two"]);
    await log.close();
    const again = open();
    expect(again.durableLsn).toBe(2n);
    expect(again.stats().epoch).toBe(2);
    expect(again.stats().open.torn).toBeUndefined();
    expect(again.appendSync(record("three"))).toEqual({ lsn: 3n });
    expect(texts(again, 2n)).toEqual(["2:two", "3:three"]);
    expect(texts(again, 4n)).toEqual([]);
  });

  it("copies a record before the call returns", async () => {
    const log = open();
    const one = record("one");
    const appended = log.append(one);
    one.payload.fill(0);
    await appended;
    expect(texts(log)).toEqual(["1:one"]);
  });

  it("lets synchronous and grouped appends meet, in the order of the calls", async () => {
    const log = open();
    const results: bigint[] = [];
    const appends: Promise<unknown>[] = [];
    for (let round = 0; round < 200; round++) {
      for (let each = 0; each < 3; each++) {
        appends.push(log.append(record(`${round}a${each}`)).then(({ lsn }) => results.push(lsn)));
      }
      if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      expect(log.appendSync(record(`${round}s`)).lsn).toBe(BigInt(round * 4 + 4));
    }
    await Promise.all(appends);
    expect(results).toEqual([...results].sort((a, b) => Number(a - b)));
    expect(texts(log).length).toBe(800);
    expect(texts(log)[403]).toBe("404:100s");
    expect(log.stats().groupRecordsMax).toBeGreaterThan(1);
  });

  it("shares one write between records that wait together", async () => {
    const log = open({ segmentBlocks: 64 });
    await log.append(record("first"));
    const before = log.stats();
    await Promise.all(Array.from({ length: 50 }, (_, index) => log.append(record(`r${index}`))));
    const after = log.stats();
    expect(after.records - before.records).toBe(50);
    expect(after.writes - before.writes).toBeLessThanOrEqual(3);
  });

  it("takes a record of many blocks, at the limit and not past it", async () => {
    const log = open({ segmentBlocks: 600 });
    expect(log.recordBytesMax).toBe(WAL_RECORD_BYTES_MAX);
    const large = new Uint8Array(WAL_RECORD_BYTES_MAX).map((_, index) => index % 251);
    log.appendSync({ payload: large, timeUs: 9n });
    const past = { payload: new Uint8Array(WAL_RECORD_BYTES_MAX + 1), timeUs: 9n };
    expect(errorOf(() => log.appendSync(past))).toMatchObject({ code: "ERR_LIMIT" });
    await expect(log.append(past)).rejects.toMatchObject({ code: "ERR_LIMIT" });
    log.appendSync(record("after"));
    await log.close();
    const [first, second] = [...open().read(1n)];
    expect(Buffer.compare(first!.payload, large)).toBe(0);
    expect([first!.timeUs, second!.lsn]).toEqual([9n, 2n]);
  });

  it("queues what does not fit one write, and keeps its order", async () => {
    const log = open({ segmentBlocks: 16 });
    const size = 30_000;
    const appends = Array.from({ length: 12 }, (_, index) =>
      log.append({ payload: new Uint8Array(size).fill(index), timeUs: BigInt(index) }),
    );
    expect((await Promise.all(appends)).map(({ lsn }) => Number(lsn))).toEqual(
      Array.from(appends, (_, i) => i + 1),
    );
    expect([...log.read(1n)].map(({ payload }) => payload[0])).toEqual(Array.from(appends, (_, i) => i));
  });

  it("reuses segments that were trimmed, round and round", async () => {
    const log = open({ segmentBlocks: 8 });
    const files = () => readdirSync(logs.directory).filter((name) => name.endsWith(".seg"));
    const inodes = new Set<bigint>();
    for (let lsn = 1n; lsn <= 200n; lsn++) {
      log.appendSync(record(`r${lsn}`));
      if (lsn % 5n !== 0n) continue;
      log.trim(lsn - 2n);
      // Blocks before this record's are the open block's and one for each record.
      const current = `wal-${String(1 + Math.floor(Number(lsn) / 8)).padStart(12, "0")}.seg`;
      await until(() => files().filter((name) => name > current).length >= 2);
      for (const name of files()) inodes.add(realDisk.stat(join(logs.directory, name))!.inode);
    }
    expect(files()[0]! > "wal-000000000010.seg").toBe(true);
    // Two dozen segments were filled with fewer files.
    expect(inodes.size).toBeLessThan(20);
    expect(log.firstLsn).toBeGreaterThan(180n);
    expect(errorOf(() => [...log.read(1n)])).toMatchObject({ code: "ERR_NOT_FOUND" });
    await log.close();
    const again = open();
    expect(again.durableLsn).toBe(200n);
    expect(texts(again, 198n)).toEqual(["198:r198", "199:r199", "200:r200"]);
  });

  it("never trims what it is writing to, even when asked for everything", async () => {
    const log = open({ segmentBlocks: 8 });
    for (let lsn = 1; lsn <= 20; lsn++) log.appendSync(record(`r${lsn}`));
    log.trim(1_000_000n);
    log.appendSync(record("next"));
    await log.close();
    expect(open().durableLsn).toBe(21n);
  });

  it("seals the last write when nothing follows, once", async () => {
    const log = open({ sealAfterMs: 20 });
    log.appendSync(record("one"));
    await until(() => log.stats().sealBlocks === 1);
    await log.append(record("two"));
    await until(() => log.stats().sealBlocks === 2);
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(log.stats().sealBlocks).toBe(2);
    expect(log.stats().deviceBytes).toBe(4 * 4096);
  });

  it("refuses a second writer, naming the first, until that one lets go", async () => {
    const log = open();
    const refused = errorOf(() => openLog({ disk: realDisk, directory: logs.directory, storeId: STORE_ID }));
    expect(refused).toMatchObject({
      code: "ERR_STORE_LOCKED",
      retryable: true,
      context: { pid: process.pid },
    });
    await log.close();
    open();
  });

  it("refuses the blocks of another store", async () => {
    const log = open();
    log.appendSync(record("one"));
    await log.close();
    const refused = errorOf(() =>
      openLog({ disk: realDisk, directory: logs.directory, storeId: new Uint8Array(16) }),
    );
    expect(refused).toMatchObject({ code: "ERR_STORE_CORRUPT" });
    expect(refused.message).toContain("another store");
  });

  it("keeps its segment size, whatever it is opened with, and bounds it", async () => {
    const log = open({ segmentBlocks: 16 });
    log.appendSync(record("one"));
    await log.close();
    expect(open({ segmentBlocks: 32 }).stats().segmentBytes).toBe(16 * 4096);
    for (const segmentBlocks of [3, 65_537, 4.5]) {
      const options = {
        disk: realDisk,
        directory: join(logs.root, "other"),
        storeId: STORE_ID,
        segmentBlocks,
      };
      expect(errorOf(() => openLog(options)).code).toBe("ERR_LIMIT");
    }
  });

  it("removes what a crash left half-made", async () => {
    await open().close();
    writeFileSync(join(logs.directory, "wal-new-1.tmp"), "half");
    open();
    expect(readdirSync(logs.directory)).not.toContain("wal-new-1.tmp");
  });

  it.each(["direct", "dsync", "fdatasync"] as const)(
    "works by %s where the file system allows it",
    async (durable) => {
      let log: WriteAheadLog;
      try {
        log = open({ durable });
      } catch (error) {
        expect(durable).toBe("direct");
        expect(error).toMatchObject({ code: "ERR_IO" });
        return;
      }
      log.appendSync(record("one"));
      await log.append(record("two"));
      expect(log.stats().durability).toBe(durable);
      expect(texts(log)).toEqual(["1:one", "2:two"]);
    },
  );

  it("ends with ERR_CLOSED after close", async () => {
    const log = open();
    await log.close();
    await log.close();
    expect(errorOf(() => log.appendSync(record("x"))).code).toBe("ERR_CLOSED");
    await expect(log.append(record("x"))).rejects.toMatchObject({ code: "ERR_CLOSED" });
    expect(errorOf(() => log.trim(1n)).code).toBe("ERR_CLOSED");
  });

  it("writes what was handed over when it is closed", async () => {
    const log = open();
    const appends = Array.from({ length: 40 }, (_, index) => log.append(record(`r${index}`)));
    await log.close();
    expect((await Promise.all(appends)).length).toBe(40);
    expect(open().durableLsn).toBe(40n);
  });
});

describe("callers that wait for the same write", () => {
  const CALLERS = 64;
  const ROUNDS = 10;

  /** Each of them appends again and again, `pause` after each answer; returns the answers in their order. */
  async function keepAppending(
    log: WriteAheadLog,
    pause: () => Promise<void> | undefined,
  ): Promise<bigint[]> {
    const lsns: bigint[] = [];
    const caller = async (name: number) => {
      for (let round = 0; round < ROUNDS; round++) {
        const { lsn } = await log.append(record(`${name}:${round}`));
        lsns.push(lsn);
        await pause();
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, (_, name) => caller(name)));
    return lsns;
  }

  it("take turns in two halves when they come back at once", async () => {
    const log = open();
    const lsns = await keepAppending(log, () => undefined);
    expect(lsns).toEqual(Array.from({ length: CALLERS * ROUNDS }, (_, index) => BigInt(index + 1)));
    const { writes, groupRecordsMax } = log.stats();
    expect(groupRecordsMax).toBe(CALLERS);
    // One write of all, then two for every round.
    expect(writes).toBe(1 + 2 * (ROUNDS - 1));
    await log.close();
    expect(open().durableLsn).toBe(BigInt(CALLERS * ROUNDS));
  });

  it("share one again when they come back together in a later turn of the event loop", async () => {
    const log = open();
    let together: Promise<void> | undefined;
    await keepAppending(log, () => {
      together ??= new Promise((resolve) => {
        setTimeout(() => {
          together = undefined;
          resolve();
        }, 5);
      });
      return together;
    });
    expect(log.stats().writes).toBe(ROUNDS);
    await log.close();
  });

  it("are answered when the disk takes longer than the event loop is watched for it", async () => {
    const script = new URL("./fixtures/slow-worker.mjs", import.meta.url);
    const log = open({ createCarrier: (options) => createThreadCarrier({ ...options, script }) });
    const lsns = await keepAppending(log, () => undefined);
    expect(lsns.at(-1)).toBe(BigInt(CALLERS * ROUNDS));
    await log.close();
  });
});

describe("a log worker that dies in the middle of a write", () => {
  const script = new URL("./fixtures/dying-worker.mjs", import.meta.url);
  const dying = () => open({ createCarrier: (options) => createThreadCarrier({ ...options, script }) });

  it("fails the waiting appends with ERR_POISONED, and every later one", async () => {
    const log = dying();
    const appends = [1, 2, 3].map((index) => log.append(record(`r${index}`)));
    for (const append of appends) await expect(append).rejects.toMatchObject({ code: "ERR_POISONED" });
    await expect(log.append(record("x"))).rejects.toMatchObject({ code: "ERR_POISONED" });
    expect(errorOf(() => log.appendSync(record("x"))).code).toBe("ERR_POISONED");
    await log.close();
    expect(open().durableLsn).toBe(0n);
  });

  it("fails a synchronous append that waits for it instead of hanging it", async () => {
    const log = dying();
    const append = log.append(record("one"));
    append.catch(() => {});
    await new Promise((resolve) => queueMicrotask(() => resolve(undefined)));
    // Until the worker has the write this thread stays blocked, so that it cannot hear of the worker's end.
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (!existsSync(join(logs.directory, "taken"))) Atomics.wait(pause, 0, 0, 5);
    expect(errorOf(() => log.appendSync(record("two"))).code).toBe("ERR_POISONED");
    await expect(append).rejects.toMatchObject({ code: "ERR_POISONED" });
  });
});
