import { makeDurableDirectory } from "../src/disk/durable-directory.ts";
import { StoreError } from "../src/errors.ts";
import { inspectStates, isDamaged, writeStateCopy } from "../src/state/inspect-state.ts";
import type { BackupPart, PartResult } from "./part.ts";

export interface StateResult extends PartResult {
  maps: number;
}

/** Strategies' maps: each log whole, since its writer may have written it again from its newest part. */
export function statePart(): BackupPart<StateResult> {
  return {
    name: "state",
    sizeBytes: ({ disk, source }) =>
      disk
        .list(`${source}/state`)
        .reduce((sum, name) => sum + (disk.stat(`${source}/state/${name}/log`)?.sizeBytes ?? 0), 0),
    async copy({ disk, source, destination, storeId, onBytes }) {
      let writtenBytes = 0;
      const states = inspectStates(disk, source, storeId);
      for (const state of states) {
        if (isDamaged(state.inspection)) {
          throw new StoreError("ERR_STORE_CORRUPT", `${state.inspection.logPath} is damaged`, {
            context: { path: state.inspection.logPath },
            hint: "Run `varve check`, then `varve repair`, and back up again.",
          });
        }
        const directory = `${destination}/state/${state.name}`;
        makeDurableDirectory(disk, directory);
        writeStateCopy(disk, directory, storeId, state);
        const sizeBytes = disk.stat(`${directory}/log`)?.sizeBytes ?? 0;
        writtenBytes += sizeBytes;
        onBytes(sizeBytes);
      }
      return { maps: states.length, writtenBytes };
    },
  };
}
