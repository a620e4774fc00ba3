import { execFileSync } from "node:child_process";
import { closeSync, openSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openStore } from "../../index.ts";
import { builtFile } from "../../src/built.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { Place } from "./place.ts";
import { hundredths, median, turn } from "./samples.ts";

export interface SeriesBenchOptions {
  /** Where the store is made and removed again. */
  directory: string;
  /** Fewer rows. */
  quick: boolean;
  /** A directory of market data (CSV, gzip) to import; absent: none is. */
  data: string | undefined;
  signal: AbortSignal;
  onStep: (what: string) => void;
}

export interface Quantiles {
  p50: number;
  p99: number;
  p999: number;
  max: number;
}

export interface FirstReads {
  median: number;
  least: number;
  most: number;
  processes: number;
}

export interface SeriesBenchReport {
  /**
   * Microseconds of one append of five numbers, of the bare write of as many bytes, and of putting as many into a mapped
   * file, where files can be mapped; one after the other.
   */
  append: {
    rows: number;
    varveUs: Quantiles;
    floorUs: Quantiles;
    mappedFloorUs: Quantiles | undefined;
    seals: number;
    /**
     * The longest append within 64 rows of a segment's first, and the longest time between two looks at the clock of a loop
     * that does nothing else for a second, right after: what the machine takes away by itself.
     */
    longestAtSealUs: number;
    longestClockGapUs: number;
  };
  /** Nanoseconds a row of batches of 64 and 1,024 rows, the median batch. */
  batches: { rows: number; nsPerRow: number }[];
  /**
   * As-of reads in a series of so many rows: the first ones are those of new processes, the others medians of one.
   * `first` comes a tenth of a second after the series was opened, `atOnce` in the same turn.
   */
  asOf: {
    rows: number;
    openMs: number;
    firstUs: FirstReads;
    atOnceUs: FirstReads;
    newBlockUs: number;
    cachedUs: number;
  };
  files: {
    file: string;
    rows: number;
    rawBytes: number;
    storedBytes: number;
    ratio: number;
    importMs: number;
  }[];
}

const COLUMNS = { ts: "ts_ns", price: "f64", qty: "f64", id: "i64", side: "u8" } as const;
const START = 1_723_161_255_088_176_367n;
const SEGMENT_ROWS = 32_768;
const BATCH_ROWS = 65_536;
const FRESH_PROCESSES = 9;

/** What appends, reads and imports of series cost on this machine. */
export async function benchSeries(options: SeriesBenchOptions): Promise<SeriesBenchReport> {
  const place = new Place(options.directory);
  try {
    options.onStep("appends of one row");
    const append = await benchAppend(place, options.quick ? 60_000 : 300_000);
    options.onStep("appends of batches");
    const batches = [await benchBatches(place, 64), await benchBatches(place, 1024)];
    options.onStep("as-of reads");
    const asOf = await benchAsOf(place, options.quick ? 1_000_000 : 10_000_000, options.signal);
    const files = options.data === undefined ? [] : await benchFiles(place, options.data, options);
    return { append, batches, asOf, files };
  } finally {
    place.remove();
  }
}

async function benchAppend(place: Place, rows: number): Promise<SeriesBenchReport["append"]> {
  await using store = await openStore(place.path("append"), { create: true });
  const series = store.series.open("s", { columns: COLUMNS, key: "ts", ring: { segmentRows: SEGMENT_ROWS } });
  const floor = openSync(place.path("floor"), "w");
  const bytes = new Uint8Array(72).fill(7);
  const mapped = realDisk.open(place.path("mapped"), { access: "write", create: "must" });
  const map = mapped.map?.(0, rows * bytes.length);
  const source = new DataView(bytes.buffer);
  const [varve, bare, put] = [new Float64Array(rows), new Float64Array(rows), new Float64Array(rows)];
  let longestAtSealUs = 0;
  const row = { ts: { hi: Number(START >> 32n), lo: 0 }, price: 0, qty: 1, id: 0, side: 0 };
  for (let i = 0; i < rows; i++) {
    row.ts.lo = i * 1000;
    row.price = 61_800 + ((i * 7) % 100) / 10;
    row.id = i;
    row.side = i & 1;
    const startMs = performance.now();
    series.append(row);
    const middleMs = performance.now();
    writeSync(floor, bytes, 0, bytes.length, i * bytes.length);
    const writtenMs = performance.now();
    map?.put(source, bytes.length, i * bytes.length);
    put[i] = (performance.now() - writtenMs) * 1000;
    varve[i] = (middleMs - startMs) * 1000;
    if (i >= SEGMENT_ROWS && i % SEGMENT_ROWS < 64) longestAtSealUs = Math.max(longestAtSealUs, varve[i]!);
    bare[i] = (writtenMs - middleMs) * 1000;
    if (i % 4096 === 0) await turn();
  }
  closeSync(floor);
  mapped.close();
  await series.settled();
  const { segments } = await series.stats();
  return {
    rows,
    varveUs: quantiles(varve),
    floorUs: quantiles(bare),
    mappedFloorUs: map && quantiles(put),
    seals: segments,
    longestAtSealUs: hundredths(longestAtSealUs),
    longestClockGapUs: hundredths(longestClockGapUs()),
  };
}

