import { Packr } from "msgpackr";

const packr = new Packr({ useRecords: false, useBigIntExtension: true, moreTypes: true });
const OPEN_ORDERS = 600;

/**
 * The commits of an exchange-facing engine, the same every time: `burst()` gives the 40 changes of one market event,
 * `quiet(turn)` a single heartbeat, limit or cancellation. `flow.logicalBytes` counts keys, encoded values and 8 bytes for each
 * sequence number or counter; `flow.nowUs` is the simulated time, which the caller moves.
 */
export function orderFlow(critical) {
  return new OrderFlow(critical);
}

class OrderFlow {
  logicalBytes = 0;
  nowUs = 1_700_000_000_000_000n;
  #seed = 0x2545f491;
  #nextOrder = 1;
  #open = [];

  constructor(critical) {
    const map = (name) => critical.map(name, { version: 1 });
    this.orders = map("orders");
    this.ids = map("order-ids");
    this.positions = map("positions");
    this.balances = map("balances");
    this.counters = map("rate-limits");
    this.limits = map("limits");
    this.session = map("session");
    this.nonce = critical.sequence("exchange.nonce", { reserve: 1 });
  }

  /** Marsaglia's xorshift (2003): the same day every time. */
  #random(below) {
    this.#seed ^= this.#seed << 13;
    this.#seed ^= this.#seed >>> 17;
    this.#seed ^= this.#seed << 5;
    return (this.#seed >>> 0) % below;
  }

  #put(tx, map, key, value) {
    this.logicalBytes += key.length + packr.pack(value).byteLength;
    tx.put(map, key, value);
  }

  #symbol() {
    return ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"][this.#random(4)];
  }

  #decimal(whole, digits) {
    return `${this.#random(whole)}.${String(this.#random(10 ** digits)).padStart(digits, "0")}`;
  }

  #order(id, status) {
    return {
      symbol: this.#symbol(),
      side: this.#random(2) === 0 ? "buy" : "sell",
      type: "limit",
      quantity: this.#decimal(10, 8),
      price: this.#decimal(70_000, 2),
      filled: status === "filled" ? this.#decimal(10, 8) : "0.00000000",
      status,
      exchangeId: 123_456_789_012n + BigInt(id),
      openedUs: this.nowUs,
      strategy: `strategy-${this.#random(12)}`,
      model: `btc-lstm@${this.#random(40)}`,
    };
  }

  #newOrder(tx) {
    const id = this.#nextOrder++;
    const clientId = `x-${id.toString(36).padStart(8, "0")}`;
    this.#put(tx, this.orders, `o-${id}`, this.#order(id, "new"));
    this.#put(tx, this.ids, clientId, `o-${id}`);
    tx.next(this.nonce);
    const window = `minute-${this.nowUs / 60_000_000n}`;
    tx.increment(this.counters, window, 1, { expiresAtUs: this.nowUs + 120_000_000n });
    this.logicalBytes += 16;
    this.#open.push({ id, clientId });
    if (this.#open.length <= OPEN_ORDERS) return;
    const done = this.#open.shift();
    tx.delete(this.orders, `o-${done.id}`);
    tx.delete(this.ids, done.clientId);
    this.logicalBytes += `o-${done.id}`.length + done.clientId.length;
  }

  #anyOpen() {
    return this.#open[this.#random(this.#open.length)].id;
  }

  #replace(tx) {
    this.#put(tx, this.orders, `o-${this.#anyOpen()}`, this.#order(this.#anyOpen(), "replaced"));
  }

  #fill(tx) {
    this.#put(tx, this.orders, `o-${this.#anyOpen()}`, this.#order(this.#anyOpen(), "filled"));
    const position = {
      quantity: this.#decimal(50, 8),
      average: this.#decimal(70_000, 2),
      realized: this.#decimal(9000, 2),
    };
    this.#put(tx, this.positions, `${this.#symbol()}.${this.#random(10)}`, position);
    const asset = `asset-${this.#random(20)}`;
    this.#put(tx, this.balances, asset, { free: this.#decimal(100_000, 8), locked: this.#decimal(9000, 8) });
  }

  #sessionState(tx, exchange) {
    const state = { sequence: this.nowUs, listenKey: `k-${this.#random(1e9)}` };
    this.#put(tx, this.session, exchange, state);
  }

  /** The 40 changes of one market event (18 in the very first, when no order is open yet). */
  burst() {
    const changes = [];
    for (let i = 0; i < 16; i++) changes.push((tx) => this.#newOrder(tx));
    if (this.#open.length > 0) {
      for (let i = 0; i < 12; i++) changes.push((tx) => this.#replace(tx));
      for (let i = 0; i < 10; i++) changes.push((tx) => this.#fill(tx));
    }
    for (const exchange of ["binance", "kraken"]) changes.push((tx) => this.#sessionState(tx, exchange));
    return changes;
  }

  /** The change of one quiet event. */
  quiet(turn) {
    if (turn % 3 === 0) return (tx) => this.#sessionState(tx, "binance");
    if (turn % 3 === 1)
      return (tx) =>
        this.#put(tx, this.limits, this.#symbol(), { maxPosition: this.#decimal(50, 2), maxOrders: 200 });
    return (tx) => {
      const id = this.#anyOpen();
      this.#put(tx, this.orders, `o-${id}`, this.#order(id, "cancelled"));
    };
  }
}
