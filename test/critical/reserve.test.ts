import { expect, it } from "vitest";
import { Critical } from "../../src/critical/critical.ts";
import { Reserve } from "../../src/critical/reserve.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { RESERVE_BYTES_MAX } from "../../src/limits.ts";

const DIRECTORY = "/store/critical";
const storeId = new Uint8Array(16).fill(7);
const MEBIBYTE = 1 << 20;

function open(disk: SimulatedDisk, warnings: string[] = []): Critical {
  return Critical.open({
    directory: DIRECTORY,
    disk,
    storeId,
    log: { segmentBlocks: 64, sealAfterMs: 1e6 },
    snapshots: { everyBytes: 64 * 4096, bytesPerSecond: 1e12 },
    reserveBytes: 64 * MEBIBYTE,
    onWarning: (message) => warnings.push(message),
  });
}

/** Takes all that is left, as a trainer would that does not know when to stop. */
function fill(disk: SimulatedDisk): void {
  const file = disk.open("/filler", { access: "write", create: "may" });
  let at = file.sizeBytes();
  for (const size of [MEBIBYTE, 4096, 512]) {
    try {
      for (;;) {
        file.writeSync(new Uint8Array(size), at);
        at += size;
      }
    } catch {
      at = file.sizeBytes();
    }
  }
  file.close();
}

async function trade(critical: Critical, from: number, to: number): Promise<void> {
  const orders = critical.map<{ n: number; note: string }>("orders");
  for (let n = from; n < to; n++) {
    critical.commit((tx) => tx.put(orders, `o-${n % 500}`, { n, note: "x".repeat(100) }));
    // A disk would set a slower pace: a snapshot that is due is taken before the log is full again.
    do await new Promise((resolve) => setImmediate(resolve));
    while (n % 20 === 0 && critical.stats().snapshots!.running);
  }
}

it("goes on for thousands of commits when something else has filled the disk, and says so", async () => {
  const disk = new SimulatedDisk({ capacityBytes: 64 * MEBIBYTE });
  const warnings: string[] = [];
  const critical = open(disk, warnings);
  await trade(critical, 0, 100);
  await critical.snapshot();
  await expect.poll(() => critical.stats().reserve?.readyBytes).toBe(18 * MEBIBYTE);
  fill(disk);
  expect(warnings).toEqual([]);
  await trade(critical, 100, 2500);
  expect(warnings.join("\n")).toMatch(/the disk is full: critical state goes on in reserved space/);
  expect(critical.stats()).toMatchObject({ lsn: 2500n, poisoned: false, reserve: { diskFull: true } });
  const killed = open(disk.killed());
  expect(killed.lsn).toBe(2500n);
  expect(killed.verifyAudit()).toMatchObject({ whole: true, firstLsn: 1n, lastLsn: 2500n });
  // Someone makes room: the reserve is made up again by itself.
  const filler = disk.open("/filler", { access: "write" });
  filler.truncate(0);
  filler.close();
  await critical.snapshot();
  await expect.poll(() => critical.stats().reserve?.diskFull).toBe(false);
  expect(critical.stats().reserve?.readyBytes).toBeGreaterThanOrEqual(18 * MEBIBYTE);
  await critical.close();
});

it("takes over what an earlier opening reserved, and reserves nothing when it is told so", async () => {
  const disk = new SimulatedDisk();
  const critical = open(disk);
  await critical.snapshot();
  await expect.poll(() => critical.stats().reserve?.readyBytes).toBe(18 * MEBIBYTE);
  await critical.close();
  const again = open(disk.killed());
  expect(again.stats().reserve?.readyBytes).toBe(18 * MEBIBYTE);
  const none = new Reserve({ disk, directory: "/elsewhere" }, 0, () => {});
  none.refill();
  expect(none.stats()).toMatchObject({ readyBytes: 0, wantedBytes: 0 });
  await none.close();
});

it("never asks for more than its limit, however large a snapshot is", async () => {
  const told: string[] = [];
  const place = { disk: new SimulatedDisk({ capacityBytes: MEBIBYTE }), directory: "/store" };
  const reserve = new Reserve(place, RESERVE_BYTES_MAX + 1, (message) => told.push(message));
  reserve.refill(RESERVE_BYTES_MAX);
  // Two snapshots of that size would be beyond it: what still fits is wanted.
  expect(reserve.stats().wantedBytes).toBeLessThanOrEqual(RESERVE_BYTES_MAX);
  await reserve.close();
  expect(reserve.give("snapshot", "/store/snapshot-a")).toBe(false);
  expect(told.join("\n")).toMatch(/no reserved space is left/);
});
