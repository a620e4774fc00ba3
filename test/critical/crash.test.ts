import { describe, expect, it } from "vitest";
import { Critical } from "../../src/critical/critical.ts";
import { crashStates } from "../../src/disk/crash-states.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { copyModel, emptyModel, type Model, randomTransaction, SEQUENCES, shown } from "./model.ts";

/** Fresh on every run; `VARVE_SEED` repeats one, `VARVE_STATES` explores more or fewer. */
const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const STATES = Number(process.env["VARVE_STATES"] ?? 300);
const DIRECTORY = "/store/critical";

function open(disk: Disk, timeUs: () => number): Critical {
  const critical = Critical.open({
    directory: DIRECTORY,
    disk,
    storeId: new Uint8Array(16).fill(7),
    log: { segmentBlocks: 16, sealAfterMs: 1e6 },
    snapshots: { everyRecords: 25, everyBytes: 1e9, bytesPerSecond: 1e12 },
    clock: timeUs,
  });
  critical.sequence("reserved", { reserve: 10 });
  return critical;
}

interface Run {
  disk: SimulatedDisk;
  /** What must be shown after each LSN. */
  models: Map<number, Model>;
}

/** A day at the desk: commits of both kinds, snapshots as they come due, closings and openings. */
async function live(random: Random, commits: number): Promise<Run> {
  const disk = new SimulatedDisk({ seed: random.next(), trace: true });
  let nowUs = 1_700_000_000_000_000;
  const clock = () => ++nowUs;
  const models = new Map<number, Model>([[0, emptyModel()]]);
  let critical = open(disk, clock);
  const model = emptyModel();
  const acknowledge = (lsn: bigint) => disk.mark(Number(lsn));
  for (let done = 0; done < commits; done++) {
    const kind = random.below(20);
    if (kind === 0) {
      await critical.close();
      critical = open(disk, clock);
      models.set(Number(critical.lsn), copyModel(model));
    } else if (kind < 4) {
      const receipts = Array.from({ length: 1 + random.below(8) }, () => {
        const transaction = randomTransaction(critical, model, random);
        const receipt = critical.commitAsync((tx) => {
          transaction(tx);
          models.set(tx.lsn, copyModel(model));
        });
        return receipt.then(({ lsn }) => acknowledge(lsn));
      });
      if (random.chance(0.5)) acknowledge(critical.commit(() => undefined).lsn);
      await Promise.all(receipts);
      models.set(Number(critical.lsn), copyModel(model));
    } else if (kind === 4) {
      await critical.snapshot();
    } else {
      const transaction = randomTransaction(critical, model, random);
      const { lsn } = critical.commit(transaction);
      models.set(Number(lsn), copyModel(model));
      acknowledge(lsn);
    }
    if (random.chance(0.2)) await new Promise((resolve) => setImmediate(resolve));
  }
  await critical.snapshot();
  await critical.close();
  // Closing gave the rest of a reservation back.
  models.set(Number(critical.lsn), copyModel(model));
  return { disk, models };
}

describe(`power cuts at any moment (VARVE_SEED=${seed})`, () => {
  it("leave every acknowledged commit, whole transactions and the past as it was", async () => {
    const random = new Random(seed);
    const { disk, models } = await live(random, 250);
    const events = disk.trace.length;
    const stride = Math.max(1, Math.floor((events * 2) / STATES));
    let states = 0;
    for (const state of crashStates(disk, random, { stride, samples: 2 })) {
      states++;
      const acknowledged = Math.max(0, ...(state.marks as number[]));
      const issuedBefore = models.get(acknowledged)!.issued;
      const first = open(state.disk, () => 1_800_000_000_000_000);
      const lsn = Number(first.lsn);
      const model = models.get(lsn);
      if (lsn < acknowledged || model === undefined) {
        throw new Error(`LSN ${acknowledged} was acknowledged, ${lsn} recovered (event ${state.events})`);
      }
      expect(shown(first)).toEqual(model.maps);
      checkPast(first, models, random.below(lsn + 1));
      for (const name of SEQUENCES) {
        expect(first.commit((tx) => tx.next(first.sequence(name))).value).toBeGreaterThanOrEqual(
          issuedBefore[name]!,
        );
      }
      if (random.chance(0.1)) {
        await first.snapshot();
        await first.close();
        const second = open(state.disk, () => 1_800_000_000_000_000);
        expect(shown(second)).toEqual(model.maps);
        checkPast(second, models, random.below(lsn + 1));
        await second.close();
      }
    }
    console.log(`${states} crash states of critical state explored, VARVE_SEED=${seed}`);
    expect(states).toBeGreaterThan(STATES / 3);
  });
});

/** A moment of the past shows what was there then. */
function checkPast(critical: Critical, models: Map<number, Model>, past: number): void {
  const model = models.get(past);
  if (model === undefined) return;
  const orders = critical.map("orders").at(BigInt(past));
  expect(Object.fromEntries(orders.entries())).toEqual(model.maps["orders"]);
  for (const key of Object.keys(model.maps["orders"]!).slice(0, 3)) {
    expect(orders.get(key)).toEqual(model.maps["orders"]![key]);
  }
}
