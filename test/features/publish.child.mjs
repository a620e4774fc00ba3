// Publishes ever longer tables and says each version once it is durable.
import { openStore } from "../../dist/index.js";

const store = await openStore(process.argv[2], { workers: 0 });
for (let rows = 5000; ; rows += 1000) {
  const columns = [
    {
      name: "ts",
      type: "i64",
      unit: "us",
      rows,
      values: BigInt64Array.from(
        { length: rows },
        (_, at) => 1_640_991_660_000_000n + BigInt(at) * 60_000_000n,
      ),
    },
    {
      name: "noise",
      type: "f64",
      rows,
      values: Float64Array.from({ length: rows }, (_, at) => Math.sin(at * 12.9898) * 43758.5453),
    },
    {
      name: "word",
      type: "utf8",
      rows,
      values: new Uint8Array(Buffer.from("ab".repeat(rows))),
      offsets: Int32Array.from({ length: rows + 1 }, (_, at) => at * 2),
    },
  ];
  const { version } = await store.features.publish("alpha", { rows, columns });
  process.stdout.write(`${version}\n`);
}
