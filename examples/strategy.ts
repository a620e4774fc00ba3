/**
 * A strategy's start: it opens the store, loads its model, its features, the last hour of ticks of ten markets and its
 * own state, decides once, and says how long that took since its process began.
 *
 *     node dist/examples/strategy.js prepare STORE   # once: a model of 20 MB, 100 MB of features, 10 × 100,000 ticks
 *     node dist/examples/strategy.js STORE
 */
import { openStore, type Store, type Tensor } from "../index.ts";

const MARKETS = Array.from({ length: 10 }, (_, i) => `market-${i}.trades`);
const TICKS = 100_000;
const FEATURES = 12;
const FEATURE_ROWS = 1_040_000;
const WEIGHTS = 5_000_000;
const HOUR_NS = 3_600_000_000_000n;
const START_NS = 1_723_161_255_000_000_000n;

const columns = { ts: "ts_ns", price: "f64", qty: "f64" } as const;

async function prepare(store: Store): Promise<void> {
  const weights: Tensor = {
    dtype: "F32",
    shape: [WEIGHTS],
    data: Float32Array.from({ length: WEIGHTS }, (_, i) => Math.sin(i) / 8),
  };
  await store.checkpoints.save("strategy-model", { weights }).durable;
  // The image is what a start reads: the model's bytes as they are, mapped where that is possible.
  await (await store.checkpoints.pin("strategy-model")).imaged;
  const names = Array.from({ length: FEATURES }, (_, i) => `f${i}`);
  const feature = (at: number) =>
    Float64Array.from({ length: FEATURE_ROWS }, (_, i) => Math.cos(i * (at + 1)));
  await store.features.publish("strategy-features", {
    rows: FEATURE_ROWS,
    columns: names.map((name, at) => ({
      name,
      type: "f64" as const,
      rows: FEATURE_ROWS,
      values: feature(at),
    })),
  });
  for (const [market, name] of MARKETS.entries()) {
    const series = store.series.open(name, { columns, key: "ts", profile: "light" });
    series.appendColumns({
      ts: BigInt64Array.from({ length: TICKS }, (_, i) => START_NS + BigInt(i) * 100_000_000n),
      price: Float64Array.from({ length: TICKS }, (_, i) => 100 + ((i * 7 + market) % 500) / 100),
      qty: Float64Array.from({ length: TICKS }, (_, i) => ((i * 13) % 97) / 1000),
    });
    await series.seal();
  }
  store.state.map<number>("strategy").put("position", 0);
  await store.state.flush();
}

/** The mean price of a market's last hour, by size: what the model is asked about. */
async function lastHour(store: Store, name: string): Promise<{ ticks: number; price: number }> {
  const series = store.series.open(name, { readOnly: true });
  const { firstRow, endRow } = series.positions();
  const newest = await series.asOf(2n ** 63n - 1n, { columns: ["ts"] });
  let [ticks, paid, size] = [0, 0, 0];
  const range = series.range({
    fromNs: newest!.tsNs! - HOUR_NS,
    fromRow: firstRow,
    toRow: endRow,
    columns: ["price", "qty"],
  });
  for await (const { slices, rows } of range.runs()) {
    const [prices, sizes] = slices.map(({ values }) => values as Float64Array);
    for (let i = 0; i < rows; i++) {
      paid += prices![i]! * sizes![i]!;
      size += sizes![i]!;
    }
    ticks += rows;
  }
  return { ticks, price: paid / size };
}

/** The newest model from its image, mapped or read, every byte checked. */
async function model(store: Store): Promise<Float32Array> {
  const { tensors, verified } = await store.checkpoints.pin("strategy-model");
  await verified;
  return tensors.get("weights")!.data as Float32Array;
}

async function decide(store: Store): Promise<Record<string, unknown>> {
  // The largest first: its bytes are read by other threads while this one goes on.
  const [features, weights, ...markets] = await Promise.all([
    store.features.loadColumns("strategy-features"),
    model(store),
    ...MARKETS.map((name) => lastHour(store, name)),
  ]);
  const position = store.state.map<number>("strategy").get("position") ?? 0;
  const row = features.rows - 1;
  const signal = features.columns.reduce((sum, { values }, i) => sum + Number(values[row]) * weights[i]!, 0);
  return {
    decision: signal > position ? "buy" : "sell",
    signal,
    ticks: markets.reduce((sum, market) => sum + market.ticks, 0),
    featureRows: features.rows,
    sinceProcessStartMs: Math.round(performance.now()),
  };
}

const preparing = process.argv[2] === "prepare";
const directory = process.argv[preparing ? 3 : 2];
if (directory === undefined) throw new Error("usage: strategy.js [prepare] STORE");
await using store = await openStore(directory, { create: preparing, readOnly: !preparing });
if (preparing) await prepare(store);
else process.stdout.write(`${JSON.stringify(await decide(store))}\n`);
