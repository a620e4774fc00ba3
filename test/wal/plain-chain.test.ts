import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { RecoveryKernel } from "../../src/kernels/recovery-kernel.ts";
import { BLOCK_BYTES, type BlockHeader, blockMemory, decodeBlock, sealBlock } from "../../src/wal/format.ts";
import { readEntries } from "../../src/wal/read-log.ts";
import { PLACE_BYTES, placeRecords } from "../../src/wal/record-places.ts";
import { type Recovery, recover } from "../../src/wal/recovery.ts";
import { listSegments, segmentName } from "../../src/wal/segments.ts";
import { DIRECTORY, open, STORE_ID } from "./explore.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const SEGMENT_BLOCKS = 16;
const SEGMENT_BITS = SEGMENT_BLOCKS * 4096 * 8;

/** A log of single commits, groups, records over several blocks, openings and seals, trimmed now and then. */
async function randomLog(
  random: Random,
  { segmentBlocks = SEGMENT_BLOCKS, writesMin = 1, writesMax = 12, trims = true } = {},
): Promise<SimulatedDisk> {
  let disk = new SimulatedDisk({ seed: random.below(2 ** 31) });
  disk.makeDirectory("/store");
  disk.syncDirectory("/");
  for (let openings = 1 + random.below(4); openings > 0; openings--) {
    const log = open(disk, { segmentBlocks });
    for (let writes = writesMin + random.below(writesMax); writes > 0; writes--) {
      const record = () => ({
        payload: Uint8Array.from({ length: random.below(random.below(4) === 0 ? 9000 : 300) }, () =>
          random.below(256),
        ),
        timeUs: BigInt(random.below(2 ** 31)),
      });
      if (random.below(2) === 0) log.appendSync(record());
      else await Promise.all(Array.from({ length: 1 + random.below(40) }, () => log.append(record())));
      if (random.below(10) === 0 && trims) log.trim(log.durableLsn);
    }
    if (random.below(2) === 0) await log.close();
    disk = disk.crashed();
  }
  return disk;
}

/** What recovery finds, or how it fails. */
function found(disk: SimulatedDisk, kernel?: RecoveryKernel): { recovery?: Recovery; told: unknown } {
  const options = { disk, directories: [DIRECTORY], storeId: STORE_ID, segmentBlocks: 8, kernel };
  try {
    const recovery = recover(options);
    const { read: _, ...told } = recovery;
    return { recovery, told };
  } catch (error) {
    if (!isStoreError(error)) throw error;
    return { told: { code: error.code, message: error.message, context: error.context } };
  }
}

const said = (lsn: bigint, timeUs: bigint, payload: Uint8Array) =>
  `${lsn} at ${timeUs}: ${Buffer.from(payload).toString("base64")}`;

/** The records from an LSN on, by the kernel's places. */
function placed(kernel: RecoveryKernel, recovery: Recovery, fromLsn: number) {
  const count = recovery.nextLsn - fromLsn;
  const places = placeRecords(recovery.read!, { fromSequence: recovery.logStart, fromLsn, count });
  if (places === undefined) return undefined;
  const numbers = new Float64Array(kernel.memory.buffer, places.at, (count * PLACE_BYTES) / 8);
  return Array.from({ length: count }, (_, index) => {
    const [start, end, timeUs] = numbers.subarray((index * PLACE_BYTES) / 8) as unknown as number[];
    return said(BigInt(fromLsn + index), BigInt(timeUs!), kernel.memory.subarray(start, end));
  });
}

/** Every record lies where the kernel says, and nothing else does; `false` when there is none. */
function expectPlaces(disk: SimulatedDisk, kernel: RecoveryKernel, recovery: Recovery): boolean {
  const range = { start: recovery.logStart, through: recovery.nextSequence - 1, lsn: 0n };
  const place = { ...recovery, storeId: STORE_ID };
  const entries = [...readEntries([{ disk, directory: DIRECTORY }], place, range)];
  if (entries.length === 0) return false;
  const free = kernel.take(2 << 20);
  expect(kernel.memory.subarray(free, free + (2 << 20)).every((byte) => byte === 0)).toBe(true);
  expect(placed(kernel, recovery, Number(entries[0]!.lsn))).toEqual(
    entries.map(({ lsn, timeUs, payload }) => said(lsn, timeUs, payload)),
  );
  return true;
}

