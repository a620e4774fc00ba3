import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Critical } from "../../src/critical/critical.ts";
import { blockRecords } from "../../src/critical/history-reader.ts";
import { HistoryBlockWriter } from "../../src/critical/history-writer.ts";
import { copyRecords } from "../../src/critical/kernel-replay.ts";
import { RecentRecords } from "../../src/critical/recent-records.ts";
import { readRecord } from "../../src/critical/record-reader.ts";
import { State } from "../../src/critical/state.ts";
import { RecoveryKernel } from "../../src/kernels/recovery-kernel.ts";
import { RECOVERY_RECORDS_MAX } from "../../src/limits.ts";
import type { RecordVisitor } from "../../src/wal/journal.ts";
import { MemoryJournal } from "./memory-journal.ts";
import { openTestStore, tradingUntil } from "./store.ts";

const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** What maps hold and everything that is kept of their keys' past, what sequences and idempotency keys say. */
function told(critical: Critical, names: readonly string[]) {
  const maps = names.map((name) => {
    const map = critical.map<unknown>(name);
    const keys = [...map.keys()];
    const found = keys.map((key) => map.get(key));
    return { entries: [...map.versionedEntries()], found, past: keys.map((key) => [...map.history(key)]) };
  });
  const { maps: all, sequences, idempotency } = critical.stats();
  const log = [...critical.log()];
  return { maps, all: all.filter(({ entries }) => entries > 0), sequences, keys: idempotency.keys, log };
}

const change = fc.record({
  map: fc.constantFrom("orders", "positions"),
  // U+1F600 sorts before U+E000 and U+FF5E, though its bytes do not.
  key: fc.oneof(
    fc.constantFrom("a", "b", "é", "a-rather-long-key-that-is-not-copied-in-a-loop", ...["c", "d", "e"]),
    fc.constantFrom("\u{1f600}", "\ue000", "\uff5e", "\uff5e\u{1f600}", "\uff5e\ue000", "aa", "a\u{1f600}"),
    fc.integer({ min: 0, max: 400 }).map((number) => `key-${number}`),
  ),
  kind: fc.constantFrom("put", "put", "put", "put", "expiring", "delete", "clear", "define"),
  value: fc.oneof(fc.integer(), fc.string({ maxLength: 300 }), fc.bigInt({ min: 0n, max: 1n << 60n })),
});
const commits = fc.array(
  fc.record({
    changes: fc.array(change, { minLength: 1, maxLength: 4 }),
    actor: fc.option(fc.constant("risk"), { nil: undefined }),
    idempotencyKey: fc.option(fc.uuid(), { nil: undefined }),
    next: fc.boolean(),
  }),
  { minLength: 1, maxLength: 30 },
);

function commitAll(critical: Critical, list: typeof commits extends fc.Arbitrary<infer T> ? T : never): void {
  const nonce = critical.sequence("nonce");
  for (const { changes, actor, idempotencyKey, next } of list) {
    critical.commit(
      (tx) => {
        if (next) tx.next(nonce);
        for (const { map: name, key, kind, value } of changes) {
          const map = critical.map<unknown>(name);
          if (kind === "delete") tx.delete(map, key);
          else if (kind === "clear") tx.clear(map);
          else if (kind === "define") tx.put(critical.map<unknown>(`map of ${key}`), key, value);
          else if (kind === "put") tx.put(map, key, value);
          else tx.put(map, key, value, { expiresAtUs: 4_000_000_000_000_000n });
        }
      },
      {
        ...(actor === undefined ? {} : { actor }),
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      },
    );
  }
}

