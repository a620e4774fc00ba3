import { dirname } from "node:path";
import type { Disk } from "../disk/disk.ts";
import { makeDurableDirectory } from "../disk/durable-directory.ts";
import { encodeMark } from "./log-writer.ts";

/** Where the version log lies in a store. */
export const VERSION_LOG = "versions/log";

export interface LogCopy {
  source: string;
  target: string;
  storeId: Uint8Array;
  /** The durable beginning of the source that is copied, and the seq of its last record. */
  sizeBytes: number;
  seq: bigint;
}

/**
 * Brings a copy of the log, which is a beginning of it, up to `sizeBytes`, and then its mark. Durable when it
 * resolves; a crash before leaves a torn tail, or records that the mark does not speak of yet.
 */
export async function copyVersionLog(disk: Disk, copy: LogCopy): Promise<void> {
  const directory = dirname(copy.target);
  makeDurableDirectory(disk, directory);
  const from = disk.stat(copy.target)?.sizeBytes ?? 0;
  const bytes = Buffer.alloc(Math.max(0, copy.sizeBytes - from));
  const source = disk.open(copy.source, { access: "read" });
  try {
    await source.read(bytes, from);
  } finally {
    source.close();
  }
  await writeDurably(disk, copy.target, bytes, from);
  const mark = encodeMark({ logBytes: copy.sizeBytes, seq: copy.seq }, copy.storeId);
  await writeDurably(disk, `${directory}/mark`, mark, 0);
  disk.open(`${directory}/lock`, { access: "write", create: "may" }).close();
  disk.syncDirectory(directory);
}

async function writeDurably(disk: Disk, path: string, bytes: Uint8Array, position: number): Promise<void> {
  const file = disk.open(path, { access: "write", create: "may" });
  try {
    await file.write(bytes, position);
    await file.sync();
  } finally {
    file.close();
  }
}
