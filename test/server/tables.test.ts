import {
  Float64,
  makeData,
  Table,
  type Timestamp,
  TimestampNanosecond,
  TimestampSecond,
  tableFromArrays,
  tableFromIPC,
  tableToIPC,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Served, serveStore } from "./served.ts";

let served: Served;
beforeAll(async () => {
  served = await serveStore();
});
afterAll(() => served.close());

describe("series over HTTP", () => {
  it("come as an Arrow stream, in ranges and columns, and take rows the same way", async () => {
    const series = served.store.series.open("trades", { columns: { ts: "ts_ns", price: "f64" }, key: "ts" });
    for (let i = 0; i < 1000; i++) series.append({ ts: BigInt(i) * 1_000n, price: i / 4 });
    const all = tableFromIPC((await served.call("GET", "/v1/series/trades")).bytes);
    expect([all.numRows, all.schema.fields.map(({ name }) => name)]).toEqual([1000, ["ts", "price"]]);
    const few = await served.call("GET", "/v1/series/trades?fromNs=5000&toNs=8000&column=price");
    const fewTable = tableFromIPC(few.bytes);
    expect(fewTable.schema.fields.map(({ name }) => name)).toEqual(["price"]);
    expect([...fewTable.getChild("price")!]).toEqual([1.25, 1.5, 1.75]);
    const none = tableFromIPC((await served.call("GET", "/v1/series/trades?fromNs=99999999")).bytes);
    expect([none.numRows, none.schema.fields.length]).toEqual([0, 2]);
    const later = tableToIPC(fewTable, "stream");
    const refused = await served.call("POST", "/v1/series/trades", later);
    expect(refused.status).toBeGreaterThanOrEqual(400);
    const last = await series.range({ fromNs: 999_000n }).table();
    const again = await served.call("POST", "/v1/series/trades", tableToIPC(last, "stream"));
    expect([again.status, again.json?.rows, series.count()]).toEqual([200, 1, 1001]);
  });

  it("that are not there, or bodies that are no Arrow, are said to be so", async () => {
    expect((await served.call("GET", "/v1/series/none")).status).toBe(404);
    expect((await served.call("POST", "/v1/series/none", Buffer.from("x"))).status).toBe(404);
    expect((await served.call("POST", "/v1/series/trades", Buffer.from("nonsense"))).status).toBe(422);
    expect((await served.call("GET", "/v1/series/trades?fromNs=x")).status).toBe(400);
    expect((await served.call("GET", "/v1/series/..%2F..%2Fetc")).status).toBe(400);
  });
});

describe("streams that are hostile", () => {
  const columns = { ts: "ts_ns", name: "utf8" } as const;
  const times = (type: Timestamp) =>
    new Vector([makeData({ type, length: 2, data: BigInt64Array.of(1n, 2n) })]);
  const stream = (name: Vector) =>
    tableToIPC(new Table({ ts: times(new TimestampNanosecond()), name }), "stream");

  it("are refused, whatever is changed in them, and the server lives", async () => {
    const series = served.store.series.open("attacked", { columns });
    const whole = stream(vectorFromArray(["a", "b"], new Utf8()));
    expect((await served.call("POST", "/v1/series/attacked", whole)).status).toBe(200);
    let rows = series.count();
    for (let at = 0; at + 4 <= whole.length; at += 12) {
      const changed = whole.slice();
      new DataView(changed.buffer).setUint32(at, 0x7fffffff, true);
      const { status } = await served.call("POST", "/v1/series/attacked", changed);
      if (status === 200) rows += 2;
      else expect([400, 413, 422]).toContain(status);
    }
    expect(series.count()).toBe(rows);
    expect((await served.call("GET", "/healthz")).status).toBe(200);
  });

  it("bring nothing that the series' columns do not hold", async () => {
    const series = served.store.series.open("strict", { columns });
    const post = async (name: Vector) =>
      (await served.call("POST", "/v1/series/strict", stream(name))).status;
    expect(await post(vectorFromArray([1, 2], new Float64()))).toBe(400);
    expect(await post(vectorFromArray(["a", null], new Utf8()))).toBe(400);
    // Valid together, and no text each: the second begins inside of a character.
    const data = new Uint8Array(Buffer.from("é"));
    const split = makeData({ type: new Utf8(), length: 2, valueOffsets: Int32Array.of(0, 1, 2), data });
    expect(await post(new Vector([split]))).toBe(400);
    const seconds = times(new TimestampSecond());
    const wrongUnit = tableToIPC(new Table({ ts: seconds, name: vectorFromArray(["a", "b"]) }), "stream");
    expect((await served.call("POST", "/v1/series/strict", wrongUnit)).status).toBe(400);
    expect(series.count()).toBe(0);
    expect(await post(vectorFromArray(["a", "b"], new Utf8()))).toBe(200);
  });
});

describe("feature tables over HTTP", () => {
  it("come as an Arrow stream of the version asked for", async () => {
    await served.store.features.publish(
      "alpha",
      tableFromArrays({ x: Float64Array.of(1, 2), y: Float64Array.of(3, 4) }),
    );
    await served.store.features.publish(
      "alpha",
      tableFromArrays({ x: Float64Array.of(5, 6), y: Float64Array.of(7, 8) }),
    );
    const newest = tableFromIPC((await served.call("GET", "/v1/features/alpha")).bytes);
    expect([...newest.getChild("x")!]).toEqual([5, 6]);
    const first = tableFromIPC((await served.call("GET", "/v1/features/alpha?version=1&column=y")).bytes);
    expect([first.numCols, ...first.getChild("y")!]).toEqual([1, 3, 4]);
    expect((await served.call("GET", "/v1/features/none")).status).toBe(404);
  });
});
