import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Critical } from "../../src/critical/critical.ts";
import { EngineClient } from "../../src/critical/socket.ts";
import { realDisk } from "../../src/disk/real-disk.ts";

const SCRIPT = fileURLToPath(new URL("./fixtures/trade.mjs", import.meta.url));
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));

let root: string;
let directory: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "varve-trade-"));
  directory = join(root, "critical");
});
afterEach(() => rmSync(root, { recursive: true }));

const open = (more = {}) =>
  Critical.open({ directory, disk: realDisk, storeId: new Uint8Array(16).fill(7), ...more });

async function startEngine(): Promise<{
  child: ChildProcess;
  output: () => string;
  ended: Promise<unknown>;
}> {
  const child = spawn(process.execPath, [SCRIPT, DIST, directory], { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data) => {
    text += data;
  });
  const ended = new Promise((resolve) => child.once("close", resolve));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return { child, output: () => text, ended };
}

describe("an engine in a process of its own", () => {
  it("killed at any moment loses no acknowledged order, splits none and repeats no nonce", async () => {
    let highest = 0n;
    for (let round = 0; round < 8; round++) {
      const { child, output, ended } = await startEngine();
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
      child.kill("SIGKILL");
      await ended;
      const acknowledged = [...output().matchAll(/^ack (\d+)\n/gm)].map((match) => BigInt(match[1]!));
      expect(Math.min(...acknowledged.map(Number))).toBeGreaterThan(Number(highest));
      const critical = open({ socket: false });
      const orders = critical.map("orders");
      for (const n of acknowledged) expect(orders.get(`order-${n}`)).toEqual({ n });
      expect(critical.map<bigint>("position").get("BTCUSDT")).toBe(BigInt(orders.size));
      highest = critical.sequence("nonce").upcoming - 1n;
      expect(BigInt(orders.size)).toBe(highest);
      expect(critical.verifyAudit()).toMatchObject({ whole: true, firstLsn: 1n });
      await critical.close();
    }
  });

  it("is locked for other writers, read by followers and reached through its socket", async () => {
    const { child, ended } = await startEngine();
    try {
      expect(() => open()).toThrow(/is being written by process \d+/);
      const reader = open({ readOnly: true });
      const before = reader.refresh();
      const client = await EngineClient.connect(directory);
      await client.call("put", {
        map: "limits",
        key: "BTCUSDT",
        value: { max: 5n },
        commitOptions: { actor: "risk" },
      });
      expect(await client.call("get", { map: "limits", key: "BTCUSDT" })).toMatchObject({
        value: { max: 5n },
      });
      client.close();
      // Durable for certain when the next write says so.
      await expect
        .poll(() => {
          reader.refresh();
          return reader.map("limits").get("BTCUSDT");
        })
        .toEqual({ max: 5n });
      expect(reader.lsn).toBeGreaterThan(before);
      await reader.close();
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  });
});
