import type { Disk } from "../disk/disk.ts";
import { isStoreError, StoreError } from "../errors.ts";
import type { Journal, JournalEntry, RecordVisitor } from "../wal/journal.ts";
import type { RecordPlaces } from "../wal/record-places.ts";
import type { History } from "./history.ts";
import { copyRecords, KernelReplay, placesOf } from "./kernel-replay.ts";
import type { KernelState } from "./kernel-state.ts";
import { type RecordPlace, readRecord } from "./record-reader.ts";
import type { SnapshotAhead } from "./snapshot-ahead.ts";
import { SLOT_NAMES, type SnapshotHeader } from "./snapshot-format.ts";
import { readSnapshot, readSnapshotHeader } from "./snapshot-reader.ts";
import type { HistoryPosition } from "./snapshot-writer.ts";
import type { State } from "./state.ts";

/** What opening found. */
export interface Recovered {
  /** The snapshot it started from, if there was one. */
  snapshot: SnapshotHeader | undefined;
  /** Slot of that snapshot; the next one goes into the other. */
  slot: 0 | 1;
  /** Highest number any slot's header has: the next one is higher. */
  lastNumber: number;
  history: HistoryPosition | undefined;
  /** Slots whose header was whole and whose contents were not. */
  damaged: string[];
  /** Entries of the snapshot, which are not the state's yet. */
  entries: KernelState;
  /** Resolves when no thread reads a slot any more: none is written before. */
  slotsRead: Promise<void> | undefined;
}

/** The newest whole snapshot in the directory, loaded into an empty `state`. */
export function loadSnapshot(
  disk: Disk,
  directory: string,
  state: State,
  newEntries: () => KernelState,
  ahead?: SnapshotAhead,
): Recovered {
  const found = SLOT_NAMES.map((name, slot) => ({
    path: `${directory}/${name}`,
    slot: slot as 0 | 1,
    header: readSnapshotHeader(disk, `${directory}/${name}`),
  }));
  const whole = found.filter((each) => each.header !== undefined);
  whole.sort((a, b) => b.header!.number - a.header!.number);
  const lastNumber = whole[0]?.header?.number ?? 0;
  const damaged: string[] = [];
  const slotsRead = ahead?.ended;
  for (const { path, slot, header } of whole) {
    try {
      const entries = newEntries();
      const history = readSnapshot(disk, path, state, entries, ahead?.take(path, header!.number));
      return { snapshot: header, slot, lastNumber, history, damaged, entries, slotsRead };
    } catch (error) {
      if (!isStoreError(error, "ERR_STORE_CORRUPT")) throw error;
      damaged.push(path);
      state.reset();
    }
  }
  const entries = newEntries();
  return { snapshot: undefined, slot: 1, lastNumber, history: undefined, damaged, entries, slotsRead };
}

/**
 * Applies what the log holds beyond `state`; returns how many records that were. Records stay where `scan` finds
 * them.
 *
 * @throws ERR_STORE_CORRUPT when a record does not read or does not follow, ERR_NOT_FOUND when the next one was trimmed
 */
export function replay(scan: (visit: RecordVisitor) => void, state: State, history: History): number {
  let records = 0;
  const place: RecordPlace = { buffer: Buffer.alloc(0), offset: 0, end: 0, lsn: 0, timeUs: 0 };
  scan((bytes, offset, end, lsn, timeUs) => {
    place.buffer = bytes;
    place.offset = offset;
    place.end = end;
    place.lsn = lsn + state.logBase;
    place.timeUs = timeUs;
    if (place.lsn <= state.lsn) return;
    if (place.lsn !== state.lsn + 1) {
      throw new StoreError("ERR_STORE_CORRUPT", `the log goes from LSN ${state.lsn} to ${place.lsn}`, {
        context: { afterLsn: BigInt(state.lsn), lsn: BigInt(place.lsn) },
      });
    }
    records++;
    const record = readRecord(place, state);
    state.apply(record);
    history.addReplayed(place, record);
  });
  // Sequences resume after everything that may have been handed out.
  for (const sequence of state.sequences()) sequence.recovered(sequence.durableNext);
  return records;
}

