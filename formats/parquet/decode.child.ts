/** The process that may hang or die: decodes the Parquet file that comes by its standard input. See reader.ts. */
import { Worker } from "node:worker_threads";
import { builtFile } from "../../src/built.ts";
import { toErrorRecord } from "../../src/errors.ts";
import { collect } from "../compression/streams.ts";
import { decodeParquet } from "./decode.ts";
import type { GuardStart } from "./guard.worker.ts";
import type { DecodeReply, DecodeStart } from "./messages.ts";

const { batchRows, stepMs, memoryBytes } = JSON.parse(process.argv[2]!) as DecodeStart;
const steps = new Int32Array(new SharedArrayBuffer(4));
const workerData: GuardStart = { steps, stepMs, memoryBytes, parent: process.ppid };
new Worker(new URL(builtFile(import.meta.url, "./guard.worker.js")), { workerData }).unref();

/** Resolves when the other side has room for more. */
function send(reply: DecodeReply): Promise<void> {
  return new Promise((resolve) => process.send!(reply, () => resolve()));
}

/** Each batch is asked for: no more than one waits in memory. */
const wanted = (async function* () {
  let more: () => void = () => {};
  let count = 0;
  process.on("message", () => {
    count++;
    more();
  });
  for (;;) {
    while (count === 0) await new Promise<void>((resolve) => (more = resolve));
    count--;
    yield;
  }
})();

try {
  const tables = decodeParquet(await collect(process.stdin), {
    ...(batchRows === undefined ? {} : { batchRows }),
    onStep: (step) => {
      Atomics.add(steps, 0, 1);
      void send({ step });
    },
  });
  for (;;) {
    await wanted.next();
    const { done, value: table } = await tables.next();
    // Waiting is no step: the guard has nothing to watch.
    Atomics.store(steps, 0, 0);
    if (done === true) break;
    for (const column of table.columns) await send({ column });
    await send({ rows: table.rows });
  }
  await send({ done: true });
} catch (error) {
  await send({ failed: toErrorRecord(error) });
}
process.disconnect();
