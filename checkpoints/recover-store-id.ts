import { packIdOfFileName } from "../src/chunks/pack-format.ts";
import type { Disk } from "../src/disk/disk.ts";
import { StoreError } from "../src/errors.ts";

/**
 * The store's id from the files that repeat it, when `varve.json` is lost: the version log and every pack have it in
 * their headers. The one most of them agree on counts.
 */
export function recoverStoreId(disk: Disk, directory: string): Uint8Array {
  const votes = new Map<string, number>();
  const vote = (path: string, offset: number) => {
    if (disk.stat(path)?.isFile !== true) return;
    const file = disk.open(path, { access: "read" });
    const id = Buffer.alloc(16);
    if (file.readSync(id, offset) === id.byteLength)
      votes.set(id.toString("hex"), (votes.get(id.toString("hex")) ?? 0) + 1);
    file.close();
  };
  vote(`${directory}/versions/log`, 12);
  const packs = `${directory}/chunks/packs`;
  for (const name of disk.list(packs)) if (packIdOfFileName(name) !== undefined) vote(`${packs}/${name}`, 16);
  const [winner] = [...votes].sort(([, a], [, b]) => b - a);
  if (winner === undefined) {
    throw new StoreError(
      "ERR_STORE_CORRUPT",
      `${directory}: varve.json is lost and no other file tells the store's id`,
      {
        context: { directory },
        hint: "There is nothing left to recover.",
      },
    );
  }
  return Buffer.from(winner[0], "hex");
}
