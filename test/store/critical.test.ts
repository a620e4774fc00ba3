import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type Store } from "../../index.ts";
import { isStoreError } from "../../src/errors.ts";

const DIST = fileURLToPath(new URL("../../dist", import.meta.url));

let root: string;
const opened: Store[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "varve-store-"));
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(root, { recursive: true });
});

async function open(options: Parameters<typeof openStore>[1] = {}): Promise<Store> {
  const store = await openStore(join(root, "state"), { create: true, workers: 0, ...options });
  opened.push(store);
  return store;
}

function codeOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    if (isStoreError(error)) return error;
    throw error;
  }
  return undefined;
}

describe("critical state of a store", () => {
  it("is opened on first use, durable when commit returns, and there again after closing", async () => {
    const store = await open();
    expect(existsSync(join(root, "state/critical"))).toBe(false);
    expect((await store.stats()).critical).toBeUndefined();
    const schema = v.object({ size: v.bigint(), price: v.string() });
    const positions = store.critical.map("positions", { schema, version: 1 });
    const nonce = store.critical.sequence("nonce");
    const receipt = store.critical.commit((tx) => {
      tx.put(positions, "BTCUSDT", { size: 5n, price: "101.25" });
      return tx.next(nonce);
    });
    expect(receipt).toEqual({ lsn: 1n, timeUs: expect.any(BigInt), value: 1n });
    const grouped = await store.critical.commitAsync((tx) => tx.next(nonce));
    expect(grouped).toMatchObject({ lsn: 2n, value: 2n });
    expect(() => store.critical.commit((tx) => tx.put(positions, "X", { size: 1 } as never))).toThrow(/size/);
    expect((await store.stats()).critical).toMatchObject({
      lsn: 2n,
      commitNs: { count: 1 },
      commitAsyncNs: { count: 1 },
      recovery: { replayedRecords: 0 },
      log: { records: 2, groupRecords: { count: 2, max: 1 } },
    });
    await store.close();
    expect(codeOf(() => store.critical)).toMatchObject({ code: "ERR_CLOSED" });
    const again = await open();
    expect(again.critical.map("positions").get("BTCUSDT")).toEqual({ size: 5n, price: "101.25" });
    expect(again.critical.sequence("nonce").next()).toBe(3n);
  });

  it("has one writer, named to the second, while readers follow it", async () => {
    const writer = await open({ critical: { log: { sealAfterMs: 10 } } });
    const limits = writer.critical.map<bigint>("limits");
    writer.critical.commit((tx) => tx.put(limits, "BTC", 1n));
    const second = await open();
    expect(codeOf(() => second.critical)).toMatchObject({
      code: "ERR_STORE_LOCKED",
      context: { pid: process.pid },
    });
    // Everything else of the store is shared, and the first failure is not the last word.
    expect(second.checkpoints.refs()).toEqual([]);
    const reader = await open({ readOnly: true, create: false });
    expect(reader.critical.readOnly).toBe(true);
    expect(codeOf(() => reader.critical.commit(() => 1))).toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    await expect.poll(() => reader.critical.refresh()).toBe(1n);
    expect(reader.critical.map("limits").get("BTC")).toBe(1n);
    await writer.close();
    second.critical.commit((tx) => tx.put(second.critical.map<bigint>("limits"), "BTC", 2n));
    await expect.poll(() => reader.critical.refresh()).toBe(2n);
  });

  it("is kept on a mirror and watched by a witness", async () => {
    const places = { mirror: join(root, "second/mirror"), witness: join(root, "witness") };
    const store = await open(places);
    store.critical.sequence("nonce").next();
    expect((await store.stats()).critical?.log?.mirror).toBe("in step");
    await store.close();
    // The log is gone with its device; the mirror brings it back, every commit of it.
    for (const name of ["wal-000000000001.seg", "wal-000000000002.seg", "wal-000000000003.seg"]) {
      rmSync(join(root, "state/critical", name), { force: true });
    }
    const again = await open(places);
    expect(again.critical.lsn).toBe(1n);
    expect(again.critical.sequence("nonce").next()).toBe(2n);
    expect(existsSync(places.witness)).toBe(true);
  });

  it("is neither loaded nor locked by a process that does not use it", () => {
    const hooks =
      "export async function load(url, context, next) { console.error(url); return next(url, context); }";
    const script = `
      import { register } from "node:module";
      register("data:text/javascript," + encodeURIComponent(${JSON.stringify(hooks)}));
      const { openStore } = await import(${JSON.stringify(`${DIST}/index.js`)});
      const store = await openStore(${JSON.stringify(join(root, "state"))}, { create: true });
      store.checkpoints.refs();
      await store.close();
    `;
    const run = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    expect(run.status).toBe(0);
    expect(run.stderr).toContain("chunks/library.js");
    expect(run.stderr).not.toMatch(/open-critical|(src|chunks)\/critical|src\/wal\/(open-)?log\.js/);
    expect(existsSync(join(root, "state/critical"))).toBe(false);
  });
});
