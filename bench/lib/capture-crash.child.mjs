// A process that is going to be killed: `… fill|reopen STORE MEGABYTES`. `fill` makes the store; `reopen` reads of each part what
// one reads first and says how long each took. Both then say so in a line, and go on writing until they are killed.
import { setTimeout as delay } from "node:timers/promises";

const [what, directory, megabytes] = process.argv.slice(2);
const RECORDS = 100_000;
const SERIES = 100;
/** Of these a segment is sealed, the rest is in the hot file. */
const ROWS = 5000;
const SEGMENT_ROWS = 4096;
const FIRST_NS = 1_700_000_000_000_000_000n;

const startedMs = performance.timeOrigin + performance.now();
const times = {};
async function timed(name, call) {
  const start = performance.now();
  const result = await call();
  times[name] = performance.now() - start;
  return result;
}

const { openStore } = await timed("import", () => import("../../dist/index.js"));
if (what === "fill") await fill();
else await reopen();

function record(i) {
  return {
    symbol: `S${i % 400}`,
    side: i % 2 === 0 ? "buy" : "sell",
    price: `${i}.25`,
    quantity: i,
    status: "new",
  };
}

async function fill() {
  const { allocateModel } = await import("./capture-model.mjs");
  const store = await openStore(directory, { create: true, ioBudget: Number.POSITIVE_INFINITY });
  const model = allocateModel(store, Number(megabytes));
  await store.checkpoints.save("model", model, { profile: "fast" }).durable;
  await (await store.checkpoints.pin("model")).imaged;
  const orders = store.critical.map("orders");
  for (let i = 0; i < RECORDS; i += 1000) {
    const put = (_, k) => store.critical.commitAsync((tx) => tx.put(orders, `o-${i + k}`, record(i + k)));
    await Promise.all(Array.from({ length: 1000 }, put));
  }
  const series = [];
  for (let i = 0; i < SERIES; i++) {
    const columns = { ts: "ts_ns", price: "f64", qty: "f64" };
    series.push(store.series.open(`s${i}`, { columns, key: "ts", ring: { segmentRows: SEGMENT_ROWS } }));
    series[i].appendColumns({
      ts: BigInt64Array.from({ length: ROWS }, (_, k) => FIRST_NS + BigInt(k * 1000)),
      price: Float64Array.from({ length: ROWS }, (_, k) => (100_000 + ((k * 7919) % 1000)) / 100),
      qty: Float64Array.from({ length: ROWS }, (_, k) => ((k * 104_729) % 5000) / 1000),
    });
    await series[i].settled();
  }
  // Killed in the middle of it.
  store.checkpoints.save("next", model, { profile: "fast" });
  await writeUntilKilled(store, orders, series);
}

async function reopen() {
  const store = await timed("open", () => openStore(directory));
  const pinned = await timed("weights", async () => {
    const all = await store.checkpoints.pin("model");
    const { data } = all.tensors.get("layer.0");
    require(Math.abs(data[0]) <= 0.05 && data[0] !== 0, "the first weight");
    return all;
  });
  const orders = await timed("records", () => {
    const map = store.critical.map("orders");
    require(map.get("o-99999")?.quantity === 99_999, "the last record");
    return map;
  });
  const first = await timed("series", () => readSeries(store, 0));
  const series = await timed("otherSeries", async () => {
    const others = [first];
    for (let i = 1; i < SERIES; i++) others.push(await readSeries(store, i));
    return others;
  });
  require(orders.size >= RECORDS, "the number of records");
  await timed("touched", () => {
    let sum = 0;
    for (const { data } of pinned.tensors.values())
      for (let i = 0; i < data.length; i += 1024) sum += data[i];
    require(!Number.isNaN(sum), "the weights");
  });
  times.source = pinned.source;
  const { replayedRecords, snapshotMs, replayMs } = store.critical.stats().recovery;
  Object.assign(times, { replayedRecords, snapshotMs, replayMs });
  await writeUntilKilled(store, orders, series);
}

async function readSeries(store, i) {
  const series = store.series.open(`s${i}`);
  const { tsNs, values } = await series.asOf(FIRST_NS * 2n);
  const whole = tsNs >= FIRST_NS + BigInt((ROWS - 1) * 1000) && values.price >= 1000;
  require(whole, `the newest row of s${i}`);
  return series;
}

function require(holds, part) {
  if (!holds) throw new Error(`not what was written: ${part}`);
}

async function writeUntilKilled(store, orders, series) {
  process.stdout.write(
    `${JSON.stringify({ startedMs, doneMs: performance.timeOrigin + performance.now(), ...times })}\n`,
  );
  for (let i = 0; ; i++) {
    store.critical.commit((tx) =>
      tx.put(orders, `o-${i % RECORDS === RECORDS - 1 ? 0 : i % RECORDS}`, record(i)),
    );
    const each = series[i % SERIES];
    const { endRow } = each.positions();
    each.append({ ts: FIRST_NS + BigInt(endRow * 1000), price: 1000 + (i % 100), qty: 1 });
    if (i % 16 === 0) await delay(1);
  }
}
