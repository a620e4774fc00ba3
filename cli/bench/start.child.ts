// One commit in a new process, which then tells how long opening took; without a directory nothing, for comparison.
import { writeSync } from "node:fs";

const directory = process.argv[2];
if (directory !== undefined) {
  const { Critical } = await import("../../src/critical/critical.ts");
  const { realDisk } = await import("../../src/disk/real-disk.ts");
  const startMs = performance.now();
  const critical = Critical.open({ directory, disk: realDisk, storeId: new Uint8Array(16).fill(1) });
  const openMs = performance.now() - startMs;
  const orders = critical.map("orders");
  critical.commit((tx) => tx.put(orders, "order-00000001", { status: "new" }));
  writeSync(1, String(openMs));
  // As a crash would: nothing after the acknowledgement counts.
  process.exit(0);
}
