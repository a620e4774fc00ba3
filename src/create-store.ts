import type { Disk } from "./disk/disk.ts";
import { makeDurableDirectory } from "./disk/durable-directory.ts";
import { StoreError } from "./errors.ts";
import { newStoreFile, readStoreFile, STORE_FILE, type StoreFile, writeStoreFile } from "./store-file.ts";
import { VersionStore } from "./versions/version-store.ts";

const CREATION_LOCK = "creating.lock";

/** What an interrupted creation may have left behind. */
const OURS = new Set(["chunks", "versions", `${STORE_FILE}.new`, CREATION_LOCK]);

/**
 * Makes `directory` a store, or takes the one that another process has made there meanwhile: one process at a time
 * creates, and looks again once it may. The order makes a half-created store no store: `varve.json` comes last.
 * Durable when it resolves, the names of new directories included.
 * @throws `ERR_EXISTS` when the directory holds something else
 */
export async function createStore(disk: Disk, directory: string, nowUs: () => bigint): Promise<StoreFile> {
  refuseStrangers(disk, directory);
  makeDurableDirectory(disk, directory);
  const lock = disk.open(`${directory}/${CREATION_LOCK}`, { access: "write", create: "may" });
  try {
    if (!lock.tryLock("exclusive")) await lock.lock("exclusive");
    const made = readStoreFile(disk, directory);
    if (made !== undefined) return made;
    const file = newStoreFile(nowUs());
    disk.makeDirectory(`${directory}/chunks/packs`);
    VersionStore.create({ disk, directory: `${directory}/versions`, storeId: file.storeId });
    disk.syncDirectory(`${directory}/chunks`);
    disk.syncDirectory(directory);
    writeStoreFile(disk, directory, file);
    // Whoever still waits for this lock finds the store when it gets it; nobody else asks for it any more.
    disk.remove(`${directory}/${CREATION_LOCK}`);
    return file;
  } finally {
    lock.close();
  }
}

function refuseStrangers(disk: Disk, directory: string): void {
  const names = disk.list(directory);
  // A store that was made since the caller looked has more than its first files.
  if (names.includes(STORE_FILE)) return;
  const strangers = names.filter((name) => !OURS.has(name));
  if (strangers.length === 0) return;
  throw new StoreError(
    "ERR_EXISTS",
    `${directory} is not empty and holds no store (${strangers.slice(0, 3).join(", ")})`,
    { context: { directory }, hint: "Name an empty or new directory for the store." },
  );
}
