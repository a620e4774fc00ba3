import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { crashStates } from "../../src/disk/crash-states.ts";
import type { Disk } from "../../src/disk/disk.ts";
import { Random } from "../../src/disk/random.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { KEY_BYTES_MAX, STATE_UPDATE_BYTES_MAX } from "../../src/limits.ts";
import { PersistentMap } from "../../src/state/persistent-map.ts";
import { State } from "../../src/state/state.ts";
import type { StateMapOptions } from "../../src/state/state-map.ts";

const storeId = Buffer.alloc(16, 9);

function stateOn(disk: Disk, readOnly = false): State {
  return new State({ disk, directory: "/state", storeId, readOnly, nowUs: () => 1n });
}

const mapOn = <V = unknown>(disk: Disk, options: StateMapOptions<V> = {}) =>
  stateOn(disk).map<V>("m", { flushMs: 1000, ...options });
const thrown = (code: string) => expect.objectContaining({ code });

describe("a state map", () => {
  it("is seen at once here, and is there again after it was closed", async () => {
    const disk = new SimulatedDisk();
    const map = mapOn(disk);
    const value = { at: 1.5, big: 2n ** 60n, list: [1, null], when: new Date(5) };
    map.put("a", value);
    value.at = 2;
    expect(map.get("a")).toEqual({ at: 1.5, big: 2n ** 60n, list: [1, null], when: new Date(5) });
    map.put("b", 1);
    map.delete("b");
    await map.close();
    const again = mapOn(disk);
    expect(again.entries()).toEqual([["a", { at: 1.5, big: 2n ** 60n, list: [1, null], when: new Date(5) }]]);
    expect(again.seq).toBe(3);
  });

  it("keeps a snapshot as it was, and says what differs between two", () => {
    const map = mapOn<number>(new SimulatedDisk());
    for (let i = 0; i < 500; i++) map.put(`k${i}`, i);
    const before = map.snapshot();
    map.put("k7", -7);
    map.delete("k8");
    map.put("new", 1);
    const after = map.snapshot();
    expect([before.get("k7"), before.get("k8"), before.has("new"), before.size]).toEqual([7, 8, false, 500]);
    expect(before.diff(after)).toEqual([
      { key: "k7", before: 7, after: -7 },
      { key: "k8", before: 8, after: undefined },
      { key: "new", before: undefined, after: 1 },
    ]);
    expect(before.keys()).toEqual(Array.from({ length: 500 }, (_, at) => `k${at}`).sort());
  });

  it("tells a key's history, durable or not yet, across openings", async () => {
    const disk = new SimulatedDisk();
    const map = mapOn<number>(disk);
    map.put("a", 1);
    map.put("a", 2);
    await map.flush();
    map.delete("a");
    expect(map.history("a").map(({ seq, value }) => [seq, value])).toEqual([
      [1, 1],
      [2, 2],
      [3, undefined],
    ]);
    await map.close();
    const again = mapOn<number>(disk);
    again.put("a", 4);
    const times = again.history("a").map(({ timeUs }) => timeUs);
    expect(again.history("a").map(({ value }) => value)).toEqual([1, 2, undefined, 4]);
    expect(times).toEqual([...times].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(times).size).toBe(4);
  });

  it("validates by the schema, upgrades older values, refuses newer ones", async () => {
    const disk = new SimulatedDisk();
    const first = mapOn(disk, { schema: v.object({ x: v.number() }) });
    expect(() => first.put("a", { x: "1" } as never)).toThrow(thrown("ERR_INVALID_ARGUMENT"));
    first.put("a", { x: 1 });
    await first.close();
    const second = mapOn<{ x: number; y: number }>(disk, {
      version: 2,
      upgrade: (old) => ({ ...(old as { x: number }), y: 0 }),
    });
    expect(second.get("a")).toEqual({ x: 1, y: 0 });
    second.put("a", { x: 1, y: 5 });
    await second.close();
    expect(() => mapOn(disk)).toThrow(thrown("ERR_STORE_VERSION"));
  });

  it("has one writer at a time; others read and catch up", async () => {
    const disk = new SimulatedDisk();
    const writer = mapOn<number>(disk);
    writer.put("a", 1);
    await writer.flush();
    const reader = mapOn<number>(disk);
    expect(reader.get("a")).toBe(1);
    expect(() => reader.put("a", 2)).toThrow(thrown("ERR_STORE_LOCKED"));
    writer.put("a", 3);
    await writer.flush();
    expect(reader.get("a")).toBe(1);
    reader.refresh();
    expect(reader.get("a")).toBe(3);
    const other = stateOn(disk).map<number>("other");
    other.put("b", 1);
    await writer.close();
    reader.put("a", 4);
    expect(reader.history("a").length).toBe(3);
    await reader.close();
    await other.close();
  });

  it("drops the oldest of its history when the log has grown, and a reader follows to the new log", async () => {
    const disk = new SimulatedDisk();
    const map = mapOn<number>(disk, { historyBytes: 8192 });
    map.put("old", -1);
    await map.flush();
    const reader = mapOn<number>(disk);
    for (let i = 0; i < 60; i++) {
      map.put(`k${i % 4}`, i);
      await map.flush();
    }
    reader.refresh();
    for (const seen of [map, reader]) {
      expect(seen.entries()).toEqual([
        ["k0", 56],
        ["k1", 57],
        ["k2", 58],
        ["k3", 59],
        ["old", -1],
      ]);
      expect(seen.history("old").map(({ value }) => value)).toEqual([-1]);
      expect(seen.history("k3").length).toBeLessThan(15);
      expect(seen.history("k3").at(-1)).toMatchObject({ value: 59, seq: 61 });
    }
    await map.close();
    expect(mapOn<number>(disk).size).toBe(5);
  });

  it("takes keys and updates at their limits, and none past them", () => {
    const map = mapOn(new SimulatedDisk());
    map.put("k".repeat(KEY_BYTES_MAX), 1);
    expect(() => map.put("k".repeat(KEY_BYTES_MAX + 1), 1)).toThrow(thrown("ERR_LIMIT"));
    expect(() => map.put("", 1)).toThrow(thrown("ERR_INVALID_ARGUMENT"));
    expect(() => map.put("a", undefined)).toThrow(thrown("ERR_INVALID_ARGUMENT"));
    map.put("a", Buffer.alloc(STATE_UPDATE_BYTES_MAX - 64));
    expect(() => map.put("a", Buffer.alloc(STATE_UPDATE_BYTES_MAX))).toThrow(thrown("ERR_LIMIT"));
    expect(() => map.put("c", (() => {}) as never)).toThrow(thrown("ERR_INVALID_ARGUMENT"));
  });

  it("changes nothing when an update throws", () => {
    const map = mapOn<number>(new SimulatedDisk());
    map.put("a", 1);
    expect(() =>
      map.update((change) => {
        change.put("a", 2);
        throw new Error("no");
      }),
    ).toThrow("no");
    expect([map.get("a"), map.seq]).toEqual([1, 1]);
  });

  it("names a flipped bit instead of answering from it", async () => {
    const disk = new SimulatedDisk();
    const map = mapOn<number>(disk);
    for (let i = 0; i < 3; i++) {
      map.put("a", i);
      await map.flush();
    }
    await map.close();
    const path = "/state/m/log";
    const file = disk.open(path, { access: "write" });
    const byte = new Uint8Array(1);
    for (const at of [3, 520, 530, 548, 1030, 1060]) {
      file.readSync(byte, at);
      file.writeSync(Uint8Array.of(byte[0]! ^ 4), at);
      expect(() => mapOn(disk), `byte ${at}`).toThrow(thrown("ERR_STORE_CORRUPT"));
      file.writeSync(byte, at);
    }
    file.close();
    expect(mapOn(disk).get("a")).toBe(2);
  });
});

