import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describe, expect, it } from "vitest";
import type { Transaction } from "../../src/critical/transaction.ts";
import { isStoreError, StoreError } from "../../src/errors.ts";
import {
  KEY_BYTES_MAX,
  TRANSACTION_BYTES_MAX,
  TRANSACTION_CHANGES_MAX,
  VALUE_BYTES_MAX,
} from "../../src/limits.ts";
import { openTestStore } from "./store.ts";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
  return "no error";
}

/** A Standard Schema validator written by hand: a position whose numbers must be finite. */
const positionSchema: StandardSchemaV1<unknown, { quantity: number }> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate(value) {
      const quantity = (value as { quantity?: unknown } | null)?.quantity;
      return Number.isFinite(quantity)
        ? { value: { quantity: quantity as number } }
        : { issues: [{ message: "must be a finite number", path: ["quantity"] }] };
    },
  },
};

describe("a transaction", () => {
  it("is there on return, and after a crash", () => {
    const store = openTestStore();
    const positions = store.critical.map<{ quantity: string }>("positions");
    const nonce = store.critical.sequence("nonce");
    const receipt = store.critical.commit((tx) => {
      tx.put(positions, "BTCUSDT", { quantity: "0.5" });
      return tx.next(nonce);
    });
    expect(receipt.lsn).toBe(1n);
    expect(receipt.value).toBe(1n);
    expect(positions.get("BTCUSDT")).toEqual({ quantity: "0.5" });
    const again = store.crash();
    expect(again.critical.map("positions").get("BTCUSDT")).toEqual({ quantity: "0.5" });
    expect(again.critical.sequence("nonce").next()).toBe(2n);
  });

  it("sees its own writes, which nobody else sees before it ends", () => {
    const { critical } = openTestStore();
    const map = critical.map<number>("m");
    critical.commit((tx) => tx.put(map, "b", 2));
    critical.commit((tx) => {
      tx.put(map, "a", 1);
      tx.put(map, "c", 3);
      tx.delete(map, "b");
      expect(tx.get(map, "a")).toBe(1);
      expect(tx.has(map, "b")).toBe(false);
      expect([...tx.entries(map)]).toEqual([
        ["a", 1],
        ["c", 3],
      ]);
      expect([...tx.entries(map, { reverse: true, limit: 1 })]).toEqual([["c", 3]]);
      expect([...map.entries()]).toEqual([["b", 2]]);
    });
    expect([...map.entries()]).toEqual([
      ["a", 1],
      ["c", 3],
    ]);
  });

  it("that throws changes nothing, neither maps nor sequences nor names", () => {
    const store = openTestStore();
    const { critical } = store;
    const map = critical.map<number>("m");
    const nonce = critical.sequence("n");
    critical.commit((tx) => tx.put(map, "kept", 1));
    const other = critical.map<number>("other");
    expect(() =>
      critical.commit((tx) => {
        tx.put(map, "kept", 2);
        tx.put(map, "kept", 3);
        tx.put(other, "x", 1);
        tx.clear(map);
        tx.put(map, "new", 1);
        tx.next(nonce);
        throw new Error("changed my mind");
      }),
    ).toThrow("changed my mind");
    expect([...map.entries()]).toEqual([["kept", 1]]);
    expect(critical.lsn).toBe(1n);
    critical.commit((tx) => {
      expect(tx.get(map, "kept")).toBe(1);
      expect(tx.has(map, "new")).toBe(false);
      expect(tx.next(nonce)).toBe(1n);
      tx.put(other, "y", 1);
    });
    const again = store.crash();
    expect([...again.critical.map("other").keys()]).toEqual(["y"]);
  });

  it("aborts with ERR_CONFLICT on require and on a version that moved, even if the callback swallows it", () => {
    const { critical } = openTestStore();
    const map = critical.map<number>("m");
    expect(codeOf(() => critical.commit((tx) => tx.require(false, "limit exceeded")))).toBe("ERR_CONFLICT");
    critical.commit((tx) => tx.put(map, "k", 1, { ifVersion: 0n }));
    const version = map.entry("k")!.version;
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "k", 9, { ifVersion: 0n })))).toBe(
      "ERR_CONFLICT",
    );
    critical.commit((tx) => tx.put(map, "k", 2, { ifVersion: version }));
    const swallowed = () =>
      critical.commit((tx) => {
        try {
          tx.put(map, "k", 3, { ifVersion: version });
        } catch {
          // A callback may not turn a conflict into a commit.
        }
        tx.put(map, "other", 1);
      });
    expect(codeOf(swallowed)).toBe("ERR_CONFLICT");
    expect([...map.entries()]).toEqual([["k", 2]]);
  });

  it("may not be begun inside another, return a promise, or be used after its end", () => {
    const { critical } = openTestStore();
    const map = critical.map<number>("m");
    expect(codeOf(() => critical.commit(() => critical.commit((tx) => tx.put(map, "a", 1))))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
    const asynchronous = () =>
      critical.commit(async (tx) => {
        tx.put(map, "a", 1);
        await Promise.reject(new Error("never seen"));
      });
    expect(codeOf(asynchronous)).toBe("ERR_INVALID_ARGUMENT");
    const { value: leaked } = critical.commit((tx) => tx);
    expect(codeOf(() => leaked.put(map, "a", 1))).toBe("ERR_INVALID_ARGUMENT");
    expect(map.size).toBe(0);
    expect(critical.lsn).toBe(0n);
  });

  it("refuses values that would not come back as they were", () => {
    const { critical } = openTestStore();
    const map = critical.map<unknown>("m");
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    const bad = [
      () => 1,
      Symbol("s"),
      new Map(),
      new Date(),
      "\ud800",
      { deep: [class {}] },
      undefined,
      cycle,
    ];
    for (const value of bad) {
      expect(codeOf(() => critical.commit((tx) => tx.put(map, "k", value)))).toMatch(
        /ERR_INVALID_ARGUMENT|ERR_LIMIT/,
      );
    }
    const good = { a: [1n, -(2n ** 80n), 2 ** 40, 0.1, null, true], b: new Uint8Array([1, 2, 3]), c: "é€😀" };
    critical.commit((tx) => tx.put(map, "k", good));
    expect(map.get("k")).toEqual(good);
  });

  it("holds keys, values and changes at their limits and refuses one past them", () => {
    const { critical } = openTestStore();
    const map = critical.map<unknown>("m");
    critical.commit((tx) => tx.put(map, "k".repeat(KEY_BYTES_MAX), 1));
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "k".repeat(KEY_BYTES_MAX + 1), 1)))).toBe(
      "ERR_LIMIT",
    );
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "é".repeat(KEY_BYTES_MAX / 2 + 1), 1)))).toBe(
      "ERR_LIMIT",
    );
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "", 1)))).toBe("ERR_INVALID_ARGUMENT");
    const largest = new Uint8Array(VALUE_BYTES_MAX - 16);
    critical.commit((tx) => tx.put(map, "large", largest));
    expect((map.get("large") as Uint8Array).byteLength).toBe(largest.byteLength);
    expect(codeOf(() => critical.commit((tx) => tx.put(map, "large", new Uint8Array(VALUE_BYTES_MAX))))).toBe(
      "ERR_LIMIT",
    );
    const tooMany = (count: number) => () =>
      critical.commit((tx) => {
        for (let i = 0; i < count; i++) tx.put(map, `k${i % 100}`, i);
      });
    expect(codeOf(tooMany(TRANSACTION_CHANGES_MAX))).toBe("no error");
    expect(codeOf(tooMany(TRANSACTION_CHANGES_MAX + 1))).toBe("ERR_LIMIT");
    const tooLarge = () =>
      critical.commit((tx) => {
        for (let i = 0; i * largest.byteLength <= TRANSACTION_BYTES_MAX; i++) tx.put(map, `k${i}`, largest);
      });
    expect(codeOf(tooLarge)).toBe("ERR_LIMIT");
    expect(map.get("k1")).toBe(TRANSACTION_CHANGES_MAX - 35);
  });

  it("refuses to commit after the callback swallowed a change that failed halfway", () => {
    const { critical } = openTestStore();
    const map = critical.map<unknown>("m");
    const swallowing = () =>
      critical.commit((tx) => {
        try {
          for (;;) tx.put(map, "k", 1);
        } catch {
          // Going on would write half a change.
        }
      });
    expect(codeOf(swallowing)).toBe("ERR_INVALID_ARGUMENT");
    expect(map.size).toBe(0);
  });

  it("goes on after the callback swallowed a put that was refused, of which nothing stays", () => {
    const { critical } = openTestStore();
    const map = critical.map<unknown>("m");
    const large = new Uint8Array(VALUE_BYTES_MAX - 16);
    let refused: unknown;
    critical.commit((tx) => {
      try {
        for (let i = 0; ; i++) tx.put(map, `k${i}`, large);
      } catch (error) {
        refused = error;
      }
      tx.put(map, "last", 1);
    });
    expect((refused as StoreError).code).toBe("ERR_LIMIT");
    expect([...map.keys()]).toEqual(["k0", "last"]);
    expect(map.get("last")).toBe(1);
  });

  it("refuses a change made by a value while it is being read", () => {
    const { critical } = openTestStore();
    const map = critical.map<unknown>("m");
    const meddling = (meddle: (tx: Transaction) => void) => () =>
      critical.commit((tx) => {
        tx.put(map, "k", {
          before: 1,
          get meddle() {
            meddle(tx);
            return 2;
          },
        });
      });
    for (let round = 0; round < 2; round++) {
      expect(codeOf(meddling((tx) => tx.put(map, "other", 3)))).toBe("ERR_INVALID_ARGUMENT");
      expect(codeOf(meddling((tx) => tx.clear(map)))).toBe("ERR_INVALID_ARGUMENT");
      expect(codeOf(meddling((tx) => tx.next(critical.sequence("s"))))).toBe("ERR_INVALID_ARGUMENT");
      critical.commit((tx) => tx.put(map, "k", 1));
      expect(map.get("k")).toBe(1);
      expect(map.has("other")).toBe(false);
    }
  });

  it("validates through the map's schema and names what is wrong", () => {
    const { critical } = openTestStore();
    const positions = critical.map("positions", { schema: positionSchema });
    for (const quantity of [Number.NaN, Number.POSITIVE_INFINITY, "1"]) {
      try {
        critical.commit((tx) => tx.put(positions, "BTC", { quantity } as { quantity: number }));
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(StoreError);
        expect((error as StoreError).message).toContain(
          "positions, key BTC: quantity: must be a finite number",
        );
      }
    }
    expect(critical.lsn).toBe(0n);
    const lazy = critical.map("lazy", {
      schema: { "~standard": { version: 1, vendor: "test", validate: async (value) => ({ value }) } },
    });
    expect(codeOf(() => critical.commit((tx) => tx.put(lazy, "k", 1)))).toBe("ERR_INVALID_ARGUMENT");
  });

  it("gives out frozen values, and byte arrays nobody shares", () => {
    const { critical } = openTestStore();
    const map = critical.map<{ list: number[]; bytes?: Uint8Array }>("m");
    const mine = { list: [1] };
    critical.commit((tx) => tx.put(map, "k", mine));
    mine.list.push(2);
    expect(map.get("k")).toEqual({ list: [1] });
    expect(() => map.get("k")!.list.push(3)).toThrow(TypeError);
    critical.commit((tx) => tx.put(map, "b", { list: [], bytes: new Uint8Array([1]) }));
    map.get("b")!.bytes![0] = 9;
    expect(map.get("b")!.bytes![0]).toBe(1);
  });

  it("returns the first receipt for a key it remembers, across a crash and while in flight", async () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m");
    const order = (value: number) => (tx: { put: (m: typeof map, key: string, value: number) => void }) => {
      tx.put(map, "orders", value);
      return { id: BigInt(value) };
    };
    const first = store.critical.commit(order(1), { idempotencyKey: "order-1" });
    const again = store.critical.commit(order(2), { idempotencyKey: "order-1" });
    expect(again).toEqual(first);
    expect(map.get("orders")).toBe(1);
    const pending = store.critical.commitAsync(order(3), { idempotencyKey: "order-3" });
    const retried = store.critical.commitAsync(order(4), { idempotencyKey: "order-3" });
    const inline = store.critical.commit(order(5), { idempotencyKey: "order-3" });
    expect(await retried).toEqual(await pending);
    expect(inline).toEqual(await pending);
    const { critical } = store.crash();
    expect(critical.commit(() => 7, { idempotencyKey: "order-1" }).value).toEqual({ id: 1n });
  });

  it("forgets idempotency keys after their time and beyond their number", () => {
    let nowUs = 1_700_000_000_000_000;
    const { critical } = openTestStore({ clock: () => nowUs, idempotency: { keepMs: 1000, keys: 2 } });
    const commit = (key: string, value: number) =>
      critical.commit(() => value, { idempotencyKey: key }).value;
    expect([commit("a", 1), commit("a", 2)]).toEqual([1, 1]);
    nowUs += 2_000_000;
    expect(commit("a", 3)).toBe(3);
    expect([commit("b", 4), commit("c", 5), commit("a", 6)]).toEqual([4, 5, 6]);
    expect(critical.stats().idempotency).toEqual({ keys: 2, forgottenEarly: 2 });
  });

  it("has a time that strictly increases, also when the clock steps back", () => {
    let nowUs = 2_000_000_000_000_000;
    const store = openTestStore({ clock: () => nowUs });
    const map = store.critical.map<number>("m");
    const first = store.critical.commit((tx) => tx.put(map, "k", 1)).timeUs;
    nowUs -= 3_600_000_000;
    const second = store.critical.commit((tx) => tx.put(map, "k", 2)).timeUs;
    expect(second).toBe(first + 1n);
    const again = store.crash();
    const againMap = again.critical.map<number>("m");
    expect(again.critical.commit((tx) => tx.put(againMap, "k", 3)).timeUs).toBe(second + 1n);
  });

  it("counts, and keeps the expiry of a window until a new one begins", () => {
    let nowUs = 1_000_000;
    const { critical } = openTestStore({ clock: () => nowUs });
    const requests = critical.map<number>("requests");
    const hit = (expiresAtUs: bigint) =>
      critical.commit((tx) =>
        tx.has(requests, "binance")
          ? tx.increment(requests, "binance")
          : tx.increment(requests, "binance", 1, { expiresAtUs }),
      ).value;
    expect([hit(2_000_000n), hit(9_000_000n)]).toEqual([1, 2]);
    expect(requests.entry("binance")!.expiresAtUs).toBe(2_000_000n);
    nowUs = 2_000_000;
    expect(requests.get("binance")).toBeUndefined();
    expect(requests.size).toBe(0);
    expect(hit(3_000_000n)).toBe(1);
    const big = critical.map<bigint>("big");
    expect(critical.commit((tx) => tx.increment(big, "volume", 2n ** 70n)).value).toBe(2n ** 70n);
    expect(codeOf(() => critical.commit((tx) => tx.increment(requests, "binance", 2 ** 53)))).toBe(
      "ERR_LIMIT",
    );
    expect(codeOf(() => critical.commit((tx) => tx.increment(big as never, "volume", 1 as never)))).toBe(
      "ERR_INVALID_ARGUMENT",
    );
  });

  it("clears a map, and the keys written after the clear stay", () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m");
    store.critical.commit((tx) => {
      for (let i = 0; i < 1000; i++) tx.put(map, `k${i}`, i);
    });
    store.critical.commit((tx) => {
      tx.clear(map);
      expect([...tx.keys(map)]).toEqual([]);
      tx.put(map, "k5", 55);
    });
    expect([...map.entries()]).toEqual([["k5", 55]]);
    expect([...store.crash().critical.map("m").entries()]).toEqual([["k5", 55]]);
  });
});

