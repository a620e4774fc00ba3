/**
 * A trading engine's critical state, whole: limits checked in the transaction that places an order, nonces, the map
 * from our order ids to the exchange's, a rate-limit window whose entries expire, positions, and session state.
 *
 *     node dist/examples/trading-engine.js STORE
 *
 * It trades until it is killed, and prints one line of JSON for each order before it goes to the exchange ("sent") and
 * once its fill is booked ("filled"). Killed at any moment, it goes on where it was: nothing acknowledged is missing
 * and no nonce comes twice. `npm run demo` does just that to it.
 */
import { randomInt } from "node:crypto";
import * as v from "valibot";
import { isStoreError, openStore, type Store, type Transaction } from "../index.ts";

/** Money and sizes are whole numbers of 10⁻⁸: bigints, never floats. */
const Amount = v.bigint();

const Position = v.object({ size: Amount, updatedUs: v.bigint() });
const Limit = v.object({ maxPosition: Amount, maxOrder: Amount });
const Order = v.object({
  id: v.string(),
  symbol: v.string(),
  side: v.picklist(["buy", "sell"]),
  size: Amount,
  price: Amount,
  nonce: v.bigint(),
  status: v.picklist(["sent", "filled", "lost"]),
});
const Session = v.object({ number: v.bigint(), startedUs: v.bigint(), orders: v.number() });
type Order = v.InferOutput<typeof Order>;

const SYMBOLS = ["BTCUSDT", "ETHUSDT"];
const ORDERS_PER_SECOND = 200n;
const RATE_WINDOW_US = 1_000_000n;
const ONE = 100_000_000n;

/** Maps and sequences of one engine. The schema versions are stored with every value. */
export function openDesk({ critical }: Store) {
  return {
    positions: critical.map("positions", { schema: Position, version: 1 }),
    limits: critical.map("limits", { schema: Limit, version: 1 }),
    orders: critical.map("orders", { schema: Order, version: 1 }),
    /** Our order id to the exchange's. */
    exchangeIds: critical.map<string>("exchange-ids"),
    /** Orders in each running second; entries go by themselves. */
    rate: critical.map<bigint>("rate-limit"),
    session: critical.map("session", { schema: Session, version: 1 }),
    nonce: critical.sequence("exchange.nonce"),
    orderNumber: critical.sequence("order-number"),
    sessionNumber: critical.sequence("session-number"),
  };
}

export type Desk = ReturnType<typeof openDesk>;

export interface Wanted {
  symbol: string;
  side: "buy" | "sell";
  size: bigint;
  price: bigint;
}

/**
 * Checks an order and takes it down, all in one transaction: when it returns, the order and its nonce are durable, and
 * only then may it go to the exchange. A limit that does not hold aborts it (`ERR_CONFLICT`) and changes nothing.
 */
export function placeOrder(store: Store, desk: Desk, wanted: Wanted): Order {
  const place = (tx: Transaction): Order => {
    const { symbol, side, size, price } = wanted;
    const limit = tx.get(desk.limits, symbol);
    tx.require(limit !== undefined, `no limit is set for ${symbol}`);
    tx.require(
      size <= limit.maxOrder,
      `an order of ${size} ${symbol} is over the limit of ${limit.maxOrder}`,
    );
    const position = tx.get(desk.positions, symbol)?.size ?? 0n;
    const after = side === "buy" ? position + size : position - size;
    tx.require(magnitude(after) <= limit.maxPosition, `the position in ${symbol} would be ${after}`);

    const second = tx.time / RATE_WINDOW_US;
    const expiresAtUs = (second + 2n) * RATE_WINDOW_US;
    const count = tx.increment(desk.rate, `${second}`, 1n, { expiresAtUs });
    tx.require(count <= ORDERS_PER_SECOND, `more than ${ORDERS_PER_SECOND} orders in one second`);

    const nonce = tx.next(desk.nonce);
    const id = `o-${tx.next(desk.orderNumber)}`;
    const order: Order = { id, symbol, side, size, price, nonce, status: "sent" };
    tx.put(desk.orders, id, order);
    const session = tx.get(desk.session, "current")!;
    tx.put(desk.session, "current", { ...session, orders: session.orders + 1 });
    return order;
  };
  return store.critical.commit(place, { actor: "engine" }).value;
}

/** Books a fill: position, order and the exchange's id change together, or not at all. */
export function bookFill(store: Store, desk: Desk, order: Order, exchangeId: string): Promise<unknown> {
  return store.critical.commitAsync(
    (tx) => {
      const size = tx.get(desk.positions, order.symbol)?.size ?? 0n;
      const change = order.side === "buy" ? order.size : -order.size;
      tx.put(desk.positions, order.symbol, { size: size + change, updatedUs: tx.time });
      tx.put(desk.orders, order.id, { ...order, status: "filled" });
      tx.put(desk.exchangeIds, order.id, exchangeId);
    },
    // A retry after a crash books it once.
    { actor: "exchange", idempotencyKey: `fill ${order.id}` },
  );
}

/** Begins a session: the first limits, a new session number, and what the last one left open. */
export function beginSession(store: Store, desk: Desk): { number: bigint; open: Order[] } {
  const { value } = store.critical.commit(
    (tx) => {
      for (const symbol of SYMBOLS) {
        if (tx.has(desk.limits, symbol)) continue;
        tx.put(desk.limits, symbol, { maxPosition: 5n * ONE, maxOrder: ONE });
      }
      const number = tx.next(desk.sessionNumber);
      tx.put(desk.session, "current", { number, startedUs: tx.time, orders: 0 });
      // Sent by a session that died: a real engine asks the exchange what became of each.
      const open = [...tx.entries(desk.orders)]
        .map(([, order]) => order)
        .filter(({ status }) => status === "sent");
      for (const order of open) tx.put(desk.orders, order.id, { ...order, status: "lost" });
      return { number, open };
    },
    { actor: "engine", reason: "session start" },
  );
  return value;
}

function magnitude(amount: bigint): bigint {
  return amount < 0n ? -amount : amount;
}

function strategy(): Wanted {
  const symbol = SYMBOLS[randomInt(SYMBOLS.length)]!;
  const side = randomInt(2) === 0 ? "buy" : "sell";
  return {
    symbol,
    side,
    size: (BigInt(randomInt(1, 100)) * ONE) / 100n,
    price: BigInt(randomInt(90, 110)) * ONE,
  };
}

function say(event: string, facts: Record<string, unknown>): void {
  const text = JSON.stringify({ event, ...facts }, (_, value) =>
    typeof value === "bigint" ? String(value) : value,
  );
  process.stdout.write(`${text}\n`);
}

async function main(directory: string): Promise<void> {
  await using store = await openStore(directory, { create: true });
  const desk = openDesk(store);
  const { number, open } = beginSession(store, desk);
  say("session", { number, open: open.length });
  for (;;) {
    let order: Order;
    try {
      order = placeOrder(store, desk, strategy());
    } catch (error) {
      if (!isStoreError(error, "ERR_CONFLICT")) throw error;
      say("refused", { why: error.message });
      await new Promise((resolve) => setTimeout(resolve, 5));
      continue;
    }
    say("sent", { id: order.id, nonce: order.nonce });
    await new Promise((resolve) => setTimeout(resolve, 4));
    await bookFill(store, desk, order, `x-${order.nonce}`);
    say("filled", { id: order.id });
  }
}

if (process.argv[1]?.endsWith("trading-engine.js")) await main(process.argv[2]!);