describe("a state map after a power cut", () => {
  it("has every update that was made durable, none in part, and no gap, wherever the power failed", async () => {
    const seed = Number(process.env["VARVE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
    const disk = new SimulatedDisk({ trace: true, seed });
    disk.makeDirectory("/state");
    disk.syncDirectory("/");
    const map = mapOn<number>(disk, { historyBytes: 4096 });
    for (let i = 1; i <= 30; i++) {
      // Both keys always hold the same number: half an update would show.
      map.update((change) => {
        change.put("a", i);
        change.put("b", i);
      });
      if (i % 2 === 0) {
        await map.flush();
        disk.mark(i);
      }
    }
    await map.close();
    disk.mark(30);
    let states = 0;
    for (const state of crashStates(disk, new Random(seed), { samples: 2 })) {
      const durable = (state.marks.at(-1) as number | undefined) ?? 0;
      const label = `VARVE_SEED=${seed}, event ${state.events}`;
      const found = mapOn<number>(state.disk);
      found.put("after", 1);
      const [a, b] = [found.get("a") ?? 0, found.get("b") ?? 0];
      expect(a, label).toBe(b);
      expect(a, label).toBeGreaterThanOrEqual(durable);
      expect(a, label).toBeLessThanOrEqual(30);
      await found.close();
      expect(mapOn<number>(state.disk).get("after"), label).toBe(1);
      states += 1;
    }
    expect(states).toBeGreaterThan(100);
  });
});

describe("a persistent map", () => {
  it("is what a Map is, through sets and deletes, and its older selves stay as they were", () => {
    const random = new Random(7);
    const model = new Map<string, number>();
    let map = PersistentMap.empty<number>();
    const kept: { map: PersistentMap<number>; model: Map<string, number> }[] = [];
    for (let i = 0; i < 5000; i++) {
      const key = `k${random.below(400)}`;
      if (random.below(3) === 0) {
        map = map.delete(key);
        model.delete(key);
      } else {
        map = map.set(key, i);
        model.set(key, i);
      }
      if (i % 500 === 0) kept.push({ map, model: new Map(model) });
    }
    kept.push({ map, model });
    for (const each of kept) {
      expect(each.map.size).toBe(each.model.size);
      expect(new Map(each.map.entries())).toEqual(each.model);
    }
    const differences = [...kept[2]!.map.changesTo(map)];
    const expected = new Set(
      [...kept[2]!.model.keys(), ...model.keys()].filter((key) => kept[2]!.model.get(key) !== model.get(key)),
    );
    expect(new Set(differences.map(({ key }) => key))).toEqual(expected);
  });
});
