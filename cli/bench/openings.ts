import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Critical } from "../../src/critical/critical.ts";
import { NO_SNAPSHOTS, type Place } from "./place.ts";
import { type Hold, longestCollectionMs, longestHold, median, pause, tenths, turn } from "./samples.ts";
import { key, order, RECORDS } from "./workload.ts";

export interface OpeningReport {
  records: number;
  replayedRecords: number;
  /** Medians of several openings. */
  openMs: number;
  lockAndLogMs: number;
  snapshotMs: number;
  replayMs: number;
  lowestMs: number;
  highestMs: number;
  /** The same opening as the first thing a new process does: it runs code that nothing has compiled yet. */
  newProcessOpenMs: number;
  /** A new process, from its start to its first commit acknowledged; and what such a process takes without a store. */
  firstCommitMs: number;
  bareProcessMs: number;
}

export interface SnapshotReport {
  sizeBytes: number;
  durationMs: number;
  /** Acknowledged while it was taken. */
  commits: number;
  /** Of the event loop: with the snapshot, and with the same commits alone. */
  hold: Hold;
  holdWithout: Hold;
  /** Longest garbage collection in the snapshot's time, and in that without one. */
  longestCollectionMs: number;
  longestCollectionWithoutMs: number;
  /** The snapshot's own turns of it, in microseconds: how many, and how long. */
  slices: { count: number; p50Us: number; p99Us: number; longestUs: number };
}

/** Log records a snapshot leaves to replay at most: as many as an opening ever finds at the default settings. */
const TAIL_RECORDS = 40_000;

/** A partition with all records in its snapshot and a full log behind it, closed as a crash would leave it. */
export async function prepareOpening(place: Place): Promise<void> {
  const critical = place.openPartition("reopen", NO_SNAPSHOTS);
  const orders = critical.map("orders", { version: 1 });
  for (let from = 0; from < RECORDS; from += 500) {
    critical.commit((tx) => {
      for (let i = from; i < from + 500; i++) tx.put(orders, key(i), order(i));
    });
    await turn();
  }
  await critical.snapshot();
  await critical.snapshot();
  let tail: Promise<unknown>[] = [];
  for (let i = 0; i < TAIL_RECORDS; i++) {
    tail.push(critical.commitAsync((tx) => tx.put(orders, key(i * 17), order(i))));
    if (tail.length < 4096) continue;
    await Promise.all(tail);
    tail = [];
  }
  await Promise.all(tail);
  await critical.close();
}

export async function openings(place: Place, rounds: number): Promise<OpeningReport> {
  const times: { openMs: number; snapshotMs: number; replayMs: number; replayedRecords: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    await pause(20);
    const startMs = performance.now();
    const critical = place.openPartition("reopen", NO_SNAPSHOTS);
    const openMs = performance.now() - startMs;
    times.push({ openMs, ...critical.stats().recovery });
    await critical.close();
  }
  const middle = (of: (time: (typeof times)[number]) => number) => tenths(median(times.map(of)));
  const opened: number[] = [];
  const child = (arguments_: string[]) => {
    const startMs = performance.now();
    const told = execFileSync(process.execPath, [startScript, ...arguments_], { encoding: "utf8" });
    if (told !== "") opened.push(Number(told));
    return performance.now() - startMs;
  };
  const started = Array.from({ length: 3 }, () => [child([place.path("reopen")]), child([])] as const);
  return {
    records: RECORDS,
    replayedRecords: times[0]!.replayedRecords,
    openMs: middle((time) => time.openMs),
    lockAndLogMs: middle((time) => time.openMs - time.snapshotMs - time.replayMs),
    snapshotMs: middle((time) => time.snapshotMs),
    replayMs: middle((time) => time.replayMs),
    lowestMs: tenths(Math.min(...times.map((time) => time.openMs))),
    highestMs: tenths(Math.max(...times.map((time) => time.openMs))),
    newProcessOpenMs: tenths(median(opened)),
    firstCommitMs: tenths(median(started.map(([full]) => full))),
    bareProcessMs: tenths(median(started.map(([, bare]) => bare))),
  };
}

const startScript = fileURLToPath(new URL("./start.child.js", import.meta.url));

/** A snapshot of all records with commits going on, and as long a time of the same commits without one. */
export async function snapshotting(place: Place): Promise<SnapshotReport> {
  const critical = place.openPartition("reopen", NO_SNAPSHOTS);
  // The log worker starts with the first commit that needs it.
  await critical.commitAsync((tx) => tx.put(critical.map("orders"), key(0), order(0)));
  await critical.snapshot();
  const startMs = performance.now();
  let sizeBytes = 0;
  let commits = 0;
  let durationMs = 0;
  const withSnapshot = async () => {
    const going = committing(critical);
    ({ sizeBytes } = await critical.snapshot());
    commits = await going.stop();
    durationMs = performance.now() - startMs;
  };
  const without = async () => {
    const going = committing(critical);
    await pause(durationMs);
    await going.stop();
  };
  let hold: Hold;
  let holdWithout: Hold;
  const collectionMs = await longestCollectionMs(async () => {
    hold = await longestHold(withSnapshot);
  });
  const collectionWithoutMs = await longestCollectionMs(async () => {
    holdWithout = await longestHold(without);
  });
  const { count, p50, p99, max } = critical.stats().snapshots!.slicesUs;
  await critical.close();
  return {
    sizeBytes,
    slices: { count, p50Us: p50, p99Us: p99, longestUs: max },
    durationMs: tenths(durationMs),
    commits,
    hold: hold!,
    holdWithout: holdWithout!,
    longestCollectionMs: collectionMs,
    longestCollectionWithoutMs: collectionWithoutMs,
  };
}

function committing(critical: Critical): { stop(): Promise<number> } {
  const orders = critical.map("orders");
  let isRunning = true;
  let commits = 0;
  const done = (async () => {
    while (isRunning) await critical.commitAsync((tx) => tx.put(orders, key(commits++), order(commits)));
  })();
  return {
    async stop() {
      isRunning = false;
      await done;
      return commits;
    },
  };
}
