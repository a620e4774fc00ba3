import { existsSync } from "node:fs";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import {
  type AloneReport,
  commitsAlone,
  type GroupedReport,
  groupedCommits,
  type SoloReport,
  soloCommits,
} from "./commits.ts";
import {
  type OpeningReport,
  openings,
  prepareOpening,
  type SnapshotReport,
  snapshotting,
} from "./openings.ts";
import { Place } from "./place.ts";

export interface CriticalBenchOptions {
  /** Where the compared stores are made, and removed again. */
  directory: string;
  /** A run of seconds instead of a minute or two, with wider spreads. */
  quick: boolean;
  signal: AbortSignal;
  onStep(what: string): void;
}

export interface CriticalBenchReport {
  machine: {
    cpu: string;
    memoryGiB: number;
    system: string;
    node: string;
    loadBefore: number;
    loadAfter: number;
  };
  directory: string;
  solo: SoloReport;
  alone: AloneReport;
  /** The software's own cost: the same with the store in memory. */
  inMemory: AloneReport | undefined;
  grouped: GroupedReport;
  opening: OpeningReport;
  snapshot: SnapshotReport;
  warnings: string[];
}

const MEMORY = "/dev/shm";

/** Measures critical state against the bare disk and the peers that are installed, all in one run. */
export async function benchCritical(options: CriticalBenchOptions): Promise<CriticalBenchReport> {
  const { directory, quick, signal, onStep } = options;
  const place = new Place(directory);
  const loadBefore = loadavg()[0]!;
  const step = <T>(what: string, work: () => Promise<T>): Promise<T> => {
    signal.throwIfAborted();
    onStep(what);
    return work();
  };
  try {
    const solo = await step("single commits", () => soloCommits(place, quick ? 3 : 20));
    const alone = await step("commits by themselves", () => commitsAlone(place, quick ? 3 : 12));
    const inMemory = await step("the same in memory", () => commitsInMemory(quick));
    const grouped = await step("grouped commits", () => groupedCommits(place, quick ? 10_000 : 200_000));
    await step("filling a store", () => prepareOpening(place));
    const opening = await step("openings", () => openings(place, quick ? 3 : 9));
    const snapshot = await step("a snapshot", () => snapshotting(place));
    const machine = {
      cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}`,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${type()} ${release()}`,
      node: process.version,
      loadBefore,
      loadAfter: loadavg()[0]!,
    };
    const { warnings } = place;
    return { machine, directory, solo, alone, inMemory, grouped, opening, snapshot, warnings };
  } finally {
    place.remove();
  }
}

/** Undefined where the system has no file system in memory at the usual place. */
async function commitsInMemory(quick: boolean): Promise<AloneReport | undefined> {
  if (!existsSync(MEMORY)) return undefined;
  const place = new Place(MEMORY);
  try {
    return await commitsAlone(place, quick ? 10 : 40);
  } finally {
    place.remove();
  }
}
