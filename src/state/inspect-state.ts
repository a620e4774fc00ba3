import type { Disk } from "../disk/disk.ts";
import { rewriteLog } from "../versions/rewrite-log.ts";
import { type LogInspection, VersionStore } from "../versions/version-store.ts";

/** One state map's log, as its bytes are. */
export interface StateInspection {
  /** The directory it lies in. */
  directory: string;
  /** The map's name as a directory. */
  name: string;
  inspection: LogInspection;
}

/** Reads every state map's log, trusting none; for `check`, `repair` and backups. */
export function inspectStates(disk: Disk, storeDirectory: string, storeId: Uint8Array): StateInspection[] {
  const states = `${storeDirectory}/state`;
  return disk.list(states).flatMap((name) => {
    const directory = `${states}/${name}`;
    // Without a mark nothing in it was ever acknowledged.
    if (!disk.list(directory).includes("mark")) return [];
    const { store, inspection } = VersionStore.inspect({ disk, directory, storeId });
    store.close();
    return [{ directory, name, inspection }];
  });
}

/** Whether a log has lost anything, or its header or mark cannot be read. */
export function isDamaged({ headerDamage, damage, mark }: LogInspection): boolean {
  return headerDamage !== undefined || damage.length > 0 || mark === "damaged";
}

/** Whether a log is to be written again; all that was in it may be there. */
export function needsMending(inspection: LogInspection): boolean {
  return isDamaged(inspection) || inspection.padding.length > 0;
}

/** Writes a log's good records into another directory, where it takes its place when it is whole. */
export function writeStateCopy(
  disk: Disk,
  directory: string,
  storeId: Uint8Array,
  state: StateInspection,
): void {
  rewriteLog(disk, { directory, storeId, inspection: state.inspection });
}
