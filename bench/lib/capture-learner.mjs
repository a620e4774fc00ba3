import { openStore } from "../../dist/index.js";
import { generator, median, ms, spread } from "./capture-model.mjs";
import { withDirectory } from "./places.mjs";

/** An online learner: a table of 64-byte rows of which 1 % change at random between saves, named by `touched`. */
export async function learner({ say, megabytes = 1000, rounds = 200 }) {
  return withDirectory(async (directory) => {
    const store = await openStore(`${directory}/store`, { create: true });
    const rows = Math.floor((megabytes * 1e6) / 64);
    const { table } = store.checkpoints.allocate({ table: { dtype: "F32", shape: [rows, 16] } });
    const random = generator(3);
    const { data } = table;
    for (let i = 0; i < data.length; i++) data[i] = (random() / 2 ** 32 - 0.5) * 0.1;
    const first = await store.checkpoints.save("learner", { table }).durable;
    const touchedRows = Math.round(rows / 100);
    const calls = [];
    const captured = [];
    const durable = [];
    let storedBytes = first.storedBytes;
    let indexBytes = first.indexBytes;
    for (let i = 0; i < rounds; i++) {
      const hit = new Uint32Array(touchedRows);
      for (let k = 0; k < touchedRows; k++) {
        const row = random() % rows;
        hit[k] = row;
        for (let j = 0; j < 16; j++) data[row * 16 + j] *= 1.0001;
      }
      const start = performance.now();
      const ticket = store.checkpoints.save(
        "learner",
        { table },
        { touched: [{ tensor: "table", rows: hit }] },
      );
      calls.push(performance.now() - start);
      await ticket.captured;
      captured.push(performance.now() - start);
      const result = await ticket.durable;
      durable.push(performance.now() - start);
      storedBytes += result.storedBytes;
      indexBytes += result.indexBytes;
      if (i % 20 === 0) say(`save ${i + 1}: ${ms(durable.at(-1))}`);
    }
    const before = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    const fresh = store.checkpoints.allocate({ table: { dtype: "F32", shape: [rows, 16] } });
    const start = performance.now();
    await store.checkpoints.restoreInto("learner", fresh);
    const restoreMs = performance.now() - start;
    const got = fresh.table.data;
    const same = Buffer.compare(before, Buffer.from(got.buffer, got.byteOffset, got.byteLength)) === 0;
    await store.close();
    const touchedBytes = rounds * touchedRows * 64;
    return {
      "save call": spread(calls),
      "to captured": spread(captured),
      "to durable": spread(durable),
      "stored / touched, first save and all else counted": (storedBytes / touchedBytes).toFixed(2),
      "the same with the index's growth": ((storedBytes + indexBytes) / touchedBytes).toFixed(2),
      "without the first save": ((storedBytes - first.storedBytes) / touchedBytes).toFixed(2),
      "restore of the last version": `${ms(restoreMs)}, ${same ? "bit-identical" : "WRONG"}`,
      "median to durable": ms(median(durable)),
    };
  });
}
