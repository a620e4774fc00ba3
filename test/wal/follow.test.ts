import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Disk, DiskFile } from "../../src/disk/disk.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { LogFollower } from "../../src/wal/follow-log.ts";
import { inspectLog, renderBlock } from "../../src/wal/inspect.ts";
import type { JournalEntry } from "../../src/wal/journal.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import { openLog } from "../../src/wal/open-log.ts";

const STORE_ID = new Uint8Array(16).fill(7);
const record = (text: string) => ({ payload: new TextEncoder().encode(text), timeUs: 1n });

let directory: string;
let log: WriteAheadLog | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-follow-"));
});
afterEach(async () => {
  await log?.close();
  rmSync(directory, { recursive: true });
});

function open(sealAfterMs = 1e6): WriteAheadLog {
  log = openLog({ disk: realDisk, directory, storeId: STORE_ID, segmentBlocks: 8, sealAfterMs });
  return log;
}

const follow = (fromLsn = 1n) => new LogFollower({ disk: realDisk, directory, storeId: STORE_ID, fromLsn });
const texts = (entries: JournalEntry[]) =>
  entries.map(({ payload }) => new TextDecoder().decode(payload).slice(0, 10));

describe("following a log that another opening writes", () => {
  it("shows what is known durable, and the rest once the next write or the seal says so", async () => {
    const writer = open();
    const follower = follow();
    writer.appendSync(record("one"));
    expect(texts(follower.refresh())).toEqual([]);
    writer.appendSync(record("two"));
    expect(texts(follower.refresh())).toEqual(["one"]);
    expect(follower.writer).toEqual({ pid: process.pid });
    await writer.close();
    expect(follower.writer).toBeUndefined();
    expect(texts(follower.refresh())).toEqual(["two"]);
    expect(follower.lsn).toBe(2n);
    const again = open(20);
    again.appendSync(record("three"));
    while (again.stats().sealBlocks === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(texts(follower.refresh())).toEqual(["three"]);
  });

  it("keeps up over many segments and records of many blocks", async () => {
    const writer = open();
    const follower = follow();
    const seen: string[] = [];
    for (let index = 0; index < 120; index++) {
      writer.appendSync(record(`${index} `.padEnd(index % 7 === 0 ? 9000 : 10)));
      if (index % 5 === 0) seen.push(...texts(follower.refresh()));
    }
    await writer.close();
    seen.push(...texts(follower.refresh()));
    expect(seen.map((text) => Number.parseInt(text, 10))).toEqual(
      Array.from({ length: 120 }, (_, index) => index),
    );
    expect(texts(follow(100n).refresh()).length).toBe(21);
  });

  it("says so when what it wanted was trimmed meanwhile", async () => {
    const writer = open();
    const follower = follow();
    for (let index = 0; index < 10; index++) writer.appendSync(record(`${index}`));
    follower.refresh();
    for (let index = 10; index < 60; index++) {
      writer.appendSync(record(`${index}`));
      writer.trim(BigInt(index));
      await new Promise((resolve) => setImmediate(resolve));
    }
    // The segment that the follower has come to goes in the background.
    await expect.poll(() => readdirSync(directory)).not.toContain("wal-000000000002.seg");
    writer.appendSync(record("last"));
    await writer.close();
    expect(() => follower.refresh()).toThrow(expect.objectContaining({ code: "ERR_NOT_FOUND" }));
    expect(() => follow(5n).refresh()).toThrow(expect.objectContaining({ code: "ERR_NOT_FOUND" }));
    expect(texts(follow(60n).refresh())).toEqual(["59", "last"]);
  });

  it("finds nothing where there is no log", () => {
    expect(follow().refresh()).toEqual([]);
  });
});

describe("inspecting a log", () => {
  it("tells every block and what recovery would say", async () => {
    const writer = open();
    writer.appendSync(record("one"));
    writer.appendSync(record("x".repeat(6000)));
    await writer.close();
    const found = inspectLog(realDisk, directory);
    expect(found.verdict).toMatchObject({ nextLsn: 3, topEpoch: 1, torn: undefined });
    const lines = [...found.blocks].map(renderBlock);
    expect(lines.length).toBeGreaterThanOrEqual(6);
    expect(lines[0]).toMatch(/^wal-000000000001\.seg\s+0\s+#8 {2}open \(epoch 1, /);
    expect(lines[1]).toMatch(/LSN 1 \(3 B\)/);
    expect(lines[2]).toMatch(/part of a record/);
    expect(lines[3]).toMatch(/LSN 2 \(6000 B\)/);
    expect(lines[4]).toMatch(/seal/);
    expect(lines[5]).toMatch(/never written \(3 blocks\)/);
  });

  it("takes what a living writer wrote while it looked for no damage", async () => {
    const writer = open();
    for (const text of ["one", "two", "three"]) writer.appendSync(record(text));
    // As if the second record had come when its place had been read, and the third had still been seen.
    let looks = 0;
    const readSync = (file: DiskFile) => (bytes: Uint8Array, position: number) => {
      const count = file.readSync(bytes, position);
      if (bytes.byteLength === 8 * 4096 && looks++ === 0) bytes.fill(0, 2 * 4096, 3 * 4096);
      return count;
    };
    const disk = new Proxy(realDisk, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== "function") return value;
        if (name !== "open") return value.bind(target);
        return (...args: Parameters<Disk["open"]>) => {
          const file = target.open(...args);
          return new Proxy(file, {
            get: (its, called) => {
              const own: unknown = Reflect.get(its, called);
              if (called === "readSync") return readSync(file);
              return typeof own === "function" ? own.bind(its) : own;
            },
          });
        };
      },
    });
    expect(inspectLog(disk, directory).verdict).toMatchObject({ nextLsn: 4, torn: undefined });
    expect(looks).toBeGreaterThan(1);
  });

  it("works on a damaged log and names the damage", async () => {
    const writer = open();
    for (const text of ["one", "two", "three"]) writer.appendSync(record(text));
    await writer.close();
    const file = realDisk.open(join(directory, "wal-000000000001.seg"), { access: "write" });
    const byte = new Uint8Array(1);
    file.readSync(byte, 2 * 4096 + 50);
    byte[0]! ^= 0xff;
    file.writeSync(byte, 2 * 4096 + 50);
    file.close();
    const found = inspectLog(realDisk, directory);
    expect(found.verdict).toMatchObject({ error: expect.stringContaining("ERR_STORE_CORRUPT") });
    const lines = [...found.blocks].map(renderBlock);
    expect(lines[2]).toMatch(/no sound block/);
    expect(lines[3]).toMatch(/not part of the chain/);
  });
});
