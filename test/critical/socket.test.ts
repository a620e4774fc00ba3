import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Critical } from "../../src/critical/critical.ts";
import { EngineClient, EngineSocket } from "../../src/critical/socket.ts";
import { type Page, verbsOf } from "../../src/critical/verbs.ts";
import type { VersionedEntry } from "../../src/critical/versioned-entry.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { CRITICAL_NAMES_MAX } from "../../src/limits.ts";
import { openTestStore } from "./store.ts";

let directory: string;
let critical: Critical;
let socket: EngineSocket;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-socket-"));
  ({ critical } = openTestStore({ socket: false }));
  const mask = process.umask(0);
  try {
    socket = new EngineSocket(new SimulatedDisk(), directory, verbsOf(critical), (error) => {
      throw error;
    });
  } finally {
    process.umask(mask);
  }
});

afterEach(async () => {
  await socket.close();
  rmSync(directory, { recursive: true });
});

describe("the engine's socket", () => {
  it("is open to its owner alone, whatever the process's mask", () => {
    expect(statSync(socket.path).mode & 0o777).toBe(0o600);
  });

  it("serves every verb to another process's client, errors included", async () => {
    const client = await EngineClient.connect(directory);
    const value = { max: 5n, list: [new Uint8Array([1])] };
    await client.call("put", { map: "limits", key: "BTC", value, commitOptions: { actor: "risk" } });
    expect(critical.map("limits").get("BTC")).toEqual(value);
    expect(await client.call("get", { map: "limits", key: "BTC" })).toMatchObject({ version: 1n, value });
    expect(await client.call("get", { map: "limits", key: "none" })).toBeUndefined();
    await expect(
      client.call("put", { map: "limits", key: "BTC", value: 1, options: { ifVersion: 9n } }),
    ).rejects.toMatchObject({ code: "ERR_CONFLICT" });
    expect(await client.call("next", { name: "nonce" })).toBe(1n);
    expect(await client.call("sequences", {})).toMatchObject([{ name: "nonce", next: 2n, fenced: false }]);
    expect((await client.call("history", { map: "limits", key: "BTC" })).items).toMatchObject([
      { actor: "risk" },
    ]);
    expect((await client.call("at", { moment: 1n, map: "limits" })).items).toEqual([["BTC", value]]);
    expect(await client.call("remove", { map: "limits", key: "BTC" })).toMatchObject({ removed: true });
    expect((await client.call("log", {})).items).toHaveLength(3);
    expect(await client.call("verifyAudit", {})).toMatchObject({ whole: true });
    expect(await client.call("adopt", { name: "nonce", atLeast: 90n })).toBe(90n);
    expect((await client.call("stats", {})).lsn).toBe(4n);
    expect(await client.call("planMigration", {})).toMatchObject([{ map: "limits" }]);
    await expect(client.call("format" as never, {} as never)).rejects.toThrow(/does not know the verb/);
    client.close();
  });

  it("says that a change may have been made when it goes away unanswered", async () => {
    let asked = () => {};
    const request = new Promise<void>((resolve) => {
      asked = resolve;
    });
    await socket.close();
    const verbs = { ...verbsOf(critical), migrate: () => new Promise<never>(asked) };
    socket = new EngineSocket(new SimulatedDisk(), directory, verbs, () => {});
    const client = await EngineClient.connect(directory);
    const answer = client.call("migrate", {});
    await request;
    await Promise.all([
      expect(answer).rejects.toMatchObject({
        code: "ERR_CLOSED",
        hint: expect.stringMatching(/may have been made/),
      }),
      socket.close(),
    ]);
  });

  it("gives long listings in pages", async () => {
    const map = critical.map<number>("m");
    critical.commit((tx) => {
      for (let i = 0; i < 1200; i++) tx.put(map, String(i).padStart(5, "0"), i);
    });
    const client = await EngineClient.connect(directory);
    const keys: string[] = [];
    let from: string | undefined = "";
    while (from !== undefined) {
      const page: Page<VersionedEntry<unknown>, string> = await client.call("list", {
        map: "m",
        range: { from },
      });
      keys.push(...page.items.map(({ key }) => key));
      from = page.next;
    }
    expect(keys).toEqual([...map.keys()]);
    client.close();
  });

  it("cuts off who sends nonsense and goes on serving the others", async () => {
    const client = await EngineClient.connect(directory);
    for (const nonsense of [
      Buffer.alloc(4, 0xff),
      Buffer.from([1, 0, 0, 0, 0xc1]),
      Buffer.from([1, 0, 0, 0, 5]),
    ]) {
      const rude = createConnection(socket.path);
      rude.write(nonsense);
      await new Promise((resolve) => rude.on("close", resolve));
    }
    expect(await client.call("next", { name: "nonce" })).toBe(1n);
    client.close();
  });

  it("is not found where no engine runs", async () => {
    for (const name of ["none", "x".repeat(200)]) {
      await expect(EngineClient.connect(join(directory, name))).rejects.toMatchObject({
        code: "ERR_NOT_FOUND",
      });
    }
  });

  it.runIf(process.platform === "linux")("is reached in a directory whose path no socket takes", async () => {
    const long = join(directory, "x".repeat(120), "y".repeat(120));
    mkdirSync(long, { recursive: true });
    const verbs = verbsOf(critical);
    const far = new EngineSocket(new SimulatedDisk(), long, verbs, (error) => {
      throw error;
    });
    expect(statSync(far.path).mode & 0o777).toBe(0o600);
    const client = await EngineClient.connect(long);
    expect(await client.call("next", { name: "nonce" })).toBe(1n);
    client.close();
    await far.close();
    expect(readdirSync(long)).toEqual([]);
  });

  it("does not take names of maps that were only asked for", async () => {
    const client = await EngineClient.connect(directory);
    for (let i = 0; i <= CRITICAL_NAMES_MAX; i++) {
      expect(await client.call("get", { map: `typo ${i}`, key: "BTC" })).toBeUndefined();
    }
    expect(await client.call("list", { map: "typo" })).toEqual({ items: [], next: undefined });
    expect(await client.call("history", { map: "typo", key: "BTC" })).toEqual({ items: [], next: undefined });
    expect(await client.call("remove", { map: "typo", key: "BTC" })).toMatchObject({ removed: false });
    expect(await client.call("put", { map: "limits", key: "BTC", value: 1 })).toEqual({ lsn: 1n });
    client.close();
  });
});

