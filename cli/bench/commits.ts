import type { Critical } from "../../src/critical/critical.ts";
import { openPeers } from "./peers.ts";
import type { Place } from "./place.ts";
import { hundredths, loopDelayMs, median, pause, type Spread, shuffle, spreadOf, tenths } from "./samples.ts";
import { key, makeKey, type Order, order, RECORDS } from "./workload.ts";

export interface SoloReport {
  durability: string;
  /** Microseconds a commit; the floor and varve first. */
  runners: ({ name: string; options: string } & Spread)[];
  missing: { name: string; reason: string }[];
  timesFloor: number;
  overFloorUs: number;
  bestPeer: string | undefined;
  timesFasterThanBestPeer: number | undefined;
  deviceBytesPerCommit: number;
}

/** Commits of one store before another has its turn, and the first of them that are not counted. */
const TURN = 200;
const UNCOUNTED = 20;
const WARM_UP_ROUNDS = 2;

/**
 * Turns of commits of each in every round, in random order: a busy machine and a busy disk slow all of them, and none
 * always follows the same other. The first few of a turn find the processor's caches full of another store and are
 * not counted, for the floor as for all others; before each write, the floor's too, the caller makes a key and a
 * value.
 */
export async function soloCommits(place: Place, rounds: number): Promise<SoloReport> {
  const critical = place.openPartition("solo");
  const floor = place.openFloor("floor");
  const { installed, missing } = await openPeers(place.directory);
  const varve = committing(critical);
  const runners = [
    { name: "floor", options: `one block of 4,096 bytes (${floor.method})`, commit: () => floor.write() },
    { name: "varve", options: "store.critical.commit of one put", commit: varve },
    ...installed,
  ];
  const samples = new Map<string, number[]>(runners.map(({ name }) => [name, []]));
  const inTurn = runners.slice();
  let before = critical.stats().log!;
  let number = 0;
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    if (round === 0) before = critical.stats().log!;
    shuffle(inTurn);
    for (const { name, commit } of inTurn) {
      const into = samples.get(name)!;
      for (let i = 0; i < TURN; i++) {
        const at = key(number + i);
        const value = order(number + i);
        const startMs = performance.now();
        const pending = commit(at, value);
        if (pending instanceof Promise) await pending;
        if (round >= 0 && i >= UNCOUNTED) into.push((performance.now() - startMs) * 1000);
      }
      // What each still does behind its commits ends before the next has its turn.
      await pause(2);
    }
    number += TURN;
  }
  const after = critical.stats().log!;
  for (const peer of installed) await peer.close();
  floor.close();
  await critical.close();
  const results = runners.map(({ name, options }) => ({ name, options, ...spreadOf(samples.get(name)!) }));
  const [bare, own, ...peers] = results;
  const best = peers.sort((a, b) => a.p50 - b.p50)[0];
  return {
    durability: floor.method,
    runners: results,
    missing,
    timesFloor: hundredths(own!.p50 / bare!.p50),
    overFloorUs: tenths(own!.p50 - bare!.p50),
    bestPeer: best?.name,
    timesFasterThanBestPeer: best === undefined ? undefined : hundredths(best.p50 / own!.p50),
    deviceBytesPerCommit: Math.round(
      (after.deviceBytes - before.deviceBytes) / (after.records - before.records),
    ),
  };
}

export interface AloneReport {
  commit: Spread;
  floor: Spread;
  timesFloor: number;
}

/** Long runs of commits and of floor writes in turn: nothing but the wait for the disk comes between two commits. */
export async function commitsAlone(place: Place, runs: number): Promise<AloneReport> {
  const critical = place.openPartition("alone");
  const floor = place.openFloor("floor-alone");
  const commit = committing(critical);
  const samples: [number[], number[]] = [[], []];
  let number = 0;
  const timed = (into: number[], call: Commit) => {
    const at = key(number);
    const value = order(number++);
    const startMs = performance.now();
    call(at, value);
    into.push((performance.now() - startMs) * 1000);
  };
  for (let run = -2; run < runs; run++) {
    for (let i = 0; i < 500; i++) timed(run < 0 ? [] : samples[0], commit);
    await pause(10);
    for (let i = 0; i < 500; i++) timed(run < 0 ? [] : samples[1], floor.write);
    await pause(5);
  }
  floor.close();
  await critical.close();
  const [own, bare] = samples.map(spreadOf);
  return { commit: own!, floor: bare!, timesFloor: hundredths(own!.p50 / bare!.p50) };
}

export interface GroupedReport {
  inFlight: number;
  commitsPerSecond: number;
  lowest: number;
  highest: number;
  recordsPerWrite: number;
  floorUs: Spread;
  loopDelayP999Ms: number;
  idleLoopDelayP999Ms: number;
}

const IN_FLIGHT = 64;

/**
 * `commitAsync` with 64 callers that each wait for their last commit; floor writes between the runs. All keys are there
 * before, and the callers' texts are not the very ones that the map holds. A percentile of the event loop's delay wants
 * runs of a thousand timers and more, idle ones too.
 */
export async function groupedCommits(place: Place, perRun: number): Promise<GroupedReport> {
  const critical = place.openPartition("grouped");
  const floor = place.openFloor("floor-grouped");
  const orders = critical.map("orders", { version: 1 });
  let number = 0;
  const run = async (count: number, keyOf: (number: number) => string) => {
    let started = 0;
    const caller = async () => {
      while (started++ < count) {
        const at = number++;
        await critical.commitAsync((tx) => tx.put(orders, keyOf(at), order(at)));
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, caller));
  };
  await run(RECORDS, makeKey);
  const startMs = performance.now();
  await run(perRun, key);
  const runMs = performance.now() - startMs;
  const before = critical.stats().log!;
  const rates: number[] = [];
  const floors: number[] = [];
  const idle: number[] = [];
  const busy: number[] = [];
  for (let round = 0; round < 6; round++) {
    for (let i = 0; i < 100; i++) {
      const startMs = performance.now();
      floor.write();
      floors.push((performance.now() - startMs) * 1000);
    }
    idle.push(await loopDelayMs(() => pause(runMs)));
    const startMs = performance.now();
    busy.push(await loopDelayMs(() => run(perRun, key)));
    rates.push((perRun / (performance.now() - startMs)) * 1000);
  }
  const after = critical.stats().log!;
  floor.close();
  await critical.close();
  return {
    inFlight: IN_FLIGHT,
    commitsPerSecond: Math.round(median(rates)),
    lowest: Math.round(Math.min(...rates)),
    highest: Math.round(Math.max(...rates)),
    recordsPerWrite: tenths((after.records - before.records) / (after.writes - before.writes)),
    floorUs: spreadOf(floors),
    loopDelayP999Ms: median(busy),
    idleLoopDelayP999Ms: median(idle),
  };
}

type Commit = (key: string, value: Order) => unknown;

/** One put of an order. */
function committing(critical: Critical): Commit {
  const orders = critical.map("orders", { version: 1 });
  return (at, value) => critical.commit((tx) => tx.put(orders, at, value));
}
