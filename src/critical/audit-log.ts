import type { Entry } from "./entry.ts";
import type { PastChange, PastRecord } from "./history-reader.ts";
import type { State } from "./state.ts";
import type { Moment, Trail } from "./trail.ts";

/** Which records of the trail. */
export interface LogQuery {
  /** From this LSN on, or after this time; from the oldest kept by default. */
  since?: Moment;
  /** Only records that changed this map… */
  map?: string;
  /** …and this key of it. */
  key?: string;
}

/** One commit of the audit trail. */
export interface AuditEntry {
  lsn: bigint;
  timeUs: bigint;
  kind: "transaction" | "cut";
  actor?: string;
  reason?: string;
  basedOn?: readonly string[];
  idempotencyKey?: string;
  cut?: { name: string; body: Uint8Array };
  changes: AuditChange[];
}

export type AuditChange =
  | { map: string; key: string; before: unknown; after: unknown; byClear?: true }
  | { sequence: string; before: bigint; after: bigint; adopted?: true }
  | { fence: { kind: string; detail: string } | undefined };

/** The trail with values before and after; values are as they were stored, not upgraded. */
export function* auditLog(
  trail: Trail,
  state: State,
  query: LogQuery,
  firstLsn: number,
): Generator<AuditEntry> {
  const from = query.since === undefined ? firstLsn : sinceLsn(trail, query.since);
  const { map, key } = query;
  const about = map !== undefined && key !== undefined ? { map, key } : undefined;
  for (const record of trail.records(from, about)) {
    const wanted = (change: PastChange) =>
      map === undefined ||
      (change.kind === "map" && change.map === map && (key === undefined || change.key === key));
    const changes = record.changes.filter(wanted);
    if (map !== undefined && changes.length === 0) continue;
    yield auditEntry(record, changes, state);
  }
}

/** An LSN is included; a time is not, so that reading on from the last entry's time repeats nothing. */
function sinceLsn(trail: Trail, since: Moment): number {
  if (typeof since === "object" && "lsn" in since) return Number(since.lsn);
  const { lsn, isTime } = trail.locate(since);
  return isTime ? lsn + 1 : lsn;
}

function auditEntry(record: PastRecord, changes: PastChange[], state: State): AuditEntry {
  const { lsn, timeUs, kind, annotations, idempotencyKey, cut } = record;
  const entry: AuditEntry = { lsn: BigInt(lsn), timeUs: BigInt(timeUs), kind, ...annotations, changes: [] };
  if (idempotencyKey !== undefined) entry.idempotencyKey = idempotencyKey;
  if (cut !== undefined) entry.cut = cut;
  for (const change of changes) {
    if (change.kind === "map") {
      const decode = (version: Entry | undefined) =>
        version === undefined ? undefined : state.table(change.map).decodeStored(version);
      const live = change.before?.liveAt(timeUs) ? change.before : undefined;
      const { map, key } = change;
      const told: AuditChange = { map, key, before: decode(live), after: decode(change.after) };
      if (change.byClear) told.byClear = true;
      entry.changes.push(told);
    } else if (change.kind === "sequence") {
      const { sequence, before, next, adopts } = change;
      entry.changes.push({ sequence, before, after: next, ...(adopts ? { adopted: true as const } : {}) });
    } else {
      entry.changes.push({ fence: change.fence });
    }
  }
  return entry;
}
