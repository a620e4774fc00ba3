import type { Command } from "commander";
import type { CriticalStats, HistogramSummary, StoreStats } from "../library.ts";
import { formatBytes, formatCount, formatDuration, formatRatio, plural } from "../render/quantities.ts";
import type { Style } from "../render/style.ts";
import { renderFields } from "../render/table.ts";
import type { Session } from "../session.ts";

/** `varve stats`: how much there is and what it takes. */
export function addStats(program: Command, session: Session): void {
  program
    .command("stats")
    .description("count refs, versions and bytes")
    .action(async () => {
      const stats = await session.withStore({ readOnly: true }, (store) => store.stats());
      session.report(stats, () => {
        const { critical, ...rest } = stats;
        const text = renderStats(rest, session.style);
        return critical === undefined ? text : `${text}${renderCritical(critical, session.style)}`;
      });
    });
}

function renderStats(stats: StoreStats, style: Style): string {
  const fields = Object.entries(stats).flatMap(([name, value]) => fieldsOf(name, value));
  const ratio = formatRatio(stats.logicalBytes, stats.storedBytes);
  return renderFields([...fields, ["ratio", ratio]], style);
}

/** The figures of critical state that people ask for; `--json` has all of them. */
function renderCritical(critical: CriticalStats, style: Style): string {
  const { commitNs, commitAsyncNs, log, recovery, reserve, snapshots, history, fence } = critical;
  const latency = ({ count, p50, p99 }: HistogramSummary) =>
    count === 0 ? "" : `${formatCount(count)}, half within ${us(p50)}, 99 % within ${us(p99)}`;
  const entries = critical.maps.reduce((sum, map) => sum + map.entries, 0);
  const fields: [string, string][] = [
    ["critical LSN", String(critical.lsn)],
    ["critical maps", `${plural(critical.maps.length, "map")}, ${plural(entries, "entry", "entries")}`],
    [
      "critical sequences",
      fence === undefined ? formatCount(critical.sequences.length) : `fenced: ${fence.detail}`,
    ],
    ["critical commits", latency(commitNs)],
    ["critical grouped commits", latency(commitAsyncNs)],
    [
      "critical log",
      log === undefined ? "" : `${log.durability}, mirror ${log.mirror}, ${plural(log.segments, "segment")}`,
    ],
    [
      "critical records a write",
      log === undefined || log.groupRecords.count === 0 ? "" : String(log.groupRecords.p50),
    ],
    ["critical recovery", formatDuration(recovery.snapshotMs + recovery.replayMs)],
    ["critical snapshot", snapshots === undefined ? "" : formatBytes(snapshots.sizeBytes)],
    ["critical history", formatBytes(history.sizeBytes)],
    ["critical reserve", reserve === undefined ? "" : reserveOf(reserve)],
    ["critical state", critical.poisoned ? "poisoned: open the store again" : ""],
  ];
  return renderFields(fields, style);
}

const us = (nanoseconds: number) => formatDuration(nanoseconds / 1e6);

function reserveOf({ readyBytes, diskFull }: NonNullable<CriticalStats["reserve"]>): string {
  return diskFull ? `the disk is full: ${formatBytes(readyBytes)} left` : formatBytes(readyBytes);
}

/** A figure by the unit that ends its name; a part with figures of its own gives several. */
function fieldsOf(name: string, value: unknown): [string, string][] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([part, inner]) => fieldsOf(`${name} ${part}`, inner));
  }
  if (typeof value !== "number") return [[name, String(value)]];
  if (name.endsWith("Bytes")) return [[words(name, "Bytes"), formatBytes(value)]];
  if (name.endsWith("Ms")) return [[words(name, "Ms"), formatDuration(value)]];
  return [[words(name, ""), formatCount(value)]];
}

/** `diskBytes` → `disk`, `openReaders` → `open readers`. */
function words(name: string, unit: string): string {
  return name.slice(0, name.length - unit.length).replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
