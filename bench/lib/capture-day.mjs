import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { openStore } from "../../dist/index.js";
import { allocateModel, generator } from "./capture-model.mjs";
import { orderFlow } from "./order-flow.mjs";
import { withDirectory } from "./places.mjs";
import { exact } from "./tables.mjs";

// The day, fixed. Every minute is alike, so that any number of them stands for it:
//   orders       4 s of burst, five events a second, each of 40 commits at once: 200 commits a second (order-flow.mjs);
//                then single commits, one every 20 s
//   ticks        of each of four symbols 50 trades and 200 quotes a second, appended row by row, synced every second
//   features     once a minute a table of 30 columns is published that has grown by one row (480 at first)
//   checkpoint   once a minute, 20 MB of float32 in 64 tensors of which every weight has moved
const SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"];
const BURST_SECONDS = 4;
const EVENTS_A_SECOND = 5;
const QUIET_EVERY_SECONDS = 20;
const TRADES_A_SECOND = 50;
const QUOTES_A_SECOND = 200;
/** Twenty minutes divide evenly into these, so that every tick of 20, 40 … minutes is sealed, and so written twice. */
const TRADE_SEGMENT_ROWS = 60_000;
const FEATURE_COLUMNS = 30;
const FEATURE_ROWS = 480;
const CHECKPOINT_MEGABYTES = 20;
const SEAL_AFTER_MS = 1;

/** Orders of the hours before make the log's segments, which are then used again and again. */
const WARM_MINUTES = 120;

const KINDS = ["orders", "ticks", "features", "checkpoints"];

/**
 * A trading day of the whole store, its waits left out: bytes the kernel says this process sent to the device, by what
 * it was doing, against the bytes its callers handed over. Bytes spooled come on top, whatever the kernel made of them.
 */
export async function day({ say, rounds: minutes = 40, staging = 64 }) {
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, {
      create: true,
      stagingBytes: staging * 1e6,
      critical: { log: { sealAfterMs: SEAL_AFTER_MS }, snapshots: { bytesPerSecond: 1e12 } },
    });
    const parts = { orders: orders(store), ticks: ticks(store), features: features(store) };
    parts.checkpoints = checkpoints(store);
    const before = await trade(store, parts, 1, () => {});
    say(`${WARM_MINUTES} minutes of orders, not counted`);
    for (let second = 0; second < WARM_MINUTES * 60; second++) await parts.orders(second % 60);
    const startMs = performance.now();
    const counts = await trade(store, parts, minutes, say);
    const tookMs = performance.now() - startMs;
    const causes = Object.entries((await store.stats()).io.byCause);
    const written = causes.map(([cause, { writtenBytes }]) => `${cause} ${exact(writtenBytes)}`);
    await store.close();
    return report(counts, {
      minutes,
      tookMs,
      beforeBytes: KINDS.reduce((sum, kind) => sum + before[kind].deviceBytes, 0),
      written: written.join(", "),
    });
  });
}

async function trade(store, parts, minutes, say) {
  const counts = Object.fromEntries(KINDS.map((kind) => [kind, { logicalBytes: 0, deviceBytes: 0 }]));
  const spooledBytes = store.checkpoints.captureStats().spooledBytes;
  const during = async (kind, work) => {
    const device = deviceBytes();
    counts[kind].logicalBytes += await work();
    counts[kind].deviceBytes += deviceBytes() - device;
  };
  for (let minute = 0; minute < minutes; minute++) {
    for (let second = 0; second < 60; second++) {
      await during("orders", () => parts.orders(second));
      await during("ticks", () => parts.ticks(second));
    }
    await during("features", parts.features);
    await during("checkpoints", parts.checkpoints);
    if (minute % 5 === 4) say(`${minute + 1} of ${minutes} minutes`);
  }
  counts.spooledBytes = store.checkpoints.captureStats().spooledBytes - spooledBytes;
  return counts;
}

/** What the kernel counts for all threads of this process. */
function deviceBytes() {
  return Number(/^write_bytes: (\d+)/m.exec(readFileSync("/proc/self/io", "utf8"))[1]);
}

function orders({ critical }) {
  const flow = orderFlow(critical);
  return async (second) => {
    const before = flow.logicalBytes;
    if (second < BURST_SECONDS) {
      for (let event = 0; event < EVENTS_A_SECOND; event++) {
        flow.nowUs += 200_000n;
        await Promise.all(flow.burst().map((change) => critical.commitAsync(change)));
      }
    } else {
      flow.nowUs += 1_000_000n;
      if (second % QUIET_EVERY_SECONDS === 0) {
        await critical.commitAsync(flow.quiet(second / QUIET_EVERY_SECONDS));
        await delay(SEAL_AFTER_MS + 1);
      }
    }
    return flow.logicalBytes - before;
  };
}