describe("asynchronous commits", () => {
  it("see what is queued before them, while readers see what is durable", async () => {
    const { critical } = openTestStore();
    const map = critical.map<number>("m");
    const promises = Array.from({ length: 100 }, () =>
      critical.commitAsync((tx) => tx.increment(map, "n", 1)),
    );
    expect(map.get("n")).toBeUndefined();
    const inline = critical.commit((tx) => tx.increment(map, "n", 1));
    expect(inline.value).toBe(101);
    expect(map.get("n")).toBe(101);
    const receipts = await Promise.all(promises);
    expect(receipts.map((receipt) => receipt.value)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    expect(receipts.map((receipt) => receipt.lsn)).toEqual(
      Array.from({ length: 100 }, (_, i) => BigInt(i + 1)),
    );
  });

  it("that only read queued state are acknowledged after it", async () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m");
    const write = store.critical.commitAsync((tx) => tx.put(map, "k", 1));
    const read = store.critical.commit((tx) => tx.get(map, "k"));
    expect(read.value).toBe(1);
    expect(store.crash().critical.map("m").get("k")).toBe(1);
    await write;
  });

  it("poison the store when the log fails: nothing later is acknowledged, reads go on", async () => {
    const store = openTestStore();
    const map = store.critical.map<number>("m");
    store.critical.commit((tx) => tx.put(map, "k", 1));
    const lost = store.critical.commitAsync((tx) => tx.put(map, "k", 2));
    store.journal.failure = new StoreError("ERR_IO", "the device is gone");
    await expect(lost).rejects.toMatchObject({ code: "ERR_IO" });
    store.journal.failure = undefined;
    expect(codeOf(() => store.critical.commit((tx) => tx.put(map, "k", 3)))).toBe("ERR_POISONED");
    await expect(store.critical.commitAsync((tx) => tx.put(map, "k", 3))).rejects.toMatchObject({
      code: "ERR_POISONED",
    });
    expect(map.get("k")).toBe(1);
    await store.critical.close();
    expect(store.crash().critical.map("m").get("k")).toBe(1);
  });
});