/**
 * The same right after a snapshot was loaded, all records at once and by the kernel: what every opening does. Afterwards
 * the entries are the state's.
 *
 * @param places of the records, in the kernel's memory; without it they are read one by one.
 */
function replayAll(
  { entries }: Recovered,
  state: State,
  history: History,
  places: RecordPlaces | undefined,
  scan: (visit: RecordVisitor) => void,
): number {
  if (places === undefined) {
    entries.index(state, 0);
    entries.finish(state);
    return replay(scan, state, history);
  }
  const all = new KernelReplay(entries, state, places);
  all.run();
  entries.finish(state);
  history.addAllReplayed(all.records());
  for (const sequence of state.sequences()) sequence.recovered(sequence.durableNext);
  return places.count;
}

/** Replays what a reader has found behind the snapshot. */
export function replayRead(
  count: number,
  scan: (visit: RecordVisitor) => void,
  recovered: Recovered,
  state: State,
  history: History,
): number {
  const { kernel } = recovered.entries;
  const places = copyRecords(kernel, state.lsn + 1 - state.logBase, count, scan);
  return replayAll(recovered, state, history, places, scan);
}

/** Replays a journal that is open for writing: from here on it must hold everything the snapshot does not. */
export function replayJournal(
  journal: Journal,
  state: State,
  recovered: Recovered,
  history: History,
): number {
  const { damaged, entries } = recovered;
  const lastLsn = Number(journal.durableLsn) + state.logBase;
  if (lastLsn < state.lsn) {
    throw new StoreError(
      "ERR_STORE_CORRUPT",
      `the log ends with LSN ${lastLsn}, before the snapshot's LSN ${state.lsn}`,
      {
        context: { lastLsn: BigInt(lastLsn), snapshotLsn: BigInt(state.lsn) },
        hint: "The log was truncated or replaced from outside: restore it, or open a backup.",
      },
    );
  }
  try {
    const fromLsn = BigInt(state.lsn + 1 - state.logBase);
    const places = placesOf(journal, fromLsn, entries.kernel);
    return replayAll(recovered, state, history, places, (visit) => journal.scan(fromLsn, visit));
  } catch (cause) {
    if (!isStoreError(cause, "ERR_NOT_FOUND")) throw cause;
    const hint =
      damaged.length > 0
        ? `The snapshot that reached further is damaged (${damaged.join(", ")}): restore it from a backup.`
        : "A snapshot is missing: restore it from a backup.";
    const context = { neededLsn: BigInt(state.lsn + 1), damaged };
    throw new StoreError(
      "ERR_STORE_CORRUPT",
      `the log no longer holds LSN ${state.lsn + 1}, the next needed`,
      {
        cause,
        context,
        hint,
      },
    );
  }
}

/** Records a follower found, as replaying takes them: in memory of their own, not holding the blocks they lay in. */
export function scanOf(entries: readonly JournalEntry[]): (visit: RecordVisitor) => void {
  return (visit) => {
    const bytes = Buffer.allocUnsafeSlow(sizeOf(entries));
    let at = 0;
    for (const { lsn, timeUs, payload } of entries) {
      bytes.set(payload, at);
      visit(bytes, at, at + payload.byteLength, Number(lsn), Number(timeUs));
      at += payload.byteLength;
    }
  };
}

function sizeOf(entries: readonly JournalEntry[]): number {
  return entries.reduce((sum, { payload }) => sum + payload.byteLength, 0);
}

const FOLLOWED_RECORDS_MAX = 200_000;
const FOLLOWED_BYTES_MAX = 64 << 20;

/**
 * What a reader has followed since it loaded a snapshot, and holds, as it seals no history: after several snapshots'
 * worth it does better to begin again from the newest.
 */
export class Followed {
  #records = 0;
  #bytes = 0;

  /** Whether it is too much now. */
  add(entries: readonly JournalEntry[]): boolean {
    this.#records += entries.length;
    this.#bytes += sizeOf(entries);
    return this.#records > FOLLOWED_RECORDS_MAX || this.#bytes > FOLLOWED_BYTES_MAX;
  }
}
