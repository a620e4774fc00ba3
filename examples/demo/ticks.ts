/**
 * The market side of the demo: ticks appended to a series while a trainer in another process saves into the same store,
 * features published from them and loaded again, and a read as of an instant.
 */
import { openStore, type Series, type Store, type Table } from "../../index.ts";
import { Random } from "./random.ts";

const SERIES = "demo/ticks";
const FEATURES = "demo/signals";
const TICKS = 30_000;
const BATCH = 100;
const PAUSE_MS = 5;
/** 2025-01-02T00:00:00Z. */
const START_NS = 1_735_776_000_000_000_000n;

type Print = (text?: string) => void;
type Varve = (...args: string[]) => Promise<void>;

interface Ticks {
  ts: BigInt64Array;
  price: Float64Array;
  size: Float64Array;
}

/** The same made-up ticks every time: a price in steps of 0.1, sizes in thousandths, some milliseconds apart. */
function makeTicks(count: number, seed: number): Ticks {
  const random = new Random(seed);
  const ticks = {
    ts: new BigInt64Array(count),
    price: new Float64Array(count),
    size: new Float64Array(count),
  };
  let [ts, steps] = [START_NS, 943_210];
  for (let i = 0; i < count; i++) {
    ts += BigInt(1_000_000 + random.below(80_000_000));
    steps += Math.round(1.5 * random.normal());
    ticks.ts[i] = ts;
    ticks.price[i] = steps / 10;
    ticks.size[i] = (1 + random.below(2000)) / 1000;
  }
  return ticks;
}

/** Appends the ticks, a batch every few milliseconds, until they or the training are at their end; then the rest. */
export async function appendTicksDuring<T>(
  directory: string,
  training: Promise<T>,
  print: Print,
): Promise<T> {
  await using store = await openStore(directory, { create: true });
  const series = store.series.open(SERIES, {
    columns: { ts: "ts_ns", price: "f64", size: "f64" },
    key: "ts",
    ring: { segmentRows: 8192, segments: 64 },
  });
  let isTraining = true;
  const ended = () => {
    isTraining = false;
  };
  training.then(ended, ended);
  const ticks = makeTicks(TICKS, 5);
  let meanwhile = 0;
  for (let at = 0; at < TICKS; at += BATCH) {
    append(series, ticks, at, at + BATCH);
    if (!isTraining) continue;
    meanwhile = at + BATCH;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  await series.seal();
  const result = await training;
  print(`  meanwhile this process appended ${meanwhile} ticks to the same store, ${BATCH} at a time`);
  return result;
}

function append(series: Series, { ts, price, size }: Ticks, from: number, to: number): void {
  series.appendColumns({
    ts: ts.subarray(from, to),
    price: price.subarray(from, to),
    size: size.subarray(from, to),
  });
}

export async function readTicks(directory: string, print: Print, varve: Varve): Promise<void> {
  const store = await openStore(directory);
  const expected = makeTicks(TICKS, 5);
  try {
    await publishSignals(store, print);
    await readAsOf(store, expected, print);
  } finally {
    await store.close();
  }
  await varve("series", "stats", SERIES);
  await varve("features", "ls");
}

/** Two averages and their difference over all ticks, published as a version and loaded as an Arrow table. */
async function publishSignals(store: Store, print: Print): Promise<void> {
  const series = store.series.open(SERIES, { readOnly: true });
  const ticks = await series.range().table();
  await series.close();
  const price = ticks.getChild("price")!.toArray() as Float64Array;
  const [fast, slow] = [average(price, 12), average(price, 26)];
  const signal = fast.map((value, row) => value - slow[row]!);
  const rows = price.length;
  const column = (name: string, values: Float64Array) => ({ name, type: "f64" as const, rows, values });
  const table: Table = {
    rows,
    columns: [column("fast", fast), column("slow", slow), column("signal", signal)],
  };
  const { version } = await store.features.publish(FEATURES, table, { sources: [SERIES] });
  const start = performance.now();
  const loaded = await store.features.load(FEATURES);
  const milliseconds = (performance.now() - start).toFixed(1);
  const last = loaded.getChild("signal")!.get(rows - 1);
  if (loaded.numRows !== TICKS || last !== signal.at(-1)) throw new Error("the features came back changed");
  print(
    `  ${FEATURES}@${version}: ${rows} rows of 3 features, loaded as an Arrow table in ${milliseconds} ms`,
  );
}

/** An exponential moving average. */
function average(values: Float64Array, span: number): Float64Array {
  let last = values[0]!;
  return values.map((value) => {
    last += (2 / (span + 1)) * (value - last);
    return last;
  });
}

async function readAsOf(store: Store, { ts, price }: Ticks, print: Print): Promise<void> {
  const tick = Math.floor(TICKS / 3);
  // A nanosecond before the next tick: that one is not known yet.
  const instantNs = ts[tick + 1]! - 1n;
  const series = store.series.open(SERIES, { readOnly: true });
  const row = await series.asOf(instantNs);
  await series.close();
  if (row?.row !== tick || row.values["price"] !== price[tick])
    throw new Error("another row was in force then");
  print(
    `  as of ${new Date(Number(instantNs / 1_000_000n)).toISOString()} the price was ${price[tick]} (tick ${tick}); ` +
      "the next tick, a nanosecond later, is not seen",
  );
}
