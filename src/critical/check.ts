import type { Disk } from "../disk/disk.ts";
import { findWriter } from "../disk/lock.ts";
import { isStoreError, StoreError } from "../errors.ts";
import { WAL_SEGMENT_BLOCKS } from "../limits.ts";
import { recover } from "../wal/recovery.ts";
import { Critical } from "./critical.ts";
import { identityProblem } from "./identity.ts";
import { HEADER_BYTES, SLOT_NAMES } from "./snapshot-format.ts";
import { readSnapshotHeader } from "./snapshot-reader.ts";
import { verifySnapshot } from "./snapshot-verify.ts";

/** One thing that is wrong with the critical partition. */
export interface CriticalProblem {
  part: "log" | "mirror" | "snapshot" | "history" | "identity";
  what: string;
  /** File, and offset where there is one. */
  where: string;
  hint: string;
  error?: StoreError;
}

export interface CriticalCheck {
  problems: CriticalProblem[];
  /** Harmless remains of what was interrupted. */
  notes: string[];
  checkedBytes: number;
}

export interface CriticalCheckOptions {
  disk: Disk;
  /** `critical/` in the store. */
  directory: string;
  storeId: Uint8Array;
  /** The log's mirror, compared with it block by block. */
  mirror?: string | undefined;
}

/** Looks at files that a living writer is changing: what seems damaged may only have been read meanwhile. */
const LOOKS = 3;

/**
 * Checks every byte of the critical partition: the log's chain, both snapshots, the hash-chained history, and that
 * an opening would succeed. Nothing is changed.
 */
export async function checkCritical(options: CriticalCheckOptions): Promise<CriticalCheck> {
  for (let look = 1; ; look++) {
    const check = await checkOnce(options);
    const isWritten = findWriter(options.disk, options.directory) !== undefined;
    if (check.problems.length === 0 || !isWritten || look === LOOKS) return check;
  }
}

async function checkOnce(options: CriticalCheckOptions): Promise<CriticalCheck> {
  const { disk, directory } = options;
  const check: CriticalCheck = { problems: [], notes: [], checkedBytes: bytesOf(disk, directory) };
  checkLog(options, check);
  await checkSnapshots(options, check);
  const identity = identityProblem(disk, directory);
  if (identity !== undefined) {
    check.problems.push({
      part: "identity",
      what: `the file that recognizes copies is damaged: ${identity}`,
      where: `${directory}/identity`,
      hint: "The next opening for writing makes it anew; until then a copy of the directory is not noticed.",
    });
  }
  // What the log's damage hides cannot be opened either, and the first finding says more.
  if (!check.problems.some(({ part }) => part === "log")) await checkOpening(options, check);
  return check;
}

function checkLog({ disk, directory, storeId, mirror }: CriticalCheckOptions, check: CriticalCheck): void {
  const look = (directories: string[]) =>
    recover({ disk, directories, storeId, segmentBlocks: WAL_SEGMENT_BLOCKS });
  try {
    const { torn } = look([directory]);
    if (torn !== undefined) {
      check.notes.push(`${directory}: ${torn.blocks} blocks of a write that was never acknowledged`);
    }
  } catch (error) {
    check.problems.push(problemOf("log", error, directory));
  }
  if (mirror === undefined) return;
  try {
    const places = look([directory, mirror]).repairs[1]!.length;
    if (places === 0) return;
    check.problems.push({
      part: "mirror",
      what: `the mirror differs from the log in ${places} blocks`,
      where: mirror,
      hint: "Opening the store with its mirror, or `varve repair --mirror`, brings it up to date.",
    });
  } catch (error) {
    check.problems.push(problemOf("mirror", error, mirror));
  }
}

async function checkSnapshots(
  { disk, directory }: CriticalCheckOptions,
  check: CriticalCheck,
): Promise<void> {
  for (const name of SLOT_NAMES) {
    const path = `${directory}/${name}`;
    if (disk.stat(path) === undefined) continue;
    const file = disk.open(path, { access: "read" });
    try {
      if (readSnapshotHeader(disk, path) !== undefined) {
        await verifySnapshot(file, path);
        continue;
      }
      const page = Buffer.alloc(HEADER_BYTES);
      file.readSync(page, 0);
      if (page.every((byte) => byte === 0)) {
        check.notes.push(`${path}: a snapshot that was not finished`);
        continue;
      }
      throw new StoreError("ERR_STORE_CORRUPT", `snapshot ${path}: its header is damaged`, {
        context: { path, offset: 0 },
      });
    } catch (error) {
      const hint =
        "The other snapshot and the log may hold everything; `varve repair` writes a new one then.";
      check.problems.push({ ...problemOf("snapshot", error, path), hint });
    } finally {
      file.close();
    }
  }
}

/** Opens as a reader does, and proves the history. */
async function checkOpening(options: CriticalCheckOptions, check: CriticalCheck): Promise<void> {
  const { disk, directory, storeId } = options;
  let critical: Critical;
  try {
    critical = Critical.open({ disk, directory, storeId, readOnly: true });
  } catch (error) {
    check.problems.push(problemOf("log", error, directory));
    return;
  }
  try {
    const { firstBad } = critical.verifyAudit();
    if (firstBad === undefined) return;
    check.problems.push({
      part: "history",
      what: `the history is damaged at LSN ${firstBad.firstLsn} to ${firstBad.lastLsn}: ${firstBad.problem}`,
      where: `${firstBad.file}, offset ${firstBad.offset}`,
      hint: "The current state is whole. `varve repair` turns back a single flipped bit; else a backup may hold this part.",
    });
  } finally {
    await critical.close();
  }
}

function problemOf(part: CriticalProblem["part"], error: unknown, path: string): CriticalProblem {
  if (!isStoreError(error)) throw error;
  const { file, block, directory, offset } = error.context;
  const where =
    file !== undefined
      ? `${directory}/${file}, block ${block}`
      : offset === undefined
        ? path
        : `${error.context["path"] ?? path}, offset ${offset}`;
  return { part, what: error.message, where, hint: error.hint ?? "Restore a backup.", error };
}

function bytesOf(disk: Disk, directory: string): number {
  return [directory, `${directory}/history`]
    .flatMap((each) => disk.list(each).map((name) => disk.stat(`${each}/${name}`)))
    .reduce((sum, stat) => sum + (stat === undefined || stat.isDirectory ? 0 : stat.sizeBytes), 0);
}
