import type { LogRecord } from "./change.ts";
import type { PastChange, PastRecord } from "./history-reader.ts";

/** A record still in memory as the files would give it. */
export function pastRecord(record: LogRecord): PastRecord {
  const changes: PastChange[] = [];
  for (const change of record.changes) {
    if (change.kind === "sequence") {
      const { sequence, before, next, adopts } = change;
      changes.push({ kind: "sequence", sequence: sequence.name, before, next, adopts });
    } else if (change.kind === "fence") {
      changes.push({ kind: "fence", fence: change.fence });
    } else if (change.kind === "clear") {
      for (const { key, entry } of change.cleared) {
        const map = change.table.name;
        changes.push({ kind: "map", map, key, before: entry, after: undefined, byClear: true });
      }
    } else {
      const { key, after, before } = change;
      changes.push({ kind: "map", map: change.table.name, key, before, after, byClear: false });
    }
  }
  return {
    lsn: record.lsn,
    timeUs: record.timeUs,
    kind: record.kind,
    annotations: record.annotations ?? {},
    idempotencyKey: record.idempotencyKey,
    cut: record.cut,
    changes,
  };
}
