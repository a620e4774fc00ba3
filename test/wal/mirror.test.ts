import { describe, expect, it } from "vitest";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import type { StoreError } from "../../src/errors.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import { openLog } from "../../src/wal/open-log.ts";
import { listSegments, segmentName } from "../../src/wal/segments.ts";
import { codeOf, DIRECTORY, look, MIRROR, STORE_ID } from "./explore.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const BLOCK_BITS = 4096 * 8;
const BOTH = { withMirror: true, segmentBlocks: 8 };

const record = (value: number, sizeBytes = 100) => ({
  payload: new Uint8Array(sizeBytes).fill(value),
  timeUs: BigInt(value),
});

function freshDisk(): SimulatedDisk {
  const disk = new SimulatedDisk({ seed });
  for (const directory of ["/store", "/mirror"]) disk.makeDirectory(directory);
  disk.syncDirectory("/");
  return disk;
}

function open(
  disk: SimulatedDisk,
  directory = DIRECTORY,
  mirror: string | undefined = MIRROR,
  warnings: StoreError[] = [],
) {
  const options = { disk, directory, storeId: STORE_ID, segmentBlocks: 8, sealAfterMs: 1e9 };
  const onWarning = (warning: StoreError) => warnings.push(warning);
  return openLog(mirror === undefined ? { ...options, onWarning } : { ...options, mirror, onWarning });
}

const alone = (disk: SimulatedDisk, directory = DIRECTORY) =>
  openLog({ disk, directory, storeId: STORE_ID, sealAfterMs: 1e9 });

