import { describe, expect, it } from "vitest";
import { checkCritical } from "../../src/critical/check.ts";
import { Critical, type CriticalOptions } from "../../src/critical/critical.ts";
import { BLOCK_HEADER_BYTES } from "../../src/critical/history-format.ts";
import { blockPlaces } from "../../src/critical/history-reader.ts";
import { mendCritical } from "../../src/critical/mend.ts";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { recover } from "../../src/wal/recovery.ts";
import { segmentName } from "../../src/wal/segments.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const DIRECTORY = "/store/critical";
const MIRROR = "/second/mirror";
const storeId = new Uint8Array(16).fill(7);
const BLOCK_BITS = 4096 * 8;
/** Place of the link in a history block's header. */
const LINK_AT = 52;

function open(disk: SimulatedDisk, more: Partial<CriticalOptions> = {}): Critical {
  const log = { segmentBlocks: 16, sealAfterMs: 1e6, ...more.log };
  return Critical.open({ directory: DIRECTORY, disk, storeId, ...more, log });
}

/** A partition at rest: two snapshots, history, and a log of commits behind them. */
async function filled(mirror?: string): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk({ seed });
  const critical = open(disk, mirror === undefined ? {} : { log: { mirror } });
  const map = critical.map<number>("m");
  for (let i = 0; i < 30; i++) {
    critical.commit((tx) => tx.put(map, `k${i}`, i));
    if (i === 10 || i === 20) await critical.snapshot();
  }
  await critical.close();
  return disk;
}

const check = (disk: SimulatedDisk, mirror?: string) =>
  checkCritical({ disk, directory: DIRECTORY, storeId, mirror });
const mend = (disk: SimulatedDisk, kept: string[] = [], mirror?: string) =>
  mendCritical({ disk, directory: DIRECTORY, storeId, mirror, quarantine: (path) => kept.push(path) });

function expectWhole(disk: SimulatedDisk): void {
  const critical = open(disk, { readOnly: true });
  expect(critical.lsn).toBe(30n);
  expect([...critical.map<number>("m").values()].sort((a, b) => a - b)).toEqual(
    Array.from({ length: 30 }, (_, i) => i),
  );
  expect(critical.verifyAudit()).toMatchObject({ whole: true, lastLsn: 30n });
}

describe(`check and repair of critical state (VARVE_SEED=${seed})`, () => {
  it("find nothing wrong with a sound partition, nor with an absent one", async () => {
    const disk = await filled();
    expect(await check(disk)).toMatchObject({ problems: [], notes: [] });
    expect(await mend(disk)).toEqual([]);
    expect(await check(new SimulatedDisk())).toMatchObject({ problems: [] });
  });

  it("mend a flipped bit in any proven block of the log, and keep a copy of what was there", async () => {
    const random = new Random(seed);
    const sound = await filled();
    const { logStart, last } = extent(sound);
    for (let sequence = logStart; sequence < last; sequence++) {
      const disk = sound.killed();
      const path = `${DIRECTORY}/${segmentName(Math.floor(sequence / 16))}`;
      disk.flipBit(path, (sequence % 16) * BLOCK_BITS + random.below(BLOCK_BITS));
      const { problems } = await check(disk);
      expect(problems[0]).toMatchObject({ part: "log", where: `${path}, block ${sequence % 16}` });
      const kept: string[] = [];
      expect(await mend(disk, kept)).toEqual([expect.stringContaining(`mended log block ${sequence}`)]);
      expect(kept).toEqual([path]);
      expect((await check(disk)).problems).toEqual([]);
      expectWhole(disk);
    }
  });

  it("do not touch what no single bit explains, but take it from a mirror", async () => {
    const disk = await filled(MIRROR);
    const { logStart } = extent(disk);
    const path = `${DIRECTORY}/${segmentName(Math.floor(logStart / 16))}`;
    for (const bit of [900, 1900, 2900]) disk.flipBit(path, ((logStart + 1) % 16) * BLOCK_BITS + bit);
    const alone = disk.killed();
    expect(await mend(alone)).toEqual([]);
    expect((await check(alone)).problems[0]).toMatchObject({ part: "log" });
    expect(await mend(disk, [], MIRROR)).toEqual([expect.stringContaining("took 1 log blocks")]);
    expect((await check(disk, MIRROR)).problems).toEqual([]);
    expectWhole(disk);
  });

  it("name a mirror that differs and bring it up to date", async () => {
    const disk = await filled(MIRROR);
    const { logStart } = extent(disk);
    disk.flipBit(`${MIRROR}/${segmentName(Math.floor(logStart / 16))}`, (logStart % 16) * BLOCK_BITS + 700);
    expect((await check(disk)).problems).toEqual([]);
    expect((await check(disk, MIRROR)).problems).toMatchObject([{ part: "mirror", where: MIRROR }]);
    expect(await mend(disk, [], MIRROR)).toHaveLength(1);
    expect((await check(disk, MIRROR)).problems).toEqual([]);
  });

  it("write a new snapshot where one is damaged", async () => {
    for (const name of ["snapshot-a", "snapshot-b"]) {
      const disk = await filled();
      disk.flipBit(`${DIRECTORY}/${name}`, 4096 * 8 + 333);
      expect((await check(disk)).problems).toMatchObject([{ part: "snapshot" }]);
      expect(await mend(disk)).toEqual([expect.stringContaining("wrote a new snapshot")]);
      expect((await check(disk)).problems).toEqual([]);
      expectWhole(disk);
    }
  });

  it("mend a flipped bit of the history, which the links then prove", async () => {
    const random = new Random(seed);
    const sound = await filled();
    const name = sound.list(`${DIRECTORY}/history`)[0]!;
    const path = `${DIRECTORY}/history/${name}`;
    const { offset, filterBytes, storedBytes } = blockPlaces(sound, path, sound.stat(path)!.sizeBytes)[0]!;
    for (let round = 0; round < 40; round++) {
      const disk = sound.killed();
      // The block's own bytes from its link on: lengths that lie cannot be followed.
      const from = (offset + LINK_AT) * 8;
      disk.flipBit(path, from + random.below((BLOCK_HEADER_BYTES - LINK_AT + filterBytes + storedBytes) * 8));
      const { problems } = await check(disk);
      expect(problems).toMatchObject([{ part: "history" }]);
      expect(await mend(disk)).toEqual([expect.stringContaining("mended a history block")]);
      expect((await check(disk)).problems).toEqual([]);
      expectWhole(disk);
    }
  });

  it("tell of a torn tail as a remark, and of a damaged identity", async () => {
    const disk = await filled();
    disk.flipBit(`${DIRECTORY}/identity`, 100);
    expect((await check(disk)).problems).toMatchObject([{ part: "identity" }]);
    expect(await mend(disk)).toEqual([expect.stringContaining("identity")]);
    expect((await check(disk)).problems).toEqual([]);
  });
});

/** First block still needed, and the last one of the chain: the seal, which nothing after it proves. */
function extent(disk: SimulatedDisk): { logStart: number; last: number } {
  const { logStart, nextSequence } = recover({ disk, directories: [DIRECTORY], storeId, segmentBlocks: 16 });
  return { logStart, last: nextSequence - 1 };
}
