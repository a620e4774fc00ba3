import { setImmediate as nextTurn } from "node:timers/promises";
import { SERIES_REHEARSAL_SEGMENT_BYTES, SERIES_REHEARSAL_SEGMENTS } from "../limits.ts";
import type { SeriesDefinition } from "./series-file.ts";
import type { SeriesReads } from "./series-reads.ts";

/** Columns read beside the key: four say as much as a hundred about code that has never run. */
const COLUMNS = 4;

/** Whether some series was rehearsed: once a process is enough. */
let rehearsed = false;

/**
 * As-of reads of the newest row of the newest sealed segments, each in a turn of its own. What a process pays for its
 * first read (loading the decoders, compiling functions, opening a segment, decoding its block index) is then paid before
 * somebody waits for it, and strategies ask near the newest. `undefined` where there is nothing to read, or no need to.
 */
export function rehearse(
  reads: SeriesReads,
  definition: SeriesDefinition,
  signal: AbortSignal,
): Promise<void> | undefined {
  if (rehearsed) return undefined;
  const most = { segments: SERIES_REHEARSAL_SEGMENTS, sizeBytes: SERIES_REHEARSAL_SEGMENT_BYTES };
  const timesNs = reads.sealedTimesNs(most);
  if (timesNs.length === 0) return undefined;
  rehearsed = true;
  return readAll(reads, timesNs, columnsToRead(definition), signal);
}

/** A derived column is decoded for a whole segment at once: too long for a turn that nobody asked for. */
function columnsToRead({ schema, derive = {} }: SeriesDefinition): string[] {
  const names = schema.columns.map(({ name }) => name);
  return names.filter((name) => name !== schema.key && derive[name] === undefined).slice(0, COLUMNS);
}

async function readAll(
  reads: SeriesReads,
  timesNs: readonly bigint[],
  columns: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const aborted = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  // Whoever closes the store does not wait until it is loaded.
  await Promise.race([reads.load(), aborted]);
  for (const tsNs of timesNs) {
    await nextTurn();
    if (signal.aborted) return;
    await reads.asOf(tsNs, { columns });
  }
}