function values(log: WriteAheadLog): number[] {
  return [...log.read(log.firstLsn)].map((entry) => entry.payload[0]!);
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

/** A log of `count` solo records on both directories, its process killed. */
function mirrored(count: number): SimulatedDisk {
  const disk = freshDisk();
  const log = open(disk);
  for (let value = 1; value <= count; value++) log.appendSync(record(value));
  return disk.killed();
}

/** Bytes of every block from the first to the last of the chain. */
function chainBytes(disk: SimulatedDisk, directory: string, blocks: number): Buffer {
  const parts = listSegments(disk, directory).map((ordinal) => {
    const file = disk.open(`${directory}/${segmentName(ordinal)}`, { access: "read" });
    const bytes = Buffer.alloc(file.sizeBytes());
    file.readSync(bytes, 0);
    return bytes;
  });
  return Buffer.concat(parts).subarray(0, blocks * 4096);
}

describe(`a mirror of the log (VARVE_SEED=${seed})`, () => {
  it("holds the same bytes as the log", async () => {
    const disk = freshDisk();
    const log = open(disk);
    for (let value = 1; value <= 20; value++) log.appendSync(record(value));
    await log.append(record(21, 9000));
    expect(log.stats().mirror).toBe("in step");
    await log.close();
    expect(chainBytes(disk, MIRROR, 25).equals(chainBytes(disk, DIRECTORY, 25))).toBe(true);
    expect(values(alone(disk, MIRROR))).toEqual(upTo(21));
  });

  it("repairs any flipped bit of either copy, the last write included", () => {
    const random = new Random(seed);
    const written = mirrored(12);
    for (let block = 0; block <= 12; block++) {
      for (const directory of [DIRECTORY, MIRROR]) {
        const disk = written.killed();
        const path = `${directory}/${segmentName(1 + Math.floor(block / 8))}`;
        disk.flipBit(path, (block % 8) * BLOCK_BITS + random.below(BLOCK_BITS));
        const log = open(disk);
        expect(log.stats().open.repaired).toEqual([{ directory, blocks: 1 }]);
        expect(values(log)).toEqual(upTo(12));
        expect(chainBytes(disk, MIRROR, 14).equals(chainBytes(disk, DIRECTORY, 14))).toBe(true);
      }
    }
  });

  it("repairs both directions at once, and refuses only what both have lost", () => {
    const written = mirrored(12);
    const disk = written.killed();
    disk.flipBit(`${DIRECTORY}/${segmentName(1)}`, 3 * BLOCK_BITS + 5);
    disk.flipBit(`${MIRROR}/${segmentName(2)}`, 4 * BLOCK_BITS + 5);
    expect(values(open(disk))).toEqual(upTo(12));
    const lost = written.killed();
    for (const directory of [DIRECTORY, MIRROR])
      lost.flipBit(`${directory}/${segmentName(1)}`, 3 * BLOCK_BITS + 5);
    expect(codeOf(() => open(lost))).toBe("ERR_STORE_CORRUPT");
  });

  it("is made from the log when its directory is new, and again when that was cut short", () => {
    const disk = freshDisk();
    const log = alone(disk);
    for (let value = 1; value <= 12; value++) log.appendSync(record(value));
    const killed = disk.killed();
    killed.inject({ on: "write", path: MIRROR, after: 4, effect: { kind: "EIO" } });
    expect(codeOf(() => open(killed))).toBe("ERR_IO");
    const half = killed.crashed();
    expect(values(open(half))).toEqual(upTo(12));
    expect(values(alone(half.killed(), MIRROR))).toEqual(upTo(12));
  });

  it("keeps what only one copy received before the power failed", () => {
    const disk = freshDisk();
    const log = open(disk);
    log.appendSync(record(1));
    disk.inject({ on: "write", path: `${MIRROR}/wal-0`, effect: { kind: "lost" } });
    log.appendSync(record(2));
    expect(values(open(disk.killed()))).toEqual([1, 2]);
  });

  it("that fails is dropped durably before the write is acknowledged, and never rolls the log back", async () => {
    const disk = freshDisk();
    const warnings: StoreError[] = [];
    const log = open(disk, DIRECTORY, MIRROR, warnings);
    log.appendSync(record(1));
    disk.inject({ on: "write", path: `${MIRROR}/wal-0`, effect: { kind: "EIO" } });
    log.appendSync(record(2));
    expect(log.stats()).toMatchObject({ mirror: "dropped", epoch: 2 });
    expect(warnings).toMatchObject([{ code: "ERR_IO", context: { directory: MIRROR } }]);
    log.appendSync(record(3));
    await log.append(record(4));
    const killed = disk.crashed();
    // Even with the log's end rotten, the mirror, which stopped earlier, does not say where it ends.
    const rotten = killed.killed();
    rotten.flipBit(`${DIRECTORY}/${segmentName(1)}`, 5 * BLOCK_BITS + 5);
    const again = open(rotten);
    expect(values(again)).toEqual([1, 2, 3]);
    const whole = open(killed);
    expect(values(whole)).toEqual([1, 2, 3, 4]);
    expect(whole.stats().mirror).toBe("in step");
    expect(values(alone(killed.killed(), MIRROR))).toEqual([1, 2, 3, 4]);
  });

  it("that fails while nobody waits on the spot is dropped as well", async () => {
    const disk = freshDisk();
    const log = open(disk);
    disk.inject({ on: "write", path: `${MIRROR}/wal-0`, effect: { kind: "EIO" } });
    expect(await Promise.all([1, 2, 3].map((value) => log.append(record(value))))).toHaveLength(3);
    expect(log.stats().mirror).toBe("dropped");
    expect(values(open(disk.crashed()))).toEqual([1, 2, 3]);
  });

  it("that has no place for the next blocks is dropped too, and the log goes on", async () => {
    for (const isAsync of [false, true]) {
      for (const on of ["open", "write"] as const) {
        const disk = freshDisk();
        const warnings: StoreError[] = [];
        const log = open(disk, DIRECTORY, MIRROR, warnings);
        await log.append(record(1));
        // Its device is full, or gone with the directory: what is made ahead fails, and what is made at the last moment.
        disk.inject({
          on,
          path: `${MIRROR}/wal-new`,
          times: 1e9,
          effect: { kind: on === "open" ? "EIO" : "ENOSPC" },
        });
        for (let value = 2; value <= 60; value++) {
          if (isAsync) await log.append(record(value));
          else log.appendSync(record(value));
        }
        expect(log.stats()).toMatchObject({ mirror: "dropped", epoch: 2 });
        expect(warnings.some(({ message }) => message.includes("was dropped"))).toBe(true);
        const killed = disk.killed();
        expect(values(alone(killed.killed()))).toEqual(upTo(60));
        const both = killed.crashed();
        expect(values(open(both))).toEqual(upTo(60));
        expect(values(alone(both.killed(), MIRROR))).toEqual(upTo(60));
      }
    }
  });

  it("belongs to one log at a time, and is never the log itself", async () => {
    const disk = freshDisk();
    const log = open(disk);
    log.appendSync(record(1));
    expect(codeOf(() => open(disk, "/store/copy", MIRROR))).toBe("ERR_STORE_LOCKED");
    await log.close();
    expect(codeOf(() => open(disk, DIRECTORY, `${DIRECTORY}/.`))).toBe("ERR_INVALID_ARGUMENT");
    // What was refused holds no lock.
    expect(values(open(disk))).toEqual([1]);
  });

  it("poisons nothing by itself, but with the log's own failure nothing is acknowledged", () => {
    const disk = freshDisk();
    const log = open(disk);
    log.appendSync(record(1));
    disk.inject({ on: "write", path: `${DIRECTORY}/wal-0`, effect: { kind: "EIO" } });
    expect(codeOf(() => log.appendSync(record(2)))).toBe("ERR_POISONED");
    const again = open(disk.crashed());
    expect(values(again)[0]).toBe(1);
  });

  it("fails the append when neither the mirror nor the note of its loss can be written", () => {
    const disk = freshDisk();
    const log = open(disk);
    log.appendSync(record(1));
    disk.inject({ on: "write", path: `${MIRROR}/wal-0`, effect: { kind: "EIO" } });
    disk.inject({ on: "write", path: `${DIRECTORY}/wal-0`, after: 1, effect: { kind: "EIO" } });
    expect(codeOf(() => log.appendSync(record(2)))).toBe("ERR_POISONED");
  });

  it("may change places with the log", () => {
    const disk = mirrored(5);
    const log = open(disk, MIRROR, DIRECTORY);
    log.appendSync(record(6));
    expect(values(open(disk.killed()))).toEqual(upTo(6));
  });

  it("that was left out for a while is brought up to date, whichever side it is on", () => {
    const disk = mirrored(3);
    const log = alone(disk, MIRROR);
    log.appendSync(record(4));
    const killed = disk.killed();
    const swapped = open(killed);
    expect(values(swapped)).toEqual(upTo(4));
    expect(swapped.stats().open.repaired).toMatchObject([{ directory: DIRECTORY }]);
    expect(values(alone(killed.killed()))).toEqual(upTo(4));
  });

  it("does not bring back a write that only it received, once the log went on without it", () => {
    const disk = freshDisk();
    const log = open(disk, MIRROR, DIRECTORY);
    log.appendSync(record(1));
    // The power fails between the two copies: the mirror directory, written first here, has the record alone.
    disk.inject({ on: "write", path: `${DIRECTORY}/wal-0`, effect: { kind: "lost" } });
    log.appendSync(record(2));
    const killed = disk.killed();
    alone(killed).appendSync(record(9));
    const both = open(killed.killed());
    expect(values(both)).toEqual([1, 9]);
    expect(both.stats().open.repaired).toMatchObject([{ directory: MIRROR }]);
  });

  it("is refused when each side was written without the other", () => {
    const disk = mirrored(3);
    const left = alone(disk);
    left.appendSync(record(4));
    const right = alone(disk, MIRROR);
    right.appendSync(record(5));
    expect(codeOf(() => open(disk.killed()))).toBe("ERR_STORE_CORRUPT");
  });

  it("of another store is refused untouched", () => {
    const disk = freshDisk();
    openLog({ disk, directory: MIRROR, storeId: new Uint8Array(16), segmentBlocks: 8, sealAfterMs: 1e9 });
    const killed = disk.killed();
    alone(killed).appendSync(record(1));
    const before = killed.killed();
    expect(codeOf(() => open(before))).toBe("ERR_STORE_CORRUPT");
    expect(chainBytes(before, MIRROR, 8).equals(chainBytes(killed, MIRROR, 8))).toBe(true);
    expect(codeOf(() => open(killed.killed(), MIRROR, DIRECTORY))).toBe("ERR_STORE_CORRUPT");
  });

  it("lets the log be read on when a block of it goes bad under way", () => {
    const disk = freshDisk();
    const log = open(disk);
    for (let value = 1; value <= 5; value++) log.appendSync(record(value));
    disk.flipBit(`${DIRECTORY}/${segmentName(1)}`, 3 * BLOCK_BITS + 5);
    expect(values(log)).toEqual(upTo(5));
    expect(look(disk.killed(), BOTH).entries.length).toBe(5);
  });
});