/** One thing about a block that only its place in the chain, or its own rules, can call wrong. */
const FORGERIES: ((header: BlockHeader, random: Random) => Partial<BlockHeader>)[] = [
  ({ previousHash }) => ({ previousHash: previousHash.map((byte) => byte ^ 1) }),
  ({ epoch }, random) => ({ epoch: epoch + random.below(3) - 1 }),
  ({ sequence }, random) => ({ sequence: sequence + 1 + random.below(2 * SEGMENT_BLOCKS) }),
  ({ sequence }) => ({ sequence: sequence - 1, writeStart: sequence - 1 }),
  ({ firstLsn }, random) => ({ firstLsn: firstLsn + random.below(3) - 1 }),
  ({ writeStart }, random) => ({ writeStart: writeStart + random.below(3) - 1 }),
  ({ logStart, sequence }, random) => ({ logStart: random.below(2) === 0 ? logStart - 1 : sequence + 1 }),
  ({ storeId }) => ({ storeId: storeId.map((byte) => byte ^ 1) }),
  ({ kind }) => ({ kind: kind === "data" ? "seal" : "data" }),
  ({ kind }) => ({ kind: kind === "open" ? "data" : "open" }),
];

/** Changes a block of the log so that its checksum still holds; returns whether there was one to change. */
function forge(disk: SimulatedDisk, random: Random): boolean {
  const segments = listSegments(disk, DIRECTORY);
  const ordinal = segments[random.below(segments.length)]!;
  const index = random.below(SEGMENT_BLOCKS);
  const file = disk.open(`${DIRECTORY}/${segmentName(ordinal)}`, { access: "write" });
  try {
    const bytes = new Uint8Array(BLOCK_BYTES);
    file.readSync(bytes, index * BLOCK_BYTES);
    const block = decodeBlock(bytes, ordinal * SEGMENT_BLOCKS + index, STORE_ID);
    if (block.fault !== undefined) return false;
    const header = { ...block.header, previousHash: block.header.previousHash.slice(), storeId: STORE_ID };
    const forgery = FORGERIES[random.below(FORGERIES.length)]!(header, random);
    sealBlock(blockMemory(bytes, 0), { ...header, ...forgery }, new Uint8Array(16));
    file.writeSync(bytes, index * BLOCK_BYTES);
    return true;
  } finally {
    file.close();
  }
}

