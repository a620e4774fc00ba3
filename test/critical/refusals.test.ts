import { runInNewContext } from "node:vm";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describe, expect, it } from "vitest";
import { openCritical } from "../../open-critical.ts";
import type { CriticalMap } from "../../src/critical/map.ts";
import type { Transaction } from "../../src/critical/transaction.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { isStoreError } from "../../src/errors.ts";
import { TRANSACTION_CHANGES_MAX, VALUE_BYTES_MAX } from "../../src/limits.ts";
import { openTestStore } from "./store.ts";

function errorOf(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (isStoreError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: "no error", message: "" };
}

const codeOf = (run: () => unknown): string => errorOf(run).code;

/** A hand-written validator that answers what it is told to. */
function answering(answer: (value: unknown) => unknown): StandardSchemaV1<unknown, never> {
  const validate = answer as StandardSchemaV1.Props<unknown, never>["validate"];
  return { "~standard": { version: 1, vendor: "test", validate } };
}

describe("a transaction of one change too many", () => {
  const full = (tx: Transaction, map: CriticalMap<number>) => {
    for (let i = 0; i < TRANSACTION_CHANGES_MAX; i++) tx.put(map, "again", i);
  };

  it.each([
    ["put", (tx: Transaction, map: CriticalMap<number>) => tx.put(map, "late", 1)],
    ["delete", (tx: Transaction, map: CriticalMap<number>) => tx.delete(map, "there")],
    ["clear", (tx: Transaction, map: CriticalMap<number>) => tx.clear(map)],
  ])("leaves nothing of it to later transactions: %s", (_, last) => {
    const { critical } = openTestStore();
    const map = critical.map<number>("counts");
    critical.commit((tx) => tx.put(map, "there", 7));
    const tooMany = () =>
      critical.commit((tx) => {
        full(tx, map);
        last(tx, map);
      });
    expect(codeOf(tooMany)).toBe("ERR_LIMIT");
    const seen = critical.commit((tx) => [...tx.entries(map)]);
    expect(seen.value).toEqual([["there", 7]]);
    critical.commit((tx) => tx.put(map, "late", (tx.get(map, "late") ?? 0) + 1));
    expect([...map.entries()]).toEqual([
      ["late", 1],
      ["there", 7],
    ]);
  });
});

describe("a value that is refused", () => {
  it("is told of by its map and key", () => {
    const { critical } = openTestStore();
    const map = critical.map("positions");
    for (const value of [new Date(), new Uint8Array(VALUE_BYTES_MAX + 1)]) {
      const { message } = errorOf(() => critical.commit((tx) => tx.put(map, "BTC", value)));
      expect(message).toMatch(/^map positions, key BTC: /);
    }
    critical.commit((tx) => tx.put(map, "ETH", 1));
    const { message } = errorOf(() => critical.commit((tx) => tx.put(map, "BTC", new Map())));
    expect(message).toMatch(/^map positions, key BTC: /);
  });

  it("is one whose property name would come back as another", () => {
    const { critical } = openTestStore();
    const map = critical.map("positions");
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "BTC", { "\ud800": 1 })))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
    expect(map.has("BTC")).toBe(false);
  });

  it.each([
    ["undefined", () => ({ value: undefined })],
    ["a promise", async (value: unknown) => ({ value })],
    ["a promise of another realm", () => runInNewContext("Promise.resolve({ value: 1 })")],
  ])("is one of which its schema makes %s", (_, answer) => {
    const { critical } = openTestStore();
    const map = critical.map("positions", { schema: answering(answer) });
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "BTC", 1 as never)))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
    expect(map.has("BTC")).toBe(false);
  });
});

describe("what is no option", () => {
  it("is a schema that validates nothing, or an upgrade that is no function", () => {
    const { critical } = openTestStore();
    const schema = { parse: () => 1 } as never;
    expect(codeOf(() => critical.map("positions", { schema }))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => critical.map("positions", { upgrade: 5 as never }))).toBe("ERR_INVALID_ARGUMENT");
  });

  it("is an ifVersion that is no bigint", () => {
    const { critical } = openTestStore();
    const map = critical.map<number>("positions");
    critical.commit((tx) => tx.put(map, "BTC", 1));
    const ifVersion = 1 as unknown as bigint;
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "BTC", 2, { ifVersion })))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
  });

  it("is an idempotency key or actor that would come back as another", () => {
    const { critical } = openTestStore();
    expect(codeOf(() => critical.commit(() => 1, { idempotencyKey: "\ud800" }))).toBe("ERR_INVALID_ARGUMENT");
    expect(codeOf(() => critical.commit(() => 1, { actor: "\ud800" }))).toBe("ERR_INVALID_ARGUMENT");
  });

  it.each([
    [{ form: "a" }, "form"],
    [{ from: 5 }, "from"],
    [{ prefix: null }, "prefix"],
    [{ reverse: "no" }, "reverse"],
    [{ limit: Number.NaN }, "limit"],
    [{ limit: -1 }, "limit"],
    [null, "null"],
  ])("is a range that would quietly be the whole map: %j", (given, named) => {
    const { critical } = openTestStore();
    const map = critical.map<number>("positions");
    const { lsn } = critical.commit((tx) => tx.put(map, "BTC", 1));
    const range = given as never;
    for (const walk of [
      () => [...map.keys(range)],
      () => [...map.at(lsn).entries(range)],
      () => critical.commit((tx) => [...tx.entries(map, range)]),
    ]) {
      const { code, message } = errorOf(walk);
      expect([code, message]).toEqual(["ERR_INVALID_ARGUMENT", expect.stringContaining(named)]);
    }
  });
});

describe("options that are not what they may be", () => {
  it.each([
    ["history: keepMs", { history: { keepMs: "7d" as never } }],
    ["history: keepMs", { history: { keepMs: Number.NaN } }],
    ["history: keepBytes", { history: { keepBytes: -1 } }],
    ["history", { history: 7 as never }],
    ["idempotency: keys", { idempotency: { keys: "many" as never } }],
    ["snapshots: everyBytes", { snapshots: { everyBytes: Number.NaN } }],
    ["snapshots: bytesPerSecond", { snapshots: { bytesPerSecond: 0 } }],
    ["reserveBytes", { reserveBytes: "64MiB" as never }],
    ["socket", { socket: "no" as never }],
  ])("are refused by name: %s", (name, options) => {
    const place = { disk: new SimulatedDisk(), directory: "/store", storeId: new Uint8Array(16) };
    expect(() => openCritical(place, options)).toThrow(
      expect.objectContaining({
        code: "ERR_INVALID_ARGUMENT",
        message: expect.stringContaining(`${name} is `),
      }),
    );
  });
});
