/**
 * Kills the trading engine of examples/trading-engine.ts with SIGKILL, again and again, and compares what it had
 * acknowledged with what the store holds.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { openStore } from "../../index.ts";
import { openDesk } from "../trading-engine.ts";

const KILLS = 4;
const ENGINE = fileURLToPath(new URL("../trading-engine.js", import.meta.url));

interface EngineEvent {
  event: "session" | "sent" | "filled" | "refused";
  id: string;
  nonce: string;
  open: number;
}

/** What the outside world knows: what was sent to the exchange, and what was confirmed. */
interface Seen {
  sent: Map<string, string>;
  filled: Set<string>;
  nonces: Set<string>;
  repeated: string[];
}

type Print = (text?: string) => void;
type Varve = (...args: string[]) => Promise<void>;

export async function killBetweenOrders(directory: string, print: Print, varve: Varve): Promise<void> {
  const seen: Seen = { sent: new Map(), filled: new Set(), nonces: new Set(), repeated: [] };
  for (let kill = 1; kill <= KILLS; kill++) {
    const orders = 8 + Math.floor(Math.random() * 25);
    // Before the last kill a risk officer changes a limit, through the engine that is trading.
    const meanwhile = kill === KILLS ? () => changeLimit(varve) : undefined;
    const before = seen.sent.size;
    const open = await trade(directory, seen, orders, meanwhile);
    print(
      `  ✗ killed after order ${seen.sent.size} (${seen.sent.size - before} in this session; it began with ${open} open from the last)`,
    );
  }
  await compare(directory, seen, print);
  await varve("critical", "ls", "positions");
  await varve("critical", "history", "limits", "BTCUSDT");
  await varve("sequence", "ls");
  await varve("audit", "verify");
}

async function changeLimit(varve: Varve): Promise<void> {
  const limit = '{"maxPosition":{"$bigint":"900000000"},"maxOrder":{"$bigint":"50000000"}}';
  await varve(
    "critical",
    "put",
    "limits",
    "BTCUSDT",
    limit,
    "--actor",
    "risk",
    "--reason",
    "volatile market",
  );
}

/** Runs the engine for so many orders and kills it; returns how many orders it found open. */
async function trade(
  directory: string,
  seen: Seen,
  orders: number,
  meanwhile: (() => Promise<void>) | undefined,
): Promise<number> {
  const child = spawn(process.execPath, [ENGINE, directory], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.on("close", resolve));
  let open = 0;
  let left = orders;
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as EngineEvent;
    if (event.event === "session") open = event.open;
    if (event.event === "filled") seen.filled.add(event.id);
    if (event.event !== "sent") continue;
    if (seen.nonces.has(event.nonce)) seen.repeated.push(event.nonce);
    seen.nonces.add(event.nonce);
    seen.sent.set(event.id, event.nonce);
    if (--left === 0) {
      await meanwhile?.();
      child.kill("SIGKILL");
    }
  }
  await ended;
  return open;
}

async function compare(directory: string, seen: Seen, print: Print): Promise<void> {
  await using store = await openStore(directory, { readOnly: true });
  const desk = openDesk(store);
  for (const [id, nonce] of seen.sent) {
    const order = desk.orders.get(id);
    if (order === undefined || String(order.nonce) !== nonce) throw new Error(`order ${id} is missing`);
    if (seen.filled.has(id) && order.status !== "filled")
      throw new Error(`the fill of order ${id} is missing`);
  }
  if (seen.repeated.length > 0) throw new Error(`nonces came twice: ${seen.repeated.join(", ")}`);
  const highest = [...seen.nonces].reduce((most, nonce) => (BigInt(nonce) > most ? BigInt(nonce) : most), 0n);
  if (desk.nonce.upcoming <= highest) throw new Error("a nonce would come twice");
  const booked = [...desk.orders.values()].filter(({ status }) => status === "filled");
  for (const [symbol, { size }] of desk.positions) {
    const sum = booked
      .filter((order) => order.symbol === symbol)
      .reduce((total, order) => total + (order.side === "buy" ? order.size : -order.size), 0n);
    if (sum !== size) throw new Error(`the position in ${symbol} is ${size}, its fills make ${sum}`);
  }
  print(
    `  all ${seen.sent.size} orders and ${seen.filled.size} fills that were acknowledged are there, ` +
      `positions equal their fills, no nonce came twice`,
  );
}
