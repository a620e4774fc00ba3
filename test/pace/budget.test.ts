// One budget for all that a store writes in the background: who can wait does, who cannot is paid for by those who can.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type OpenStoreOptions, openStore, type Store } from "../../open-store.ts";
import { Random } from "../../src/disk/random.ts";
import { isStoreError } from "../../src/errors.ts";
import { TokenBucket } from "../../src/pace/token-bucket.ts";

let directory: string;
let store: Store;

const open = async (options: OpenStoreOptions = {}) => {
  store = await openStore(join(directory, "store"), { create: true, workers: 0, ...options });
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-budget-"));
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Versions of which most go, so that packs are worth rewriting. */
async function saveSome(random: Random, bytes: number, versions: number): Promise<void> {
  for (let i = 0; i < versions; i++) {
    const data = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at++) data[at] = random.below(256);
    const tensors = { w: { dtype: "U8" as const, shape: [bytes], data } };
    await store.checkpoints.save("m", tensors, { profile: "fast" }).durable;
  }
}

/** Something that is waited for and told once. */
function signalled(): { seen: Promise<void>; tell: () => void } {
  let tell = () => {};
  const seen = new Promise<void>((resolve) => {
    tell = resolve;
  });
  return { seen, tell };
}

/** What a promise has come to by now. */
async function stateOf(promise: Promise<unknown>): Promise<"resolved" | "rejected" | "pending"> {
  for (let i = 0; i < 20; i++) await turn();
  return Promise.race([
    promise.then(
      () => "resolved" as const,
      () => "rejected" as const,
    ),
    turn().then(() => "pending" as const),
  ]);
}

describe("waiting for the budget", () => {
  it("ends when a signal says so, with an error only for who asked for one", async () => {
    await open();
    const bucket = new TokenBucket(1000);
    bucket.take(1_000_000);
    const stop = new AbortController();
    const ended = bucket.paceUntil(1, undefined, stop.signal);
    const failed = bucket.pace(1, stop.signal).catch((error: unknown) => error);
    expect(await stateOf(ended)).toBe("pending");
    stop.abort();
    await ended;
    expect(isStoreError(await failed, "ERR_ABORTED")).toBe(true);
    await bucket.paceUntil(1, stop.signal);
    // A wait longer than any timer is one as long as a timer goes.
    const endless = new TokenBucket(1e-6);
    endless.take(10);
    const other = new AbortController();
    const waiting = endless.paceUntil(1e6, other.signal);
    expect(await stateOf(waiting)).toBe("pending");
    other.abort();
    await waiting;
  });
});

describe("a collection", () => {
  it("copies at the budget's pace while saves go on, and stops resting when the store is closed", async () => {
    const random = new Random(11);
    await open({ ioBudget: 1000 });
    await saveSome(random, 3 << 20, 2);
    await store.checkpoints.prune("m", { keepLast: 1 });
    const copying = signalled();
    const collecting = store.gc({ onProgress: () => copying.tell() });
    await copying.seen;
    expect(await stateOf(collecting)).toBe("pending");
    // Nobody is kept out meanwhile: a save needs the lock that the sweep will take.
    await saveSome(random, 1 << 16, 1);
    expect(await stateOf(collecting)).toBe("pending");
    const [, result] = await Promise.all([store.close(), collecting]);
    expect(result.reclaimedBytes).toBeGreaterThan(3 << 20);
    await open();
    expect((await store.check({ readData: true })).ok).toBe(true);
    expect(store.checkpoints.log("m").length).toBe(2);
  });

  it("takes another rate, and gives up when it is aborted", async () => {
    await open({ ioBudget: 1000 });
    await saveSome(new Random(12), 3 << 20, 2);
    await store.checkpoints.prune("m", { keepLast: 1 });
    await expect(store.gc({ bytesPerSecond: 0 })).rejects.toMatchObject({ code: "ERR_INVALID_ARGUMENT" });
    const stop = new AbortController();
    const copying = signalled();
    const collecting = store.gc({ signal: stop.signal, onProgress: () => copying.tell() });
    await copying.seen;
    expect(await stateOf(collecting)).toBe("pending");
    stop.abort();
    await expect(collecting).rejects.toMatchObject({ code: "ERR_ABORTED" });
    const { reclaimedBytes } = await store.gc({ bytesPerSecond: Number.POSITIVE_INFINITY });
    expect(reclaimedBytes).toBeGreaterThan(3 << 20);
  });
});

describe("sealing", () => {
  const columns = { ts: "ts_ns", v: "f64" } as const;
  const segmentFiles = () =>
    readdirSync(join(directory, "store", "series", "s")).filter((name) => name.endsWith(".seg"));
  const openSeries = () =>
    store.series.open("s", { columns, key: "ts", ring: { segmentRows: 100, segments: 1000 } });

  it("waits for what was written in the background, but for no append and for nobody who waits", async () => {
    await open({ ioBudget: 1000 });
    const series = openSeries();
    let next = 0n;
    const append = (rows: number) => {
      for (let i = 0; i < rows; i++) series.append({ ts: next, v: Number(next++) });
    };
    const sealed = () => segmentFiles().length;
    store.checkpoints.budget.take(1e9);
    append(101);
    for (let i = 0; i < 50; i++) await turn();
    expect(sealed(), "one full segment waits for the budget").toBe(0);
    append(100);
    await expect.poll(sealed).toBe(1);
    // Far more than may wait, in one go: no append is refused for the budget's sake.
    for (let i = 0; i < 40; i++) {
      append(100);
      await expect.poll(sealed).toBeGreaterThanOrEqual(i);
    }
    await series.seal();
    expect(sealed()).toBe(43);
    expect(store.checkpoints.budget.take(0), "seals were charged").toBeGreaterThan(1e9);
    append(101);
    await series.settled();
    expect(sealed()).toBe(44);
  });

  it("is left for the next opening when the store is closed while it waits", async () => {
    await open({ ioBudget: 1000 });
    const series = openSeries();
    store.checkpoints.budget.take(1e9);
    for (let i = 0n; i < 150n; i++) series.append({ ts: i, v: Number(i) });
    await turn();
    await store.close();
    await open();
    const again = openSeries();
    await again.settled();
    expect(segmentFiles().length).toBe(1);
    expect((await again.stats()).endRow).toBe(150);
  });
});
