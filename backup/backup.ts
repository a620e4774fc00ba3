import { dirname, resolve, sep } from "node:path";
import { throwIfAborted } from "../checkpoints/aborted.ts";
import { checkStore } from "../checkpoints/check.ts";
import type { Progress } from "../checkpoints/save.ts";
import type { CriticalStoreOptions } from "../open-critical.ts";
import type { Critical } from "../src/critical/critical.ts";
import type { Disk, DiskFile } from "../src/disk/disk.ts";
import { makeDurableDirectory } from "../src/disk/durable-directory.ts";
import { StoreError } from "../src/errors.ts";
import type { Engine } from "../src/store.ts";
import { readStoreFile, STORE_FILE, writeStoreFile } from "../src/store-file.ts";
import { lockStore } from "../src/store-lock.ts";
import { type CheckpointsResult, checkpointsPart } from "./checkpoints-part.ts";
import { type CriticalResult, criticalPart, hasCritical } from "./critical-part.ts";
import type { BackupContext, BackupPart } from "./part.ts";
import { type SeriesResult, seriesPart } from "./series-part.ts";
import { type StateResult, statePart } from "./state-part.ts";

export interface BackupOptions {
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

export interface BackupResult {
  /** The copy's directory. */
  directory: string;
  /** An earlier backup lay there and was brought up to date. */
  incremental: boolean;
  /** Absent in a store that has no critical state. */
  critical?: CriticalResult;
  checkpoints: CheckpointsResult;
  series: SeriesResult;
  state: StateResult;
  /** Bytes written, all parts together; what an earlier backup had already is not. */
  writtenBytes: number;
  durationMs: number;
}

export interface BackupSource {
  engine: Engine;
  /** Critical state, if this store object has it open. */
  critical: Critical | undefined;
  criticalOptions: CriticalStoreOptions;
}

/** What a directory may hold before its first backup is complete. */
const OURS = new Set(["critical", "chunks", "versions", "series", "state", STORE_FILE, `${STORE_FILE}.new`]);

/**
 * Copies a whole store while it is in use, onto an earlier backup of it or into an empty directory. The copy is
 * checked, opens like any store, and its sequences are fenced.
 *
 * Critical state is copied first and what it may refer to after it, from a later moment: a commit based on a model
 * finds that model in the copy. An interrupted backup leaves an earlier one usable and goes on from what it wrote.
 *
 * @throws ERR_EXISTS when something else lies there, or the backup was written to since; ERR_STORE_LOCKED while it is
 *   open; ERR_STORE_CORRUPT when the store is damaged; ERR_DISK_FULL, ERR_ABORTED
 */
export async function backupStore(
  { engine, critical, criticalOptions }: BackupSource,
  directory: string,
  options: BackupOptions = {},
): Promise<BackupResult> {
  const startMs = performance.now();
  const { disk, storeId, nowUs, createdUs } = engine;
  const destination = resolve(directory);
  const incremental = checkDestination(engine, destination);
  const withCritical = hasCritical(disk, engine.directory);
  const first = withCritical ? criticalPart(critical, criticalOptions) : undefined;
  const second = checkpointsPart(engine);
  const third = seriesPart();
  const fourth = statePart();
  const context: BackupContext = {
    disk,
    storeId,
    source: engine.directory,
    destination,
    nowUs,
    signal: options.signal,
    onBytes: () => {},
  };
  const lock = lockDestination(disk, destination, incremental);
  try {
    makeDurableDirectory(disk, destination);
    // The list of parts, in their order.
    context.onBytes = meter([first, second, third, fourth], context, options);
    const criticalResult = await runPart(first, context);
    const checkpoints = (await runPart(second, context))!;
    const series = (await runPart(third, context))!;
    const state = (await runPart(fourth, context))!;
    disk.syncDirectory(destination);
    if (!incremental) writeStoreFile(disk, destination, { format: 1, storeId, createdUs });
    await verify(disk, destination, options.signal);
    return {
      directory: destination,
      incremental,
      ...(criticalResult === undefined ? {} : { critical: criticalResult }),
      checkpoints,
      series,
      state,
      writtenBytes:
        checkpoints.writtenBytes +
        series.writtenBytes +
        state.writtenBytes +
        (criticalResult?.writtenBytes ?? 0),
      durationMs: performance.now() - startMs,
    };
  } finally {
    lock?.close();
  }
}

async function runPart<Result extends { writtenBytes: number }>(
  part: BackupPart<Result> | undefined,
  context: BackupContext,
): Promise<Result | undefined> {
  throwIfAborted(context.signal);
  return part?.copy(context);
}

/** Adds up what the parts report. */
function meter(
  parts: (BackupPart | undefined)[],
  context: BackupContext,
  { onProgress }: BackupOptions,
): (bytes: number) => void {
  const totalBytes = parts.reduce((sum, part) => sum + (part?.sizeBytes(context) ?? 0), 0);
  let doneBytes = 0;
  return (bytes) => {
    doneBytes += bytes;
    onProgress?.({ doneBytes: Math.min(doneBytes, totalBytes), totalBytes });
  };
}

/** Whether an earlier backup of this very store lies there. */
function checkDestination({ disk, directory, storeId }: Engine, destination: string): boolean {
  if (disk.stat(destination)?.isDirectory === false) {
    throw new StoreError("ERR_EXISTS", `${destination} is a file`, {
      context: { directory: destination },
      hint: "Name an empty or new directory, or an earlier backup of this store.",
    });
  }
  const inside = `${destination}${sep}`.startsWith(`${directory}${sep}`);
  if (
    inside ||
    leadsInto(disk, destination, directory) ||
    `${directory}${sep}`.startsWith(`${destination}${sep}`)
  ) {
    throw new StoreError("ERR_INVALID_ARGUMENT", `a backup of ${directory} cannot lie in or around it`, {
      context: { directory: destination },
      hint: "Name a directory elsewhere, best on another device.",
    });
  }
  const file = readStoreFile(disk, destination);
  if (file !== undefined && Buffer.compare(file.storeId, storeId) === 0) return true;
  const strangers = disk.list(destination).filter((name) => !OURS.has(name));
  if (file === undefined && strangers.length === 0) return false;
  const what =
    file === undefined ? `is not empty (${strangers.slice(0, 3).join(", ")})` : "holds another store";
  throw new StoreError("ERR_EXISTS", `${destination} ${what}`, {
    context: { directory: destination },
    hint: "Name an empty or new directory, or an earlier backup of this store.",
  });
}

/** Whether a path that may go over symbolic links ends in the store: the system itself goes up from there. */
function leadsInto(disk: Disk, destination: string, directory: string): boolean {
  const store = disk.stat(directory);
  let at = destination;
  while (disk.stat(at) === undefined && dirname(at) !== at) at = dirname(at);
  for (let stat = disk.stat(at), above = `${at}/..`; stat !== undefined; above += "/..") {
    if (stat.inode === store?.inode && stat.device === store.device) return true;
    const parent = disk.stat(above);
    if (parent?.inode === stat.inode && parent.device === stat.device) return false;
    stat = parent;
  }
  return false;
}

function lockDestination(disk: Disk, destination: string, incremental: boolean): DiskFile | undefined {
  if (!incremental) return undefined;
  return lockStore(
    disk,
    destination,
    "exclusive",
    "Close the backup, which is open as a store, or name another directory.",
  );
}

async function verify(disk: Disk, destination: string, signal: AbortSignal | undefined): Promise<void> {
  const { ok, problems } = await checkStore(disk, destination, signal === undefined ? {} : { signal });
  if (ok) return;
  const { what, where } = problems[0]!;
  throw new StoreError("ERR_STORE_CORRUPT", `the backup does not check: ${what} (${where})`, {
    context: { directory: destination, problems },
    hint: "Run `varve check` on the store itself and on the backup; back up to a new directory if only that is hit.",
  });
}
