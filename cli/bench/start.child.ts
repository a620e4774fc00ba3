// One commit in a new process; without a directory nothing, for comparison.
export {};

const directory = process.argv[2];
if (directory !== undefined) {
  const { Critical } = await import("../../src/critical/critical.ts");
  const { realDisk } = await import("../../src/disk/real-disk.ts");
  const critical = Critical.open({ directory, disk: realDisk, storeId: new Uint8Array(16).fill(1) });
  const orders = critical.map("orders");
  critical.commit((tx) => tx.put(orders, "order-00000001", { status: "new" }));
  // As a crash would: nothing after the acknowledgement counts.
  process.exit(0);
}
