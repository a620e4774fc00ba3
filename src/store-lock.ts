import type { Disk, DiskFile } from "./disk/disk.ts";
import { isStoreError, StoreError } from "./errors.ts";
import { STORE_FILE } from "./store-file.ts";

/**
 * Every process that opens a store holds a shared lock on `varve.json`; repair holds it alone. The kernel frees it
 * when the process ends. `undefined` when there is no file to lock there, which only repair can meet.
 * @throws `ERR_STORE_LOCKED`
 */
export function lockStore(
  disk: Disk,
  directory: string,
  mode: "shared" | "exclusive",
  hint = mode === "shared"
    ? "Wait until it is done."
    : "Close the store everywhere first: repair needs it alone.",
): DiskFile | undefined {
  const path = `${directory}/${STORE_FILE}`;
  if (disk.stat(path)?.isFile !== true) return undefined;
  let file: DiskFile;
  try {
    file = disk.open(path, { access: mode === "shared" ? "read" : "write" });
  } catch (error) {
    if (isStoreError(error, "ERR_NOT_FOUND")) return undefined;
    throw error;
  }
  if (file.tryLock(mode)) return file;
  file.close();
  const message =
    mode === "shared"
      ? `${directory} is being repaired`
      : `${directory} is open in another process or store object`;
  throw new StoreError("ERR_STORE_LOCKED", message, {
    context: { directory },
    retryable: true,
    hint,
  });
}
