import { mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Critical } from "../../src/critical/critical.ts";
import type { Disk, DiskFile, OpenOptions } from "../../src/disk/disk.ts";
import { realDisk } from "../../src/disk/real-disk.ts";

/** Over a megabyte: another thread is asked to read it. */
const ENTRIES = 8000;
const text = (number: number) => `${number} `.padEnd(200, "abc");

let root: string;
let directory: string;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "varve-ahead-"));
  directory = join(root, "critical");
  const critical = open(realDisk);
  const map = critical.map<string>("texts");
  critical.commit((tx) => {
    for (let i = 0; i < ENTRIES; i++) tx.put(map, `key-${i}`, text(i));
  });
  await critical.snapshot();
  critical.commit((tx) => tx.put(map, "key-0", text(-1)));
  await critical.snapshot();
  critical.commit((tx) => tx.put(map, "key-1", text(-2)));
  await critical.close();
});
afterEach(() => rmSync(root, { recursive: true }));

const warnings: string[] = [];
const open = (disk: Disk) =>
  Critical.open({
    directory,
    disk,
    storeId: new Uint8Array(16).fill(7),
    onWarning: (message) => warnings.push(message),
  });

/** The real disk, but for reads of slots off the calling thread and a look at what is opened. */
function diskThat(read: (file: DiskFile, target: Uint8Array, position: number) => Promise<number>) {
  const events: string[] = [];
  const disk = new Proxy(realDisk, {
    get: (target, name: keyof Disk) => {
      if (name !== "open") return target[name];
      return (path: string, options: OpenOptions) => {
        const file = target.open(path, options);
        const slot = /snapshot-[ab]$/.exec(path)?.[0];
        if (slot === undefined) return file;
        if (options.access === "write") {
          events.push(`${slot} written`);
          return file;
        }
        const ahead = (bytes: Uint8Array, position: number) => {
          events.push(`${slot} read ahead`);
          return read(file, bytes, position);
        };
        return new Proxy(file, {
          get: (of, what: keyof DiskFile) => {
            if (what === "read") return ahead;
            const value = of[what];
            return typeof value === "function" ? value.bind(of) : value;
          },
        });
      };
    },
  });
  return { disk, events };
}

function expectAll(critical: Critical): void {
  const map = critical.map<string>("texts");
  expect(map.size).toBe(ENTRIES);
  for (let i = 0; i < ENTRIES; i++) expect(map.get(`key-${i}`)).toBe(text(i > 1 ? i : i === 0 ? -1 : -2));
}

describe("a snapshot that another thread reads", () => {
  it("is used as it comes", async () => {
    const { disk, events } = diskThat((file, target, position) => file.read(target, position));
    await using critical = { store: open(disk), [Symbol.asyncDispose]: () => critical.store.close() };
    expectAll(critical.store);
    expect(events).toEqual(["snapshot-b read ahead"]);
    expect(critical.store.stats().recovery.damaged).toEqual([]);
  });

  it.each([
    ["nothing", 0],
    ["half of it", 0.5],
    ["all but the end", 0.9999],
  ])("is read again when %s has come, and what comes late changes nothing", async (_, share) => {
    let late = () => {};
    const { disk, events } = diskThat((file, target, position) => {
      file.readSync(target.subarray(0, Math.floor(target.byteLength * share)), position);
      return new Promise((resolve) => {
        late = () => {
          target.fill(0x5a);
          events.push("read");
          resolve(target.byteLength);
        };
      });
    });
    const critical = open(disk);
    const snapshot = critical.snapshot();
    expectAll(critical);
    // However many turns it takes: no slot is written while one is being read.
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    late();
    expectAll(critical);
    await snapshot;
    expect(events.slice(0, 3)).toEqual(["snapshot-b read ahead", "read", "snapshot-a written"]);
    await critical.close();
    const again = open(realDisk);
    expectAll(again);
    await again.close();
  });

  it("is read again when the thread fails", async () => {
    const { disk } = diskThat(() => Promise.reject(new Error("no")));
    const critical = open(disk);
    expectAll(critical);
    await critical.snapshot();
    await critical.close();
  });

  it("is passed over for the one before when it is damaged", async () => {
    const fd = openSync(join(directory, "snapshot-b"), "r+");
    const byte = Buffer.alloc(1);
    readSync(fd, byte, 0, 1, 900_000);
    byte[0]! ^= 4;
    writeSync(fd, byte, 0, 1, 900_000);
    warnings.length = 0;
    const critical = open(realDisk);
    expect(warnings.join()).toContain("snapshot-b is damaged");
    expectAll(critical);
    await critical.close();
  });
});
