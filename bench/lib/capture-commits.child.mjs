// Commits for so many seconds, one every five milliseconds, and says what each took: `… STORE SECONDS`.
import { setTimeout as delay } from "node:timers/promises";
import { openStore } from "../../dist/index.js";
import { quantile } from "./capture-model.mjs";

const [directory, seconds] = process.argv.slice(2);
const store = await openStore(directory);
const positions = store.critical.map("positions");
const times = [];
const until = performance.now() + Number(seconds) * 1000;
for (let i = 0; performance.now() < until; i++) {
  const start = performance.now();
  store.critical.commit((tx) => tx.put(positions, `symbol-${i % 50}`, { quantity: i, price: i / 7 }));
  times.push(performance.now() - start);
  await delay(5);
}
// The first ones warm the code up.
const counted = times.slice(50);
const at = (share) => quantile(counted, share);
console.log(JSON.stringify({ count: counted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) }));
await store.close();
