import { describe, expect, it } from "vitest";
import type { Transaction } from "../../src/critical/transaction.ts";
import { openTestStore } from "./store.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32 by Tommy Ettinger (public domain). */
function randomFrom(start: number): (below: number) => number {
  let state = start;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

describe(`what a commit is made of and a later one gets (VARVE_SEED=${seed})`, () => {
  it("is no longer the earlier transaction's, even within the later callback", async () => {
    const { critical } = openTestStore();
    const map = critical.map<number>("m");
    let kept: Transaction | undefined;
    critical.commit((tx) => {
      kept = tx;
      tx.put(map, "k", 1);
    });
    await new Promise((resolve) => setImmediate(resolve));
    critical.commit((tx) => {
      tx.put(map, "k", 2);
      expect(() => kept!.put(map, "k", 3)).toThrow(/after its callback returned/);
      expect(() => kept!.get(map, "k")).toThrow(/after its callback returned/);
    });
    expect(map.get("k")).toBe(2);
    await critical.close();
  });

  it("tells neither the map, nor its past, nor a snapshot anything of what it was before", async () => {
    const store = openTestStore();
    const { critical } = store;
    const random = randomFrom(seed);
    const map = critical.map<{ n: number; fill: string }>("m");
    const current = new Map<string, number>();
    const past = new Map<string, [number | undefined, number | undefined][]>();
    let n = 0;
    const change = (tx: Transaction, made: [string, number | undefined][]) => {
      const key = `k${random(7)}`;
      if (random(6) === 0) {
        if (tx.delete(map, key)) made.push([key, undefined]);
        return;
      }
      tx.put(map, key, { n: ++n, fill: "v".repeat(random(2) === 0 ? 10 : random(60_000)) });
      made.push([key, n]);
    };
    const note = (made: readonly [string, number | undefined][]) => {
      for (const [key, after] of made) {
        const list = past.get(key) ?? [];
        list.push([current.get(key), after]);
        past.set(key, list);
        if (after === undefined) current.delete(key);
        else current.set(key, after);
      }
    };
    let waiting: Promise<unknown>[] = [];
    let snapshot: Promise<unknown> = Promise.resolve();
    for (let round = 0; round < 600; round++) {
      const made: [string, number | undefined][] = [];
      const body = (tx: Transaction) => {
        for (let i = random(3); i >= 0; i--) change(tx, made);
        tx.require(random(8) !== 0, "by chance");
      };
      if (random(3) === 0) {
        try {
          critical.commit(body);
          note(made);
        } catch (error) {
          expect(String(error)).toContain("by chance");
        }
      } else {
        let isMade = false;
        const commit = critical.commitAsync((tx) => {
          body(tx);
          isMade = true;
        });
        if (isMade) note(made);
        waiting.push(commit.catch((error) => expect(String(error)).toContain("by chance")));
      }
      if (random(20) === 0) {
        await Promise.all(waiting);
        waiting = [];
        for (const [key, { n: found }] of map.entries()) expect(found, key).toBe(current.get(key));
        if (random(3) === 0) snapshot = critical.snapshot();
      }
    }
    await Promise.all([...waiting, snapshot]);
    for (const opened of [critical, store.crash().critical]) {
      const again = opened.map<{ n: number; fill: string }>("m");
      expect(new Map([...again.entries()].map(([key, value]) => [key, value.n]))).toEqual(
        new Map([...current].sort(([a], [b]) => (a < b ? -1 : 1))),
      );
      for (const [key, expected] of past) {
        const told = [...again.history(key)].map(({ before, after }) => [before?.n, after?.n]);
        expect(told, key).toEqual(expected);
      }
      expect(opened.verifyAudit()).toMatchObject({ whole: true });
    }
    await critical.close();
  });
});
