import { throwIfAborted } from "../checkpoints/aborted.ts";
import type { Disk } from "../src/disk/disk.ts";
import { makeDurableDirectory } from "../src/disk/durable-directory.ts";
import { isStoreError, StoreError } from "../src/errors.ts";
import { parseSegmentName } from "../src/series/segment-format.ts";
import { SERIES_FILE } from "../src/series/series-file.ts";
import { copyRange } from "./copy-file.ts";
import type { BackupContext, BackupPart, PartResult } from "./part.ts";

export interface SeriesResult extends PartResult {
  series: number;
}

/** Appends seal and evict segments meanwhile; a series that changes under the copy is copied again. */
const ATTEMPTS = 10;

/**
 * Time series, each as it is at one moment: sealed segments, which never change, and the beginning of its hot file
 * that is there when it is copied. What a crash at that moment would leave is what the copy opens with.
 */
export function seriesPart(): BackupPart<SeriesResult> {
  return {
    name: "series",
    sizeBytes: ({ disk, source }) =>
      namesOf(disk, source)
        .flatMap((name) => filesOf(disk, `${source}/series/${name}`).map(({ sizeBytes }) => sizeBytes))
        .reduce((sum, size) => sum + size, 0),
    async copy(context) {
      const { disk, source, destination } = context;
      const names = namesOf(disk, source);
      let writtenBytes = 0;
      for (const name of names) writtenBytes += await copySeries(context, `series/${name}`);
      if (names.length > 0) disk.syncDirectory(`${destination}/series`);
      return { series: names.length, writtenBytes };
    },
  };
}

async function copySeries(context: BackupContext, name: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    throwIfAborted(context.signal);
    try {
      return await copyOnce(context, name);
    } catch (error) {
      if (attempt === ATTEMPTS || !isStoreError(error, "ERR_NOT_FOUND")) throw error;
    }
  }
}

async function copyOnce(context: BackupContext, name: string): Promise<number> {
  const { disk, source, destination, onBytes } = context;
  const [from, to] = [`${source}/${name}`, `${destination}/${name}`];
  refuseWritten(disk, to);
  makeDurableDirectory(disk, to);
  const files = filesOf(disk, from);
  let writtenBytes = 0;
  for (const { file, sizeBytes, isSealed } of files) {
    const target = `${to}/${file}`;
    if (isSealed && disk.stat(target)?.sizeBytes === sizeBytes) {
      onBytes(sizeBytes);
      continue;
    }
    // Under a name that an opening removes, until it is whole: a sealed segment that is there is a whole one.
    const temporary = `${target}.new`;
    await copyRange(context, { source: `${from}/${file}`, target: temporary, from: 0, to: sizeBytes });
    disk.rename(temporary, target);
    writtenBytes += sizeBytes;
  }
  const kept = new Set(files.map(({ file }) => file));
  for (const file of disk.list(to)) if (!kept.has(file)) disk.remove(`${to}/${file}`);
  disk.syncDirectory(to);
  return writtenBytes;
}

interface SeriesFileInfo {
  file: string;
  sizeBytes: number;
  isSealed: boolean;
}

/** The definition, then segments in the order of their rows. */
function filesOf(disk: Disk, directory: string): SeriesFileInfo[] {
  const files = disk.list(directory).filter((file) => file === SERIES_FILE || parseSegmentName(file));
  return files.flatMap((file): SeriesFileInfo[] => {
    const stat = disk.stat(`${directory}/${file}`);
    if (stat === undefined) return [];
    return [{ file, sizeBytes: stat.sizeBytes, isSealed: parseSegmentName(file)?.kind === "sealed" }];
  });
}

function namesOf(disk: Disk, store: string): string[] {
  const directory = `${store}/series`;
  return disk
    .list(directory)
    .filter((name) => disk.stat(`${directory}/${name}/${SERIES_FILE}`) !== undefined);
}

/** A writer leaves its lock file. */
function refuseWritten(disk: Disk, directory: string): void {
  if (!disk.list(directory).includes("writer.lock")) return;
  throw new StoreError(
    "ERR_EXISTS",
    `${directory} has been opened for writing and is no longer a mere backup`,
    {
      context: { directory },
      hint: "Back up to a new directory.",
    },
  );
}