function longestClockGapUs(): number {
  const endMs = performance.now() + 1000;
  let longest = 0;
  for (let last = performance.now(); last < endMs; ) {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest * 1000;
}

async function benchBatches(place: Place, rows: number): Promise<{ rows: number; nsPerRow: number }> {
  await using store = await openStore(place.path(`batch-${rows}`), { create: true });
  const series = store.series.open("s", { columns: COLUMNS, key: "ts", ring: { segments: 2 } });
  const samples: number[] = [];
  for (let first = 0; first < 400_000; first += rows) {
    const batch = columnsFrom(first, rows);
    const startMs = performance.now();
    series.appendColumns(batch);
    samples.push(((performance.now() - startMs) * 1e6) / rows);
    await turn();
    await series.settled();
  }
  return { rows, nsPerRow: Math.round(median(samples)) };
}

function columnsFrom(first: number, rows: number) {
  const each = <T>(make: (i: number) => T) => Array.from({ length: rows }, (_, i) => make(first + i));
  return {
    ts: BigInt64Array.from(each((i) => START + BigInt(i) * 1000n)),
    price: Float64Array.from(each((i) => 61_800 + ((i * 7919) % 1000) / 10)),
    qty: Float64Array.from(each((i) => ((i * 31) % 977) / 1000)),
    id: BigInt64Array.from(each(BigInt)),
    side: Uint8Array.from(each((i) => i & 1)),
  };
}

async function benchAsOf(
  place: Place,
  rows: number,
  signal: AbortSignal,
): Promise<SeriesBenchReport["asOf"]> {
  const path = place.path("as-of");
  {
    await using store = await openStore(path, { create: true });
    const series = store.series.open("s", { columns: COLUMNS, key: "ts", profile: "light" });
    for (let first = 0; first < rows; first += BATCH_ROWS) {
      signal.throwIfAborted();
      series.appendColumns(columnsFrom(first, Math.min(BATCH_ROWS, rows - first)));
      await series.settled();
    }
    await series.seal();
  }
  const at = START + BigInt(Math.floor(rows * 0.37)) * 1000n + 500n;
  const firstUs = firstReads(path, at, 100);
  const atOnceUs = firstReads(path, at, 0);
  await using store = await openStore(path, { readOnly: true });
  const openedMs = performance.now();
  const series = store.series.open("s", { readOnly: true });
  const openMs = performance.now() - openedMs;
  const timeUs = async (row: number) => {
    const startMs = performance.now();
    await series.asOf(START + BigInt(row) * 1000n + 500n);
    return (performance.now() - startMs) * 1000;
  };
  const elsewhere: number[] = [];
  for (let i = 1; i < 40; i++) elsewhere.push(await timeUs(Math.floor((rows * i) / 40)));
  const cached: number[] = [];
  for (let i = 0; i < 4000; i++) cached.push(await timeUs(Math.floor(rows * 0.37) + (i % 500)));
  return {
    rows,
    openMs: hundredths(openMs),
    firstUs,
    atOnceUs,
    newBlockUs: hundredths(median(elsewhere)),
    cachedUs: hundredths(median(cached)),
  };
}

function firstReads(path: string, tsNs: bigint, afterMs: number): FirstReads {
  const samples = Array.from({ length: FRESH_PROCESSES }, () => firstAsOfUs(path, tsNs, afterMs));
  samples.sort((a, b) => a - b);
  return {
    median: hundredths(median(samples)),
    least: hundredths(samples[0]!),
    most: hundredths(samples.at(-1)!),
    processes: samples.length,
  };
}

/**
 * The first read of a new process, in the middle of the series, so long after the series was opened: with time between
 * them it has loaded its decoders and read newer segments ahead.
 */
function firstAsOfUs(path: string, tsNs: bigint, afterMs: number): number {
  const script = `
    const { openStore } = await import(${JSON.stringify(builtFile(import.meta.url, "../../index.ts").replace(/\.ts$/, ".js"))});
    const store = await openStore(${JSON.stringify(path)}, { readOnly: true });
    const series = store.series.open("s", { readOnly: true });
    if (${afterMs} > 0) await new Promise((resolve) => setTimeout(resolve, ${afterMs}));
    const startMs = performance.now();
    await series.asOf(${tsNs}n);
    console.log((performance.now() - startMs) * 1000);
    await store.close();`;
  return Number(execFileSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" }));
}

async function benchFiles(
  place: Place,
  directory: string,
  { onStep, signal }: SeriesBenchOptions,
): Promise<SeriesBenchReport["files"]> {
  await using store = await openStore(place.path("files"), { create: true });
  const results: SeriesBenchReport["files"] = [];
  for (const file of readdirSync(directory).filter((name) => /\.(csv|ndjson)(\.gz|\.zst)?$/.test(name))) {
    onStep(`import of ${file}`);
    const startMs = performance.now();
    const name = file.replace(/\..*$/, "");
    await store.importSeries(name, join(directory, file), { signal });
    const importMs = Math.round(performance.now() - startMs);
    const { rows, rawBytes, storedBytes } = await store.series.open(name, { readOnly: true }).stats();
    results.push({ file, rows, rawBytes, storedBytes, ratio: hundredths(rawBytes / storedBytes), importMs });
  }
  return results;
}

function quantiles(samples: Float64Array): Quantiles {
  const sorted = samples.slice().sort();
  const at = (share: number) => hundredths(sorted[Math.floor(share * (sorted.length - 1))]!);
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) };
}