/** A walk of prices in steps of a hundredth, seeded. */
function ticks(store) {
  const random = generator(11);
  const columns = { ts: "ts_ns", price: "f64", qty: "f64", id: "i64", side: "u8" };
  const quoteColumns = { ts: "ts_ns", bid: "f64", bidQty: "f64", ask: "f64", askQty: "f64" };
  const open = (name, options) =>
    store.series.open(name, { key: "ts", flushIntervalMs: 3_600_000, ...options });
  const markets = SYMBOLS.map((symbol, i) => ({
    cents: 100_000 * (i + 1),
    id: 5_000_000_000n,
    trades: open(`${symbol}.trades`, { columns, ring: { segmentRows: TRADE_SEGMENT_ROWS } }),
    quotes: open(`${symbol}.quotes`, { columns: quoteColumns, ring: { segmentRows: TRADE_SEGMENT_ROWS } }),
  }));
  const quantity = () => (random() % 100_000) / 1000;
  let nowNs = 1_700_000_000_000_000_000n;
  return async () => {
    for (const market of markets) {
      for (let i = 0; i < QUOTES_A_SECOND; i++) {
        const ts = nowNs + BigInt(i * 5_000_000 + (random() % 4_000_000));
        market.cents += (random() % 5) - 2;
        const [bid, ask] = [market.cents / 100, (market.cents + 1 + (random() % 3)) / 100];
        market.quotes.append({ ts, bid, bidQty: quantity(), ask, askQty: quantity() });
        if (i % (QUOTES_A_SECOND / TRADES_A_SECOND) > 0) continue;
        const side = random() % 2;
        market.id += BigInt(1 + (random() % 3));
        market.trades.append({ ts, price: side === 0 ? ask : bid, qty: quantity(), id: market.id, side });
      }
    }
    nowNs += 1_000_000_000n;
    const all = markets.flatMap(({ trades, quotes }) => [trades, quotes]);
    await Promise.all(all.map((series) => series.flush()));
    await Promise.all(all.map((series) => series.settled()));
    return SYMBOLS.length * (TRADES_A_SECOND * (4 * 8 + 1) + QUOTES_A_SECOND * 5 * 8);
  };
}

/** What counts as logical is the row that is new, not the table that is handed over. */
function features({ features: tables }) {
  const random = generator(13);
  const values = Array.from({ length: FEATURE_COLUMNS }, () => new Float64Array(FEATURE_ROWS + 24 * 60));
  let rows = 0;
  const grow = () => {
    for (const column of values) column[rows] = (column[rows - 1] ?? 0) * 0.99 + random() / 2 ** 32 - 0.5;
    rows += 1;
  };
  while (rows < FEATURE_ROWS) grow();
  return async () => {
    grow();
    const columns = values.map((column, i) => {
      return { name: `f${i}`, type: "f64", rows, values: column.subarray(0, rows) };
    });
    await tables.publish("alpha", { rows, columns });
    return FEATURE_COLUMNS * 8;
  };
}

function checkpoints(store) {
  const model = allocateModel(store, CHECKPOINT_MEGABYTES);
  const random = generator(17);
  return async () => {
    for (const { data } of Object.values(model)) {
      for (let i = 0; i < data.length; i++) data[i] *= 1 + (random() / 2 ** 32 - 0.5) * 1e-3;
    }
    const { logicalBytes } = await store.checkpoints.save("model", model).durable;
    return logicalBytes;
  };
}

function report(counts, { minutes, tookMs, beforeBytes, written }) {
  const figures = { "simulated minutes": `${minutes}, in ${(tookMs / 1000).toFixed(0)} s without the waits` };
  const all = { logicalBytes: 0, deviceBytes: counts.spooledBytes };
  const line = ({ logicalBytes, deviceBytes: device }) =>
    `${exact(device)} of ${exact(logicalBytes)} logical, ${(device / logicalBytes).toFixed(2)} x, ` +
    `${(device / minutes / 60e6).toFixed(3)} MB/s`;
  for (const kind of KINDS) {
    all.logicalBytes += counts[kind].logicalBytes;
    all.deviceBytes += counts[kind].deviceBytes;
    figures[`device bytes: ${kind}`] = line(counts[kind]);
  }
  figures["device bytes: spooled, on top"] = exact(counts.spooledBytes);
  figures["device bytes: all (below 2 x, below 10 MB/s)"] = line(all);
  figures["the minute before, not counted: device bytes"] = exact(beforeBytes);
  figures["written by the store's own count, from its opening on"] = written;
  return figures;
}
