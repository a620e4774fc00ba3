import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkStore, openStore, type Store, type Tensor } from "../../index.ts";

let root: string;
let source: string;
let copy: string;
const opened: Store[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "varve-backup-"));
  source = join(root, "state");
  copy = join(root, "copy");
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  rmSync(root, { recursive: true });
});

async function open(directory = source, options: Parameters<typeof openStore>[1] = {}): Promise<Store> {
  const store = await openStore(directory, { create: directory === source, workers: 0, ...options });
  opened.push(store);
  return store;
}

function weights(seed: number): Record<string, Tensor> {
  const data = Float32Array.from({ length: 70_000 }, (_, i) => Math.sin(i * 1.7 + seed * 0.001));
  return { w: { dtype: "F32", shape: [70_000], data } };
}

const save = async (store: Store, step: number) =>
  (await store.checkpoints.save("model", weights(step), { step }).durable).version;

const order = (store: Store) =>
  store.critical.commit((tx) => {
    const nonce = tx.next(store.critical.sequence("nonce"));
    tx.put(store.critical.map("orders"), `o-${nonce}`, { nonce });
    return nonce;
  }).value;

describe("a backup of the whole store", () => {
  it("holds versions and critical state, opens like any store, and its sequences are fenced", async () => {
    const store = await open();
    await save(store, 1);
    for (let i = 0; i < 50; i++) order(store);
    const progress: number[] = [];
    const result = await store.backup(copy, { onProgress: ({ doneBytes }) => progress.push(doneBytes) });
    expect(result).toMatchObject({
      incremental: false,
      critical: { lsn: 50n },
      checkpoints: { seq: 1n, packs: 1 },
    });
    expect(progress.length).toBeGreaterThan(1);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(await checkStore(copy, { readData: true })).toMatchObject({ ok: true, versions: 1 });
    const there = await open(copy);
    expect(there.id).toBe(store.id);
    const restored = await there.checkpoints.restore("model");
    expect(restored.get("w")!.data).toEqual(weights(1)["w"]!.data);
    expect(there.critical.map("orders").size).toBe(50);
    expect(() => order(there)).toThrow(/fenced/);
    expect(there.critical.adoptSequence("nonce", 1000n)).toBe(1000n);
    expect(order(there)).toBe(1000n);
    expect(order(store)).toBe(51n);
  });

  it("is consistent while saves and commits go on, and brought up to date with what is new alone", async () => {
    const store = await open();
    await save(store, 1);
    order(store);
    await store.backup(copy);
    let going = true;
    const busy = (async () => {
      for (let step = 2; going; step++) {
        await save(store, step);
        order(store);
      }
    })();
    const results = [];
    for (let round = 0; round < 3; round++) {
      results.push(await store.backup(copy));
      expect(await checkStore(copy, { readData: true })).toMatchObject({ ok: true });
    }
    going = false;
    await busy;
    const last = await store.backup(copy);
    expect(last.incremental).toBe(true);
    expect((await store.backup(copy)).checkpoints.writtenBytes).toBe(0);
    const there = await open(copy, { readOnly: true });
    const newest = store.checkpoints.log("model").at(-1)!;
    expect(there.checkpoints.log("model").at(-1)).toEqual(newest);
    const restored = await there.checkpoints.restore("model");
    expect(restored.get("w")!.data).toEqual(weights(newest.step!)["w"]!.data);
    const wholeBytes = readdirSync(join(copy, "chunks/packs"))
      .map((name) => readFileSync(join(copy, "chunks/packs", name)).byteLength)
      .reduce((a, b) => a + b, 0);
    expect(results[1]!.checkpoints.writtenBytes).toBeLessThan(wholeBytes);
  });

  it("takes series along, rows not sealed yet included, and lets go of what they evicted", async () => {
    const store = await open();
    const columns = { n: "i64", price: "f64" } as const;
    const options = { columns, ring: { segmentRows: 4096, segments: 2 } };
    const trades = store.series.open("binance.BTCUSDT.trades", options);
    let n = 0;
    const append = (rows: number) => {
      for (let i = 0; i < rows; i++) trades.append({ n: BigInt(n++), price: n / 8 });
    };
    append(10_000);
    await trades.flush();
    await store.backup(copy);
    append(20_000);
    await trades.settled();
    await trades.flush();
    expect((await store.backup(copy)).series).toMatchObject({ series: 1 });
    const there = await open(copy, { readOnly: true });
    const last = (s: Store) => s.series.open("binance.BTCUSDT.trades", { readOnly: true }).positions();
    expect(last(there)).toEqual(last(store));
  });

  it("lets go of what gc removed", async () => {
    const store = await open();
    for (const count of [70_000, 10]) await store.checkpoints.save("noise", noise(count), {}).durable;
    await store.backup(copy);
    const packs = () => readdirSync(join(copy, "chunks/packs"));
    const before = packs();
    // gc leaves the pack alone that a store is appending to.
    await store.close();
    const again = await open();
    await again.checkpoints.prune("noise", { keepLast: 1 });
    expect(await again.gc()).toMatchObject({ packsRewritten: 1 });
    const { checkpoints } = await again.backup(copy);
    expect(packs()).not.toEqual(before);
    expect(packs()).toHaveLength(checkpoints.packs);
    expect(await checkStore(copy, { readData: true })).toMatchObject({ ok: true, versions: 1 });
  });

  it("is made for a store another process trades in, and for one without critical state", async () => {
    const engine = await open();
    order(engine);
    // A second store object reaches the first one's engine through its socket.
    const other = await open(source, { readOnly: true, create: false });
    expect((await other.backup(copy)).critical).toMatchObject({ lsn: 1n });
    order(engine);
    const plain = await open(join(root, "plain"), { create: true });
    await save(plain, 1);
    const result = await plain.backup(join(root, "plain-copy"));
    expect(result.critical).toBeUndefined();
    expect(existsSync(join(root, "plain-copy/critical"))).toBe(false);
  });

  it("refuses a directory that is something else, in the way, in use or no mere backup any more", async () => {
    const store = await open();
    await save(store, 1);
    order(store);
    const refused = (directory: string, code: string) =>
      expect(store.backup(directory)).rejects.toMatchObject({ code });
    await refused(join(source, "inside"), "ERR_INVALID_ARGUMENT");
    await refused(root, "ERR_INVALID_ARGUMENT");
    await open(join(root, "other"), { create: true });
    await refused(join(root, "other"), "ERR_EXISTS");
    // Links that lead into the store, and to a directory within it.
    symlinkSync(source, join(root, "link"));
    symlinkSync(join(source, "critical"), join(root, "inner"));
    for (const name of ["link", "link/new", "inner/new/deep"]) {
      await refused(join(root, name), "ERR_INVALID_ARGUMENT");
    }
    writeFileSync(join(root, "file"), "");
    await refused(join(root, "file"), "ERR_EXISTS");
    writeFileSync(join(root, "file-beside"), "");
    await store.backup(copy);
    const reader = await open(copy, { readOnly: true });
    await refused(copy, "ERR_STORE_LOCKED");
    await reader.close();
    const there = await open(copy);
    await save(there, 9);
    await there.close();
    await refused(copy, "ERR_EXISTS");
  });

  it("stops when it is told to, and goes on from there", async () => {
    const store = await open();
    await save(store, 1);
    order(store);
    await store.backup(copy);
    await save(store, 2);
    const signal = AbortSignal.abort();
    await expect(store.backup(copy, { signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(await checkStore(copy)).toMatchObject({ ok: true, versions: 1 });
    await store.backup(copy);
    expect(await checkStore(copy)).toMatchObject({ ok: true, versions: 2 });
  });

  it("never copies damage unseen", async () => {
    const store = await open();
    await save(store, 1);
    const pack = readdirSync(join(source, "chunks/packs"))[0]!;
    const path = join(source, "chunks/packs", pack);
    copyFileSync(path, join(root, "good"));
    const bytes = readFileSync(path);
    bytes[Math.floor(bytes.byteLength / 2)]! ^= 1;
    writeFileSync(path, bytes);
    await expect(store.backup(copy)).rejects.toMatchObject({ code: "ERR_STORE_CORRUPT" });
    copyFileSync(join(root, "good"), path);
    await store.backup(copy);
    expect(await checkStore(copy, { readData: true })).toMatchObject({ ok: true });
  });
});

function noise(count: number): Record<string, Tensor> {
  let state = count;
  const data = Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  });
  return { [`w${count}`]: { dtype: "F32", shape: [count], data } };
}