describe(`the chain as the kernel follows it (VARVE_SEED=${seed})`, () => {
  it("is the chain as it is followed block by block, whatever has been damaged", async () => {
    const random = new Random(seed);
    let whole = 0;
    for (let round = 0; round < 60; round++) {
      const disk = await randomLog(random);
      for (let flips = random.below(3); flips > 0; flips--) {
        const segments = listSegments(disk, DIRECTORY);
        const ordinal = segments[random.below(segments.length)]!;
        disk.flipBit(`${DIRECTORY}/${segmentName(ordinal)}`, random.below(SEGMENT_BITS));
      }
      const kernel = new RecoveryKernel();
      const plain = found(disk);
      const { recovery, told } = found(disk, kernel);
      expect(told).toEqual(plain.told);
      if (recovery === undefined || recovery.isEmpty) continue;
      if (!expectPlaces(disk, kernel, recovery)) continue;
      whole++;
    }
    expect(whole).toBeGreaterThan(15);
  });

  it("is the same in segments that are read in several pieces", async () => {
    const random = new Random(seed);
    let longest = 0;
    for (let round = 0; round < 6; round++) {
      // What is left after a trim may be short; one is long for certain.
      const length = round === 0 ? { writesMin: 300, trims: false } : {};
      const disk = await randomLog(random, { segmentBlocks: 600, writesMax: 700, ...length });
      const kernel = new RecoveryKernel();
      const { recovery, told } = found(disk, kernel);
      expect(told).toEqual(found(disk).told);
      if (!expectPlaces(disk, kernel, recovery!)) continue;
      longest = Math.max(longest, recovery!.nextSequence - recovery!.logStart);
    }
    expect(longest).toBeGreaterThan(300);
  });

  it("keeps of single commits what they use of their blocks", () => {
    const disk = new SimulatedDisk({ seed });
    disk.makeDirectory("/store");
    disk.syncDirectory("/");
    const log = open(disk, { segmentBlocks: 600 });
    for (let i = 0; i < 2000; i++) log.appendSync({ payload: new Uint8Array(40).fill(i), timeUs: BigInt(i) });
    const kernel = new RecoveryKernel();
    const before = kernel.take(0);
    const { recovery } = found(disk.crashed(), kernel);
    expect(recovery!.nextLsn).toBe(2001);
    expect(kernel.take(0) - before).toBeLessThan(2100 * 160);
  });

  it("is the same where a block is sound in itself and wrong in its place", async () => {
    const random = new Random(seed);
    let forged = 0;
    for (let round = 0; round < 25; round++) {
      const disk = await randomLog(random);
      for (let attempt = 0; attempt < 40; attempt++) {
        const copy = disk.crashed();
        if (!forge(copy, random)) continue;
        forged++;
        expect(found(copy, new RecoveryKernel()).told).toEqual(found(copy).told);
      }
    }
    expect(forged).toBeGreaterThan(100);
  });
});

describe("blocks behind the log's end", () => {
  it("are passed over only when they are blank or of another place", async () => {
    const random = new Random(seed);
    const passed = { empty: 0, stale: 0, not: 0 };
    for (let round = 0; round < 30; round++) {
      const disk = await randomLog(random);
      const kernel = new RecoveryKernel();
      const at = kernel.take(BLOCK_BYTES);
      for (const ordinal of listSegments(disk, DIRECTORY)) {
        const file = disk.open(`${DIRECTORY}/${segmentName(ordinal)}`, { access: "read" });
        for (let index = 0; index < SEGMENT_BLOCKS; index++) {
          const block = kernel.memory.subarray(at, at + BLOCK_BYTES);
          file.readSync(block, index * BLOCK_BYTES);
          if (random.below(3) === 0) block[random.below(BLOCK_BYTES)]! ^= 1 << random.below(8);
          const before = Buffer.from(block);
          const sequence = ordinal * SEGMENT_BLOCKS + index;
          const { fault } = decodeBlock(before, sequence, STORE_ID);
          const isPassed = kernel.exports.passBlocks(at, 1, sequence) === 1;
          expect(kernel.memory.subarray(at, at + BLOCK_BYTES).equals(before)).toBe(true);
          if (!isPassed) {
            passed.not++;
            // Long ones are left to the caller.
            expect(fault === "empty" || (fault === "stale" && before.readUInt16LE(82) <= 900)).toBe(false);
          } else passed[fault as "empty" | "stale"]++;
        }
        file.close();
      }
    }
    expect(Object.keys(passed)).toEqual(["empty", "stale", "not"]);
    for (const times of Object.values(passed)) expect(times).toBeGreaterThan(10);
  });
});

describe("kernels of one thread after another", () => {
  it("weigh what they take, so that those nobody refers to any more are collected", () => {
    const kernels = [new RecoveryKernel(), new RecoveryKernel()];
    // What earlier tests left would be collected in between, and taken off.
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    // What a collection found is freed beside the program; the next one waits for that.
    for (let i = 0; i < 2; i++) collect();
    const before = process.memoryUsage().arrayBuffers;
    for (const kernel of kernels) {
      kernel.reserve(20 << 20);
      kernel.end();
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeGreaterThan(20 << 20);
  });
});
