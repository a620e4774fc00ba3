import { describe, expect, it } from "vitest";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import { listSegments, segmentName } from "../../src/wal/segments.ts";
import { codeOf, DIRECTORY, look, open } from "./explore.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const OPTIONS = { segmentBlocks: 8 };
const SEGMENT_1 = `${DIRECTORY}/${segmentName(1)}`;
const BLOCK_BITS = 4096 * 8;

const record = (value: number, sizeBytes = 100) => ({
  payload: new Uint8Array(sizeBytes).fill(value),
  timeUs: BigInt(value),
});

function freshDisk(): SimulatedDisk {
  const disk = new SimulatedDisk({ seed });
  disk.makeDirectory("/store");
  disk.syncDirectory("/");
  return disk;
}

function values(log: WriteAheadLog): number[] {
  return [...log.read(log.firstLsn)].map((entry) => entry.payload[0]!);
}

describe(`a failed write or sync (VARVE_SEED=${seed})`, () => {
  it.each([
    ["EIO", { kind: "EIO" } as const],
    ["a full disk after a short count", { kind: "ENOSPC", shortBytes: 1024 } as const],
  ])(
    "poisons the log on %s: nothing more is acknowledged, and reopening keeps what was",
    async (_name, effect) => {
      const disk = freshDisk();
      const log = open(disk, OPTIONS);
      log.appendSync(record(1));
      disk.inject({ on: "write", path: ".seg", effect });
      expect(codeOf(() => log.appendSync(record(2)))).toBe("ERR_POISONED");
      expect(codeOf(() => log.appendSync(record(3)))).toBe("ERR_POISONED");
      await expect(log.append(record(4))).rejects.toMatchObject({ code: "ERR_POISONED" });
      expect(log.durableLsn).toBe(1n);
      await log.close();
      const again = open(disk.crashed(), OPTIONS);
      expect(values(again)[0]).toBe(1);
      expect(values(again).length).toBeLessThanOrEqual(2);
      again.appendSync(record(5));
      expect(values(again).at(-1)).toBe(5);
    },
  );

  it("poisons everyone who waits for a grouped write", async () => {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    disk.inject({ on: "write", path: ".seg", effect: { kind: "EIO" } });
    const appends = [1, 2, 3].map((value) => log.append(record(value)));
    await new Promise((resolve) => queueMicrotask(() => resolve(undefined)));
    const late = log.append(record(4));
    for (const append of [...appends, late])
      await expect(append).rejects.toMatchObject({ code: "ERR_POISONED" });
  });

  it("refuses commits without poisoning when no space is left for the next segment, and goes on when there is", async () => {
    // Room for the three segments of the start and a little more.
    const disk = new SimulatedDisk({ seed, capacityBytes: 3 * 8 * 4096 + 4096 });
    disk.makeDirectory("/store");
    disk.syncDirectory("/");
    const log = open(disk, OPTIONS);
    let acknowledged = 0;
    let code: string | undefined;
    while (code === undefined) {
      code = codeOf(() => log.appendSync(record(acknowledged + 1)));
      if (code === undefined) acknowledged++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(code).toBe("ERR_DISK_FULL");
    expect(acknowledged).toBe(3 * 8 - 1);
    await expect(log.append(record(0))).rejects.toMatchObject({ code: "ERR_DISK_FULL" });
    expect(Number(log.durableLsn)).toBe(acknowledged);
    await log.close();
    const again = look(disk.crashed(), OPTIONS);
    expect(again.entries.map(({ payload }) => payload[0])).toEqual(
      Array.from({ length: acknowledged }, (_, i) => i + 1),
    );
  });

  it("does not open when recovery itself cannot write or sync", () => {
    for (const fault of [
      { on: "sync", path: ".seg", effect: { kind: "EIO" } },
      { on: "write", path: ".seg", effect: { kind: "EIO" } },
      { on: "syncDirectory", effect: { kind: "EIO" } },
    ] as const) {
      const disk = freshDisk();
      const log = open(disk, OPTIONS);
      log.appendSync(record(1));
      const killed = disk.killed();
      killed.inject(fault);
      expect(codeOf(() => open(killed, OPTIONS))).toBe("ERR_IO");
      // The lock is free again, and nothing is lost.
      expect(values(open(killed, OPTIONS))).toEqual([1]);
    }
  });
});

describe("rot", () => {
  /** Twelve solo records after the open block, in blocks 1 to 12 of the log; the last one sealed. */
  async function closedLog(): Promise<SimulatedDisk> {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    for (let value = 1; value <= 12; value++) log.appendSync(record(value));
    await log.close();
    return disk;
  }

  it("in any block that a later one proves complete is ERR_STORE_CORRUPT naming file, block and LSNs", async () => {
    const random = new Random(seed);
    const closed = await closedLog();
    for (let block = 1; block <= 12; block++) {
      const disk = closed.killed();
      const ordinal = 1 + Math.floor(block / 8);
      const bit = (block % 8) * BLOCK_BITS + random.below(BLOCK_BITS);
      disk.flipBit(`${DIRECTORY}/${segmentName(ordinal)}`, bit);
      try {
        open(disk, OPTIONS);
        throw new Error(`bit ${bit} of ${segmentName(ordinal)} went unnoticed`);
      } catch (error) {
        if (!isStoreError(error)) throw error;
        expect(error.code).toBe("ERR_STORE_CORRUPT");
        expect(error.context).toMatchObject({ file: segmentName(ordinal), block: block % 8, fromLsn: block });
      }
    }
  });

  it("never passes for a torn tail: every record is found, or the damage is", async () => {
    const random = new Random(seed);
    const closed = await closedLog();
    let found = 0;
    for (let round = 0; round < 1500; round++) {
      const disk = closed.killed();
      const segments = listSegments(disk, DIRECTORY);
      for (let flips = 1 + random.below(3); flips > 0; flips--) {
        const ordinal = random.pick(segments);
        const bit = random.below(8 * BLOCK_BITS);
        // Without the seal, rot in the last record is the one case no single disk can tell.
        const isSeal = ordinal === 2 && Math.floor(bit / BLOCK_BITS) === 5;
        if (!isSeal) disk.flipBit(`${DIRECTORY}/${segmentName(ordinal)}`, bit);
      }
      try {
        const { entries } = look(disk, OPTIONS);
        expect(entries.map(({ payload }) => payload[0])).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
      } catch (error) {
        if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
        found++;
      }
    }
    expect(found).toBeGreaterThan(300);
  });

  it("in the very last write, with nothing after it, looks like a torn one, and is reported as such", () => {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    log.appendSync(record(1));
    log.appendSync(record(2));
    const killed = disk.killed();
    killed.flipBit(SEGMENT_1, 2 * BLOCK_BITS + 9000);
    const again = open(killed, OPTIONS);
    expect(values(again)).toEqual([1]);
    expect(again.stats().open.torn).toEqual({ sequence: 8 + 2, blocks: 1 });
  });

  it("shows when a whole segment is missing", async () => {
    const disk = await closedLog();
    disk.remove(SEGMENT_1);
    expect(codeOf(() => open(disk, OPTIONS))).toBe("ERR_STORE_CORRUPT");
  });

  it("shows when a file was cut short under the log", async () => {
    const disk = await closedLog();
    const file = disk.open(SEGMENT_1, { access: "write" });
    file.truncate(3 * 4096 + 100);
    file.close();
    expect(codeOf(() => open(disk, OPTIONS))).toBe("ERR_STORE_CORRUPT");
  });
});

describe("a disk that lies", () => {
  it("is caught as soon as a later write proves the lost one complete", () => {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    log.appendSync(record(1));
    disk.inject({ on: "write", path: ".seg", effect: { kind: "lost" } });
    log.appendSync(record(2));
    expect(look(disk.killed(), OPTIONS).entries.length).toBe(1);
    log.appendSync(record(3));
    expect(codeOf(() => look(disk.killed(), OPTIONS))).toBe("ERR_STORE_CORRUPT");
  });

  it.each([-4096, 4096, 8192, -8192])("is caught when it writes a block %d bytes astray", (byBytes) => {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    for (let value = 1; value <= 3; value++) log.appendSync(record(value));
    disk.inject({ on: "write", path: ".seg", effect: { kind: "misdirected", byBytes } });
    log.appendSync(record(4));
    log.appendSync(record(5));
    expect(codeOf(() => look(disk.killed(), OPTIONS))).toBe("ERR_STORE_CORRUPT");
  });

  it("cannot bring back blocks of an earlier lap of the ring", async () => {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    for (let value = 1; value <= 60; value++) {
      log.appendSync(record(value));
      if (value % 4 === 0) log.trim(BigInt(value - 2));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { entries } = look(disk.killed(), OPTIONS);
    expect(entries.at(-1)!.payload[0]).toBe(60);
    expect(Number(entries[0]!.lsn)).toBeGreaterThan(40);
  });
});

describe("leftovers of an older epoch", () => {
  it("are ignored past an open block, even where they still form a chain among themselves", async () => {
    const disk = freshDisk();
    const log = open(disk, OPTIONS);
    log.appendSync(record(1));
    // One write of three blocks whose first is lost: the other two stay on the disk as sound blocks.
    log.appendSync(record(2, 11_000));
    const torn = disk.killed();
    torn.flipBit(SEGMENT_1, 2 * BLOCK_BITS + 5000);
    const second = open(torn, OPTIONS);
    expect(second.stats().open.torn).toEqual({ sequence: 10, blocks: 3 });
    expect(values(second)).toEqual([1]);
    // The open block lies where the lost one lay; a crash now must not bring the other two back.
    expect(look(torn.killed(), OPTIONS).entries.length).toBe(1);
    second.appendSync(record(3));
    expect(look(torn.killed(), OPTIONS).entries.map(({ payload }) => payload[0])).toEqual([1, 3]);
    await second.close();
    expect(values(open(torn, OPTIONS))).toEqual([1, 3]);
  });
});
