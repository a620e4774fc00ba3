import { STATE_UPDATE_BYTES_MAX } from "../limits.ts";
import type { StateChange } from "./change-format.ts";
import { type StateLog, sizeOf } from "./state-log.ts";

/** Where a change lies in the log, 16 bytes instead of an object: there may be many. */
export interface Trail {
  offsets: number[];
  sizes: number[];
}

/** The records to keep: the newest up to `historyBytes`, before them what each key was then. */
export function keptRecords(
  log: StateLog,
  trails: ReadonlyMap<string, Trail>,
  historyBytes: number,
): { timeUs: bigint; changes: StateChange[] }[] {
  const sizes = new Map<number, number>();
  for (const { offsets, sizes: own } of trails.values())
    for (const [at, offset] of offsets.entries()) sizes.set(offset, own[at]!);
  const places = [...sizes].sort((a, b) => a[0] - b[0]);
  let from = places.length;
  for (let bytes = 0; from > 0; from--) {
    bytes += places[from - 1]![1];
    if (bytes > historyBytes) break;
  }
  const before = new Map<string, StateChange>();
  for (const [offset, sizeBytes] of places.slice(0, from)) {
    for (const change of log.read({ offset, sizeBytes })) before.set(change.key, change);
  }
  const kept = [...before.values()].filter((change) => change.bytes !== undefined);
  const records = inRecords(kept);
  for (const [offset, sizeBytes] of places.slice(from)) {
    const changes = log.read({ offset, sizeBytes });
    records.push({ timeUs: changes.at(-1)!.timeUs, changes });
  }
  return records;
}

function inRecords(changes: StateChange[]): { timeUs: bigint; changes: StateChange[] }[] {
  const records: { timeUs: bigint; changes: StateChange[] }[] = [];
  let sizeBytes = STATE_UPDATE_BYTES_MAX;
  for (const change of changes) {
    const changeBytes = sizeOf([change]);
    if (sizeBytes + changeBytes > STATE_UPDATE_BYTES_MAX) {
      records.push({ timeUs: change.timeUs, changes: [] });
      sizeBytes = 0;
    }
    records.at(-1)!.changes.push(change);
    sizeBytes += changeBytes;
  }
  return records;
}
