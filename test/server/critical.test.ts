import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Served, serveStore } from "./served.ts";

let served: Served;
beforeAll(async () => {
  served = await serveStore();
});
afterAll(() => served.close());

const put = (key: string, value: unknown, more = {}) => ({ put: { map: "positions", key, value, ...more } });

describe("commits over HTTP", () => {
  it("are one transaction each, durable when answered, with values JSON has no words for", async () => {
    const value = {
      qty: 1.5,
      id: { $bigint: "9007199254740993" },
      raw: { $bytes: "AP8=" },
      nan: { $number: "NaN" },
      list: [1, null],
    };
    const changes = [
      put("BTC", value),
      { next: "nonce" },
      { next: "nonce" },
      { delete: { map: "positions", key: "none" } },
    ];
    const { status, json } = await served.call("POST", "/v1/commit", {
      changes,
      actor: "test",
      reason: "why not",
    });
    expect(status).toBe(200);
    const [none, first, second, removed] = json.results;
    expect([none, BigInt(second) - BigInt(first), removed]).toEqual([null, 1n, false]);
    const read = await served.call("GET", "/v1/critical/positions/BTC");
    expect(read.json).toEqual({ map: "positions", key: "BTC", value, version: json.lsn });
    expect(served.store.critical.map<{ id: bigint }>("positions").get("BTC")?.id).toBe(9007199254740993n);
    const unchanged = await served.call("GET", "/v1/critical/positions/BTC", undefined, {
      "if-none-match": read.headers.get("etag")!,
    });
    expect(unchanged.status).toBe(304);
    expect((await served.call("GET", "/v1/critical/positions/none")).status).toBe(404);
  });

  it("with a condition that does not hold change nothing", async () => {
    const first = await served.call("POST", "/v1/commit", { changes: [put("ETH", 1, { ifVersion: "0" })] });
    expect(first.status).toBe(200);
    for (const changes of [
      [put("SOL", 1), put("ETH", 2, { ifVersion: "0" })],
      [put("SOL", 1), { require: { map: "positions", key: "ETH", ifVersion: "1" } }],
      [put("SOL", 1), { delete: { map: "positions", key: "ETH", ifVersion: "1" } }],
    ]) {
      expect((await served.call("POST", "/v1/commit", { changes })).status).toBe(409);
    }
    expect((await served.call("GET", "/v1/critical/positions/SOL")).status).toBe(404);
    const second = await served.call("POST", "/v1/commit", {
      changes: [put("ETH", 2, { ifVersion: first.json.lsn })],
    });
    expect(second.status).toBe(200);
  });

  it("tried again with the same idempotency key answer as the first time and do nothing", async () => {
    const commit = () =>
      served.call("POST", "/v1/commit", { changes: [{ next: "orders" }] }, { "idempotency-key": "order-1" });
    const answers = [(await commit()).json, (await commit()).json];
    expect(answers[1]).toEqual(answers[0]);
  });

  it("from 16 clients at once are all there, each number given once", async () => {
    const commits = await Promise.all(
      Array.from({ length: 160 }, (_, i) =>
        served.call("POST", "/v1/commit", { changes: [{ next: "crowd" }, put(`crowd-${i}`, i)] }),
      ),
    );
    expect(new Set(commits.map(({ json }) => json.results[0])).size).toBe(160);
    const keys = [...served.store.critical.map("positions").keys({ prefix: "crowd-" })];
    expect(keys).toHaveLength(160);
  });

  it.each([
    ["no changes", {}],
    ["an empty list", { changes: [] }],
    ["a change of two kinds", { changes: [{ put: { map: "m", key: "k", value: 1 }, next: "x" }] }],
    ["a kind that is none", { changes: [{ drop: "m" }] }],
    ["a put without a value", { changes: [{ put: { map: "m", key: "k" } }] }],
    ["a version that is a number", { changes: [put("k", 1, { ifVersion: 1 })] }],
    ["an unknown kind of value", { changes: [put("k", { $date: "today" })] }],
    ["an actor that is no text", { changes: [put("k", 1)], actor: 7 }],
    ["a map without a name", { changes: [{ put: { map: "", key: "k", value: 1 } }] }],
  ])("with %s are refused", async (_, body) => {
    const { status, json } = await served.call("POST", "/v1/commit", body);
    expect([status, json.error.code]).toEqual([400, "ERR_INVALID_ARGUMENT"]);
  });

  it("that come together go to the log together, and each is a transaction of its own", async () => {
    const before = BigInt(
      (await served.call("POST", "/v1/commit", { changes: [{ next: "burst" }] })).json.results[0],
    );
    const commits = Array.from({ length: 100 }, (_, i) => {
      // Every tenth asks for what does not hold, and takes nothing with it.
      const condition = i % 10 === 9 ? [put(`burst-${i}`, i, { ifVersion: "12345" })] : [];
      return served.call("POST", "/v1/commit", { changes: [{ next: "burst" }, ...condition] });
    });
    const answers = await Promise.all(commits);
    const good = answers.filter(({ status }) => status === 200);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(10);
    const numbers = good.map(({ json }) => BigInt(json.results[0])).sort((a, b) => (a < b ? -1 : 1));
    expect(numbers).toEqual(Array.from({ length: 90 }, (_, i) => before + 1n + BigInt(i)));
    const lsns = new Set(good.map(({ json }) => json.lsn));
    expect(lsns.size).toBe(90);
  });
});