describe(`records of any kind (VARVE_SEED=${seed})`, () => {
  it("replayed over a snapshot give the same maps and the same past as those that ran", async () => {
    await fc.assert(
      fc.asyncProperty(commits, commits, async (before, after) => {
        const store = openTestStore();
        commitAll(store.critical, before);
        await store.critical.snapshot();
        commitAll(store.critical, after);
        const names = ["orders", "positions"];
        const expected = told(store.critical, names);
        const again = store.crash();
        expect(told(again.critical, names)).toEqual(expected);
        // Once more, with what was replayed sealed and a snapshot of rows that nobody has asked for.
        const third = again.crash();
        await third.critical.snapshot();
        expect(told(third.critical, names)).toEqual(expected);
        expect(told(third.crash().critical, names)).toEqual(expected);
        expect(third.critical.verifyAudit()).toMatchObject({ whole: true });
      }),
      { numRuns: 40, seed },
    );
  });

  it("are replayed one by one where they are too many for the kernel's memory", async () => {
    class Overstated extends MemoryJournal {
      override get durableLsn(): bigint {
        return super.durableLsn + BigInt(RECOVERY_RECORDS_MAX);
      }
    }
    await fc.assert(
      fc.asyncProperty(commits, commits, async (before, after) => {
        const store = openTestStore();
        commitAll(store.critical, before);
        await store.critical.snapshot();
        commitAll(store.critical, after);
        const journal = new Overstated([...store.journal.read(1n)]);
        const names = ["orders", "positions"];
        const { critical } = openTestStore({ disk: store.disk, journal });
        expect(told(critical, names)).toEqual(told(store.critical, names));
      }),
      { numRuns: 10, seed },
    );
    const kernel = new RecoveryKernel();
    expect(copyRecords(kernel, 1, RECOVERY_RECORDS_MAX + 1, () => {})).toBeUndefined();
    const one = (visit: RecordVisitor) => visit(Buffer.from("record"), 0, 6, 1, 0);
    expect(copyRecords(kernel, 1, 1, one)).toMatchObject({ count: 1 });
  });

  it("are sealed byte by byte into what reading and writing them gives", () => {
    fc.assert(
      fc.property(commits, (list) => {
        const store = openTestStore();
        commitAll(store.critical, list);
        const byObjects = new HistoryBlockWriter();
        const byBytes = new HistoryBlockWriter();
        const state = new State();
        const recent = new RecentRecords(state);
        for (const { lsn, timeUs, payload } of store.journal.read(1n)) {
          const buffer = Buffer.from(payload);
          const place = {
            buffer,
            offset: 0,
            end: buffer.byteLength,
            lsn: Number(lsn),
            timeUs: Number(timeUs),
          };
          const record = readRecord(place, state);
          state.apply(record);
          recent.add(place, record.changes);
        }
        for (let index = 0; index < recent.count; index++) {
          byObjects.add(recent.record(index));
          recent.seal(index, byBytes);
        }
        expect([...blockRecords(byBytes.raw(), "bytes")]).toEqual([
          ...blockRecords(byObjects.raw(), "bytes"),
        ]);
        expect(byBytes.raw()).toEqual(byObjects.raw());
      }),
      { numRuns: 100, seed },
    );
  });
});

describe("a snapshot of rows nobody has asked for", () => {
  it("holds what they were, though they are read, changed, removed and put back meanwhile", async () => {
    const first = openTestStore();
    const fill = first.critical.map<number>("orders");
    first.critical.commit((tx) => {
      for (let i = 0; i < 3000; i++) tx.put(fill, `k${String(i).padStart(5, "0")}`, i);
    });
    await first.critical.snapshot();
    const store = first.crash();
    const map = store.critical.map<number>("orders");
    // What the map holds after each commit, told without asking it: that would touch its rows.
    const model = new Map(Array.from({ length: 3000 }, (_, i) => [`k${String(i).padStart(5, "0")}`, i]));
    const states = new Map([[store.critical.lsn, [...model]]]);
    // One leaf is touched before the snapshot begins, the others while it is written.
    expect(map.get("k00007")).toBe(7);
    const taking = store.critical.snapshot();
    let turn = 0;
    const trade = () => {
      turn++;
      const { lsn } = store.critical.commit((tx) => {
        const put = (key: string, value: number) => {
          tx.put(map, key, value);
          model.set(key, value);
        };
        for (let i = 3000 - turn * 40; i < 3000; i += 7) {
          const key = `k${String(Math.max(0, i)).padStart(5, "0")}`;
          if (i % 3 !== 0) put(key, -i);
          else if (tx.delete(map, key)) model.delete(key);
          if (i % 6 === 0) put(key, -1);
        }
        put(`new${turn}`, turn);
      });
      states.set(
        lsn,
        [...model].sort(([a], [b]) => (a < b ? -1 : 1)),
      );
      map.get(`k${String(turn * 100).padStart(5, "0")}`);
    };
    const { lsn } = await tradingUntil(taking, trade);
    expect(turn).toBeGreaterThan(0);
    const after = [...map.entries()];
    const journal = store.journal.truncated(Number(store.critical.lsn - lsn));
    const alone = openTestStore({ disk: store.disk, journal });
    expect([...alone.critical.map("orders").entries()]).toEqual(states.get(lsn));
    expect([...store.crash().critical.map("orders").entries()]).toEqual(after);
  });
});