describe("an engine that was asked something", () => {
  it("is given up when it gives no sign of life", async () => {
    await socket.close();
    const silent = createServer((each) => each.resume()).listen(socket.path);
    const client = await EngineClient.connect(directory, { patienceMs: 20, holder: () => "process 42" });
    await expect(client.call("next", { name: "nonce" })).rejects.toMatchObject({
      code: "ERR_STORE_LOCKED",
      message: expect.stringContaining("process 42"),
      retryable: true,
    });
    await expect(client.call("next", { name: "nonce" })).rejects.toMatchObject({ code: "ERR_CLOSED" });
    await new Promise((resolve) => silent.close(resolve));
  });

  it("is waited for as long as it lives", async () => {
    const verbs = { ...verbsOf(critical), migrate: () => later({ upgraded: 3 }, 200) };
    await socket.close();
    socket = new EngineSocket(new SimulatedDisk(), directory, verbs, () => {});
    const client = await EngineClient.connect(directory, { patienceMs: 40 });
    expect(await client.call("migrate", {})).toEqual({ upgraded: 3 });
    client.close();
  });

  it("is not given up by a process that stood still itself, if it has answered meanwhile", async () => {
    let asked = () => {};
    const request = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const verbs = {
      ...verbsOf(critical),
      migrate: () => later({ upgraded: 3 }, 200),
      sequences: () => {
        asked();
        return [];
      },
    };
    await socket.close();
    socket = new EngineSocket(new SimulatedDisk(), directory, verbs, () => {});
    const client = await EngineClient.connect(directory, { patienceMs: 40 });
    const answer = client.call("migrate", {});
    // Its sign of life is on its way when this process stops for longer than its patience.
    await request;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    expect(await answer).toEqual({ upgraded: 3 });
    client.close();
  });
});

const later = <T>(value: T, ms: number) => new Promise<T>((resolve) => setTimeout(resolve, ms, value));
