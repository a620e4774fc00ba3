import { describe, expect, it } from "vitest";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { Cache } from "../../src/state/cache-map.ts";

const storeId = Buffer.alloc(16, 9);
let nowMs = 1000;
const cacheOn = (disk: SimulatedDisk) =>
  new Cache({ disk, directory: "/cache", storeId, readOnly: false, nowMs: () => nowMs });

describe("a cached map", () => {
  it("comes back after a clean close, and is empty after any other end", async () => {
    const disk = new SimulatedDisk();
    const first = cacheOn(disk);
    first.map("m").set("a", { x: 1n, list: [1, 2] });
    await first.close();
    const second = cacheOn(disk);
    expect(second.map("m").get("a")).toEqual({ x: 1n, list: [1, 2] });
    // Not closed: its process was killed.
    expect(cacheOn(disk).map("m").get("a")).toBeUndefined();
  });

  it("forgets what was used least recently when it is full, and what is too large at once", () => {
    const map = cacheOn(new SimulatedDisk()).map<string>("m", { maxBytes: 1200 });
    for (const key of ["a", "b", "c"]) map.set(key, "x".repeat(250));
    expect(map.get("a")).toBeDefined();
    map.set("d", "x".repeat(250));
    expect(["a", "b", "c", "d"].map((key) => map.has(key))).toEqual([true, false, true, true]);
    expect(map.sizeBytes).toBeLessThanOrEqual(1200);
    map.set("huge", "x".repeat(2000));
    expect([map.has("huge"), map.size]).toEqual([false, 3]);
  });

  it("forgets an entry when its time is over, across openings too", async () => {
    const disk = new SimulatedDisk();
    const first = cacheOn(disk);
    first.map("m", { ttl: 100 }).set("a", 1);
    first.map("m").set("b", 2, { ttl: 1000 });
    await first.close();
    nowMs += 100;
    const map = cacheOn(disk).map("m");
    expect([map.get("a"), map.get("b")]).toEqual([undefined, 2]);
  });

  it("begins empty, without complaint, when any bit of its dump has changed or its end is gone", async () => {
    const disk = new SimulatedDisk();
    const first = cacheOn(disk);
    first.map("m").set("a", "value");
    await first.close();
    const path = "/cache/m.dump";
    const file = disk.open(path, { access: "read" });
    const whole = new Uint8Array(file.sizeBytes());
    file.readSync(whole, 0);
    file.close();
    const attempt = (bytes: Uint8Array) => {
      const other = new SimulatedDisk();
      other.makeDirectory("/cache");
      const dump = other.open(path, { access: "write", create: "must" });
      dump.writeSync(bytes, 0);
      dump.close();
      return cacheOn(other).map("m").size;
    };
    expect(attempt(whole)).toBe(1);
    for (let at = 0; at < whole.length; at++) {
      const flipped = whole.slice();
      flipped[at]! ^= 1 << (at % 8);
      expect(attempt(flipped), `byte ${at}`).toBe(0);
      expect(attempt(whole.subarray(0, at)), `cut at ${at}`).toBe(0);
    }
  });
});
