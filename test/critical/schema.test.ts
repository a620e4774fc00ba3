import { describe, expect, it } from "vitest";
import { Critical } from "../../src/critical/critical.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { openTestStore } from "./store.ts";

interface Position {
  quantity: string;
  side: "long" | "short";
}

const upgrade = (value: unknown, fromVersion: number): Position => {
  const { quantity } = value as { quantity: number };
  if (fromVersion !== 1 || quantity > 1000) throw new Error(`cannot upgrade ${quantity}`);
  return { quantity: String(quantity), side: "long" };
};

function storeWithOldData(quantities: number[]) {
  const store = openTestStore();
  const old = store.critical.map<{ quantity: number }>("positions", { version: 1 });
  store.critical.commit((tx) => {
    for (const quantity of quantities) tx.put(old, `p${quantity}`, { quantity });
  });
  return store;
}

describe("a map opened with a newer schema", () => {
  it("upgrades values that were read before the schema was known", async () => {
    const { critical } = storeWithOldData([1, 2]).crash();
    expect(critical.map("positions").get("p1")).toEqual({ quantity: 1 });
    const map = critical.map<Position>("positions", { version: 2, upgrade });
    expect(map.get("p1")).toEqual({ quantity: "1", side: "long" });
    expect(critical.commit((tx) => tx.get(map, "p1")).value).toEqual({ quantity: "1", side: "long" });
  });

  it.each([
    ["undefined", () => undefined],
    ["a promise", async (value: unknown) => value],
  ])("refuses an upgrade that gives %s", (_, wrong) => {
    const { critical } = storeWithOldData([1]).crash();
    const map = critical.map<Position>("positions", { version: 2, upgrade: wrong as never });
    expect(() => map.get("p1")).toThrow(/could not be upgraded to 2/);
  });

  it.each([
    ["a Date", () => new Date(0)],
    ["a function", () => () => 1],
    [
      "what holds itself",
      () => {
        const value: { value?: unknown } = {};
        value.value = value;
        return value;
      },
    ],
    ["what is too large", () => "x".repeat(2 << 20)],
  ])("refuses an upgrade that gives %s, where it is read and where it is planned", (_, wrong) => {
    const { critical } = storeWithOldData([1]).crash();
    const map = critical.map<Position>("positions", { version: 2, upgrade: wrong as never });
    expect(() => map.get("p1")).toThrow(/could not be upgraded to 2/);
    expect(critical.planMigration()[0]!.failing).toHaveLength(1);
  });

  it("survives the rejection of a promise that it refuses", async () => {
    const { critical } = storeWithOldData([1]).crash();
    const rejected: unknown[] = [];
    const note = (error: unknown) => rejected.push(error);
    process.on("unhandledRejection", note);
    const wrong = async () => {
      throw new Error("too late");
    };
    const map = critical.map<Position>("positions", { version: 2, upgrade: wrong as never });
    expect(() => map.get("p1")).toThrow(/could not be upgraded to 2/);
    const schema = { "~standard": { version: 1 as const, vendor: "test", validate: wrong } };
    const other = critical.map<Position>("other", { schema: schema as never });
    expect(() => critical.commit((tx) => tx.put(other, "k", { quantity: "1", side: "long" }))).toThrow(
      /asynchronously/,
    );
    await new Promise((resolve) => setTimeout(resolve, 10));
    process.off("unhandledRejection", note);
    expect(rejected).toEqual([]);
  });

  it("writes nothing twice when it is migrated while the background does it", async () => {
    const { critical } = storeWithOldData(Array.from({ length: 200 }, (_, i) => i)).crash();
    critical.map<Position>("positions", { version: 2, upgrade });
    expect(await critical.migrate()).toBe(200);
    expect([...critical.log({ since: 2n })].map(({ changes }) => changes.length)).toEqual([64, 64, 64, 8]);
  });

  it("upgrades values as they are read and writes them anew in the background", async () => {
    const store = storeWithOldData(Array.from({ length: 200 }, (_, i) => i));
    const { critical } = store.crash();
    const map = critical.map<Position>("positions", { version: 2, upgrade });
    expect(critical.planMigration()).toMatchObject([
      { version: 2, entries: 200, byVersion: { 1: 200 }, older: 200 },
    ]);
    expect(map.get("p7")).toEqual({ quantity: "7", side: "long" });
    expect(critical.lsn).toBe(1n);
    await critical.migrate();
    expect(critical.planMigration()).toMatchObject([{ byVersion: { 2: 200 }, older: 0, failing: [] }]);
    expect([...critical.log()].at(-1)).toMatchObject({ actor: "varve", reason: "upgrade to version 2" });
    expect([...map.history("p7")].map(({ after }) => after?.quantity)).toEqual(["7", "7"]);
  });

  it("names what cannot be upgraded and leaves it as it is", async () => {
    const store = storeWithOldData([1, 5000]).crash();
    const map = store.critical.map<Position>("positions", { version: 2, upgrade });
    const [plan] = store.critical.planMigration();
    expect(plan).toMatchObject({
      older: 2,
      failing: [{ key: "p5000", problem: "Error: cannot upgrade 5000" }],
    });
    expect(() => map.get("p5000")).toThrow(/could not be upgraded to 2/);
    await expect(store.critical.migrate()).rejects.toMatchObject({ code: "ERR_STORE_VERSION" });
    const reread = store.crash().critical.map<{ quantity: number }>("positions", { version: 1 });
    expect(reread.get("p5000")).toEqual({ quantity: 5000 });
  });
});

describe("a map opened with an older schema than its data", () => {
  it("is refused with ERR_STORE_VERSION", async () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m", { version: 3 });
    store.critical.commit((tx) => tx.put(map, "k", 1));
    const { critical } = store.crash();
    try {
      critical.map("m", { version: 2 });
      expect.unreachable();
    } catch (error) {
      expect(isStoreError(error, "ERR_STORE_VERSION")).toBe(true);
    }
    expect(critical.map<number>("m").get("k")).toBe(1);
    await store.critical.snapshot();
    expect(() => store.crash().critical.map("m", { version: 1 })).toThrow(/version 3, opened with version 1/);
  });

  it("refuses values that a newer program writes while a reader has the map open", () => {
    const disk = new SimulatedDisk();
    const place = { disk, directory: "/store/critical", storeId: new Uint8Array(16) };
    const { critical: reader } = openTestStore({ ...place, readOnly: true });
    const map = reader.map<string>("m", { version: 1 });
    const writer = Critical.open(place);
    const newer = writer.map<string>("m", { version: 2 });
    writer.commit((tx) => tx.put(newer, "k", "new"));
    writer.commit((tx) => tx.put(newer, "other", "new"));
    expect(reader.refresh()).toBeGreaterThanOrEqual(1n);
    expect(() => map.get("k")).toThrow(expect.objectContaining({ code: "ERR_STORE_VERSION" }));
  });
});
