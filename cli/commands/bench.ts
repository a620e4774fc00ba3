import { tmpdir } from "node:os";
import type { Command } from "commander";
import type { CriticalBenchReport } from "../bench/critical.ts";
import type { Hold, Spread } from "../bench/samples.ts";
import { formatBytes, formatCount, formatDuration } from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { renderFields, renderTable } from "../render/table.ts";
import type { Session } from "../session.ts";
import { addBenchSeries } from "./bench-series.ts";

/** `varve bench …`; `varve bench critical`: what a durable commit costs here, beside the bare disk and other stores. */
export function addBench(program: Command, session: Session): void {
  const bench = program
    .command("bench")
    .description("measure on this machine, against peers in the same run");
  addBenchSeries(bench, session);
  bench
    .command("critical")
    .description("commits, openings and snapshots of critical state, against the bare disk and other stores")
    .option("--directory <dir>", "where the compared stores are made and removed again", tmpdir())
    .option("--quick", "a short run with wider spreads")
    .action(async (flags: { directory: string; quick?: boolean }) => {
      const { benchCritical } = await import("../bench/critical.ts");
      const report = await benchCritical({
        directory: flags.directory,
        quick: flags.quick === true,
        signal: session.signal,
        onStep: (what) => {
          if (session.flags.quiet !== true) session.terminal.writeErr(`measuring ${what}\n`);
        },
      });
      session.report(report, () => renderReport(report, session.style));
    });
}

function renderReport(report: CriticalBenchReport, style: Style): string {
  const { machine, directory, solo } = report;
  const peers = solo.missing.map(({ name, reason }) => `${name}: ${reason}\n`).join("");
  const own = solo.runners.find(({ name }) => name === "varve")!.p50;
  const columns = [
    { title: "one commit of 200 bytes, µs", cell: (row: Runner) => row.name },
    ...(["p10", "p50", "p90", "p99"] as const).map((title) => ({
      title,
      align: "right" as const,
      cell: (row: Runner) => row[title].toFixed(1),
    })),
    { title: "÷ varve", align: "right" as const, cell: (row: Runner) => (row.p50 / own).toFixed(2) },
    { title: "options", cell: (row: Runner) => row.options },
  ];
  return (
    `${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}, ${directory}, ` +
    `load ${machine.loadBefore.toFixed(1)} before and ${machine.loadAfter.toFixed(1)} after\n\n` +
    `${renderTable(solo.runners, columns, style)}${peers}\n${renderFields(fieldsOf(report), style)}` +
    report.warnings.map((warning) => `warning: ${warning}\n`).join("")
  );
}

type Runner = CriticalBenchReport["solo"]["runners"][number];

function fieldsOf(report: CriticalBenchReport): [string, string][] {
  const { solo, alone, inMemory, grouped, opening, snapshot } = report;
  const best =
    solo.bestPeer === undefined ? "" : `${solo.timesFasterThanBestPeer}× as fast as ${solo.bestPeer}`;
  const pair = (commit: Spread, floor: Spread) => `p50 ${commit.p50} µs, floor ${floor.p50} µs`;
  return [
    ["single commits", `${solo.timesFloor}× the floor, ${solo.overFloorUs} µs over it`],
    ["best peer", best],
    ["device bytes a commit", formatCount(solo.deviceBytesPerCommit)],
    ["in runs by themselves", `${pair(alone.commit, alone.floor)}, ${alone.timesFloor}× the floor`],
    ["store in memory", inMemory === undefined ? "" : pair(inMemory.commit, inMemory.floor)],
    [
      `commitAsync, ${grouped.inFlight} in flight`,
      `${formatCount(grouped.commitsPerSecond)}/s (${formatCount(grouped.lowest)} to ${formatCount(grouped.highest)}), ` +
        `${grouped.recordsPerWrite} records a write, floor p50 ${grouped.floorUs.p50} µs`,
    ],
    [
      "event loop delay p99.9",
      `${grouped.loopDelayP999Ms} ms meanwhile, ${grouped.idleLoopDelayP999Ms} ms idle`,
    ],
    [
      `open ${formatCount(opening.records)} records`,
      `${formatDuration(opening.openMs)} (${opening.lowestMs} to ${opening.highestMs} ms), ` +
        `${formatCount(opening.replayedRecords)} records replayed: log ${opening.lockAndLogMs} ms, ` +
        `snapshot ${opening.snapshotMs} ms, replay ${opening.replayMs} ms`,
    ],
    ["the same first thing in a process", formatDuration(opening.newProcessOpenMs)],
    [
      "process to first commit",
      `${formatDuration(opening.firstCommitMs)}, of these ${formatDuration(opening.bareProcessMs)} for an empty process`,
    ],
    [
      "snapshot",
      `${formatBytes(snapshot.sizeBytes)} in ${formatDuration(snapshot.durationMs)}, ` +
        `${formatCount(snapshot.commits)} commits meanwhile`,
    ],
    [
      "the snapshot's own turns",
      `${formatCount(snapshot.slices.count)}, p50 ${snapshot.slices.p50Us} µs, p99 ${snapshot.slices.p99Us} µs, ` +
        `longest ${snapshot.slices.longestUs} µs`,
    ],
    [
      "longest garbage collection",
      `${snapshot.longestCollectionMs} ms in the snapshot, ${snapshot.longestCollectionWithoutMs} ms without one`,
    ],
    [
      "longest hold of the event loop",
      `${formatHold(snapshot.hold)} in the snapshot, ${formatHold(snapshot.holdWithout)} in the same commits without one`,
    ],
  ];
}

function formatHold({ longestMs, longestOwnMs }: Hold): string {
  return longestOwnMs === undefined
    ? `${longestMs} ms`
    : `${longestMs} ms (${longestOwnMs} without waits for a processor)`;
}
