import { join } from "node:path";
import { asOfJoin } from "../../dist/index.js";

const TRADES = "trades_binance_usdm_btcusdt";
const QUOTES = "quotes_binance_usdm_btcusdt";

/**
 * Each trade with the quote as of its time, from sealed series and, by DuckDB, from the Parquet files of the same rows:
 * reading, joining and the result in memory. `undefined` where the two series are not there.
 */
export async function joinTrades({ store, duck, directory, timed }) {
  const there = store.series.list();
  if (!there.includes(TRADES) || !there.includes(QUOTES)) return undefined;
  const trades = store.series.open(TRADES, { readOnly: true });
  const quotes = store.series.open(QUOTES, { readOnly: true });
  let joined;
  const varveMs = await timed(async () => {
    const [left, right] = await Promise.all([
      trades.range({ columns: ["local_ts", "price"] }).table(),
      quotes.range({ columns: ["local_ts", "bid_px", "ask_px"] }).table(),
    ]);
    joined = await asOfJoin(left, right, { on: "local_ts" });
  });
  const parquet = (name) => `'${join(directory, `${name}.parquet`)}'`;
  const query = `SELECT t.local_ts, t.price, q.bid_px, q.ask_px FROM ${parquet(TRADES)} t
    ASOF LEFT JOIN ${parquet(QUOTES)} q ON t.local_ts >= q.local_ts`;
  let reader;
  const duckMs = await timed(async () => {
    reader = await duck.runAndReadAll(query);
  });
  const sums = await duck.runAndReadAll(
    `SELECT count(*)::INTEGER, count(bid_px)::INTEGER, sum(bid_px) FROM (${query})`,
  );
  const [rows, matched, bids] = sums.getRows()[0];
  const bidColumn = joined.getChild("bid_px");
  const ownBids = [...bidColumn].reduce((sum, bid) => sum + (bid ?? 0), 0);
  if (reader.currentRowCount !== joined.numRows || rows !== joined.numRows)
    throw new Error(`the joins have ${joined.numRows} and ${rows} rows`);
  return {
    rows,
    matched,
    ownMatched: bidColumn.length - bidColumn.nullCount,
    // Of quotes of the same instant DuckDB takes any, varve the last: the sums may differ by that.
    bidsDiffer: Math.abs(ownBids - bids) / bids,
    varveMs,
    duckMs,
  };
}
