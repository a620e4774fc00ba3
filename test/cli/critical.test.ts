import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type Store } from "../../index.ts";
import { openCritical } from "../../open-critical.ts";
import { EngineSocket } from "../../src/critical/socket.ts";
import { verbsOf } from "../../src/critical/verbs.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { SimulatedDisk } from "../../src/disk/simulated-disk.ts";
import { readStoreFile } from "../../src/store-file.ts";
import { setStage } from "./stage.ts";

const ENGINE = fileURLToPath(new URL("../../dist/examples/trading-engine.js", import.meta.url));

let root: string;
let directory: string;
const stage = setStage({ environment: { USER: "ann" } });
const varve = (...argv: string[]) => stage.run("--store", directory, ...argv);
const json = async (...argv: string[]) => {
  const { exitCode, out, err } = await varve(...argv, "--json");
  if (exitCode !== 0) throw new Error(`varve ${argv.join(" ")}: ${exitCode} ${err}`);
  return JSON.parse(out);
};

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "varve-cli-"));
  directory = join(root, "state");
});
afterEach(() => rmSync(root, { recursive: true }));

const anotherHead = (head: string) => head.replace(/^./, (digit) => (digit === "0" ? "1" : "0"));

describe("varve critical", () => {
  it("puts, gets, lists and removes, durably, in a store at rest", async () => {
    const value = '{"max":{"$bigint":"5000"},"raw":{"$bytes":"AQID"},"x":[1.5,null,"é"]}';
    expect(await varve("critical", "put", "limits", "BTCUSDT", value, "--reason", "new week")).toEqual({
      exitCode: 0,
      out: "limits BTCUSDT is durable, LSN 1\n",
      err: "",
    });
    expect((await varve("critical", "get", "limits", "BTCUSDT")).out).toBe(`${value}\n`);
    expect(await json("critical", "get", "limits", "BTCUSDT")).toEqual({
      map: "limits",
      key: "BTCUSDT",
      value: JSON.parse(value),
      version: "1",
    });
    await varve("critical", "put", "limits", "ETHUSDT", "-7", "--expires-at", "2100-01-01T00:00:00Z");
    expect(await json("critical", "ls", "limits", "--prefix", "ETH")).toEqual([
      { key: "ETHUSDT", value: -7, version: "2", expiresAtUs: "4102444800000000" },
    ]);
    expect(
      (await json("critical", "ls", "limits", "--reverse")).map(({ key }: { key: string }) => key),
    ).toEqual(["ETHUSDT", "BTCUSDT"]);
    expect(await json("critical", "ls")).toEqual([{ name: "limits", entries: 2, version: 1 }]);
    expect((await varve("critical", "rm", "limits", "ETHUSDT")).out).toBe("removed limits ETHUSDT, LSN 3\n");
    const gone = await varve("critical", "get", "limits", "ETHUSDT", "--json");
    expect(gone.exitCode).toBe(1);
    expect(JSON.parse(gone.err).error).toMatchObject({ code: "ERR_NOT_FOUND", context: { map: "limits" } });
    expect((await varve("critical", "put", "limits", "BTCUSDT", "1", "--if-version", "9")).exitCode).toBe(1);
  });

  it("shows what was: a key's history, a map at an LSN and at a time, the audit trail", async () => {
    for (const size of ["1", "2", "3"]) await varve("critical", "put", "positions", "BTC", size);
    await varve("critical", "rm", "positions", "BTC", "--actor", "risk", "--reason", "closed");
    const history = await json("critical", "history", "positions", "BTC");
    expect(history).toMatchObject([
      { lsn: "1", actor: "ann", after: 1 },
      { lsn: "2", before: 1, after: 2 },
      { lsn: "3", before: 2, after: 3 },
      { lsn: "4", before: 3, actor: "risk", reason: "closed" },
    ]);
    expect(history[0].timeUs).toMatch(/^\d{16}$/);
    expect((await varve("critical", "at", "2", "positions", "BTC")).out).toBe("2\n");
    expect(await json("critical", "at", history[2].timeUs, "positions")).toEqual([{ key: "BTC", value: 3 }]);
    expect((await varve("critical", "at", "2001-01-01", "positions")).out).toBe("no entries\n");
    expect((await varve("critical", "at", "4", "positions", "BTC")).exitCode).toBe(1);
    expect((await varve("critical", "at", "99", "positions")).exitCode).toBe(1);
    expect((await varve("critical", "at", "yesterday", "positions")).exitCode).toBe(2);
    const { head, ...proof } = await json("audit", "verify");
    expect(proof).toMatchObject({ whole: true, firstLsn: "1", lastLsn: "4" });
    expect(await json("audit", "verify", "--head", head)).toMatchObject({ whole: true, headLsn: "0" });
    expect((await varve("audit", "verify", "--head", anotherHead(head))).exitCode).toBe(12);
    expect((await varve("audit", "verify", "--head", "8f0c")).exitCode).toBe(2);
    expect(await json("audit", "log", "--since", "3")).toMatchObject([
      { lsn: "3", changes: [{ map: "positions", key: "BTC", before: 2, after: 3 }] },
      { lsn: "4", reason: "closed", changes: [{ before: 3 }] },
    ]);
    expect(await json("audit", "log", "--since", history[2].timeUs)).toHaveLength(1);
    expect(await json("audit", "log", "--map", "positions", "--key", "ETH")).toEqual([]);
    expect((await varve("wal", "inspect")).out).toMatch(/sound from #1024.*next LSN 5/);
    expect(await json("wal", "inspect")).toMatchObject({ verdict: { nextLsn: 5 } });
  });

  it("reads many entries page by page, in both directions, up to a limit", async () => {
    const store = await openStore(directory, { create: true, workers: 0 });
    const map = store.critical.map<number>("m");
    store.critical.commit((tx) => {
      for (let i = 0; i < 1203; i++) tx.put(map, String(i).padStart(4, "0"), i);
    });
    // Through the engine's socket, which gives pages of 500.
    const keys = (entries: { key: string }[]) => entries.map(({ key }) => Number(key));
    const all = Array.from({ length: 1203 }, (_, i) => i);
    expect(keys(await json("critical", "ls", "m"))).toEqual(all);
    expect(keys(await json("critical", "ls", "m", "--reverse"))).toEqual([...all].reverse());
    expect(keys(await json("critical", "ls", "m", "--limit", "700"))).toEqual(all.slice(0, 700));
    expect(keys(await json("critical", "ls", "m", "--reverse", "--limit", "501"))).toEqual(
      all.slice(-501).reverse(),
    );
    expect(keys(await json("critical", "at", "1", "m"))).toEqual(all);
    await store.close();
  });

  it("does a change once that is repeated with its idempotency key, at rest and in an engine", async () => {
    const changes = async () => [
      await json("critical", "put", "limits", "BTC", "5", "--idempotency-key", "raise 1"),
      await json("sequence", "next", "nonce", "--idempotency-key", "order 1"),
      await json("critical", "rm", "limits", "BTC", "--idempotency-key", "drop 1"),
    ];
    const first = await changes();
    expect(first).toMatchObject([{ lsn: "1" }, { value: "1" }, { lsn: "3" }]);
    expect(await changes()).toEqual(first);
    const engine = await openStore(directory, { workers: 0 });
    expect(await changes()).toEqual(first);
    expect(engine.critical.lsn).toBe(3n);
    await engine.close();
    expect(await json("sequence", "next", "nonce", "--idempotency-key", "order 2")).toMatchObject({
      value: "2",
    });
    expect((await varve("sequence", "next", "nonce", "--idempotency-key", "")).exitCode).toBe(2);
    for (const other of [
      ["critical", "put", "limits", "ETH", "5"],
      ["critical", "rm", "limits", "BTC"],
      ["sequence", "next", "nonce"],
    ]) {
      const { exitCode, err } = await varve(...other, "--idempotency-key", "raise 1");
      expect([exitCode, err]).toEqual([
        1,
        expect.stringMatching(/raise 1 was used for another change, LSN 1\n/),
      ]);
    }
    expect(await json("audit", "log")).toMatchObject([
      { idempotencyKey: "raise 1" },
      { idempotencyKey: "order 1" },
      { idempotencyKey: "drop 1" },
      { idempotencyKey: "order 2" },
    ]);
  });

  it("refuses what it cannot keep, naming what to write instead", async () => {
    for (const [value, hint] of [
      ["12345678901234567890", /bigint/],
      ["{bad", /quotes/],
      ['{"$bigint":"x"}', /\$bigint/],
      ['{"$bytes":"?"}', /base64/],
    ] as const) {
      const { exitCode, err } = await varve("critical", "put", "m", "k", value);
      expect(exitCode).toBe(2);
      expect(err).toMatch(hint);
    }
    expect((await varve("critical", "get", "m", "k")).exitCode).toBe(10);
    await varve("critical", "put", "m", "k", '{"$plain":{"$bigint":"5"}}');
    expect((await varve("critical", "get", "m", "k")).out).toBe('{"$plain":{"$bigint":"5"}}\n');
  });
});

describe("varve sequence", () => {
  it("lists, shows, takes and adopts", async () => {
    expect((await varve("sequence", "next", "nonce")).out).toBe("1\n");
    expect(await json("sequence", "next", "nonce")).toEqual({ name: "nonce", value: "2" });
    expect(await json("sequence", "ls")).toEqual([
      { name: "nonce", next: "3", reservedTo: "3", fenced: false },
    ]);
    expect(await json("sequence", "show", "nonce")).toMatchObject({ next: "3" });
    expect((await varve("sequence", "show", "nonsense")).exitCode).toBe(1);
    expect((await varve("sequence", "adopt", "nonce")).exitCode).toBe(2);
    expect((await varve("sequence", "adopt", "nonce", "--at-least", "100")).exitCode).toBe(0);
    expect((await varve("sequence", "next", "nonce")).out).toBe("100\n");
  });

  it("of a plain copy of the directory is fenced until adopted, and a move is confirmed once", async () => {
    await varve("sequence", "next", "nonce");
    const original = directory;
    directory = join(root, "copied");
    cpSync(original, directory, { recursive: true });
    const refused = await varve("sequence", "next", "nonce", "--json");
    expect(refused.exitCode).toBe(14);
    expect(JSON.parse(refused.err).error).toMatchObject({ code: "ERR_SEQUENCE_FENCED" });
    expect(await json("sequence", "ls")).toMatchObject([{ name: "nonce", fenced: true }]);
    expect((await varve("sequence", "adopt", "--moved")).exitCode).toBe(0);
    expect((await varve("sequence", "next", "nonce")).out).toBe("2\n");
    expect((await varve("sequence", "next", "nonce")).out).toBe("3\n");
  });

  it("of a backup is fenced until adopted with a number", async () => {
    await varve("sequence", "next", "nonce");
    const store = await openStore(directory, { workers: 0 });
    await store.backup(join(root, "copy"));
    await store.close();
    directory = join(root, "copy");
    expect((await varve("sequence", "next", "nonce")).exitCode).toBe(14);
    expect((await varve("sequence", "adopt", "--moved")).exitCode).toBe(14);
    expect((await varve("sequence", "adopt", "nonce", "--at-least", "50")).exitCode).toBe(0);
    expect((await varve("sequence", "next", "nonce")).out).toBe("50\n");
  });
});

describe("varve migrate", () => {
  it("says what would change, tries every upgrade, and rewrites", async () => {
    await varve("critical", "put", "positions", "BTC", '{"size":1}');
    await varve("critical", "put", "positions", "ETH", '{"size":2}');
    const good = join(root, "good.mjs");
    const bad = join(root, "bad.mjs");
    writeFileSync(
      good,
      "export default { positions: { version: 2, upgrade: ({ size }) => ({ size: BigInt(size) }) } };",
    );
    writeFileSync(
      bad,
      'export default { positions: { version: 2, upgrade: () => { throw new Error("no"); } } };',
    );
    expect(await json("migrate", "--dry-run", "--schemas", good)).toMatchObject({
      dryRun: true,
      upgraded: 0,
      maps: [{ map: "positions", version: 2, entries: 2, older: 2, failing: [] }],
    });
    const failing = await varve("migrate", "--dry-run", "--schemas", bad);
    expect(failing.exitCode).toBe(1);
    expect(failing.out).toContain("cannot upgrade positions BTC: Error: no");
    expect((await varve("critical", "get", "positions", "BTC")).out).toBe('{"size":1}\n');
    await json("migrate", "--schemas", good);
    expect((await varve("critical", "get", "positions", "BTC")).out).toBe('{"size":{"$bigint":"1"}}\n');
    expect(await json("migrate", "--dry-run")).toMatchObject({ maps: [{ byVersion: { 2: 2 }, older: 0 }] });
    const older = join(root, "older.mjs");
    writeFileSync(older, "export default { positions: { version: 1 } };");
    expect((await varve("migrate", "--dry-run", "--schemas", older)).err).toContain("version 2");
    expect((await varve("migrate", "--schemas", join(root, "none.mjs"))).exitCode).toBe(2);
  });
});

describe("while an engine has the store open", () => {
  let engine: { child: ChildProcess; ended: Promise<unknown> } | undefined;
  afterEach(async () => {
    engine?.child.kill("SIGKILL");
    await engine?.ended;
    engine = undefined;
  });

  async function startEngine(): Promise<void> {
    const child = spawn(process.execPath, [ENGINE, directory], { stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    engine = { child, ended };
    let text = "";
    await new Promise<void>((resolve) => {
      child.stdout.on("data", (data) => {
        text += data;
        if (text.includes('"sent"')) resolve();
      });
    });
  }

  it("every verb works on it, writes included", async () => {
    await startEngine();
    const limit = '{"maxPosition":{"$bigint":"900000000"},"maxOrder":{"$bigint":"50000000"}}';
    await json("critical", "put", "limits", "BTCUSDT", limit, "--actor", "risk");
    expect((await varve("critical", "get", "limits", "BTCUSDT")).out).toBe(`${limit}\n`);
    // The engine's own schema stands guard over what comes through the socket.
    const refused = await varve("critical", "put", "limits", "BTCUSDT", '{"maxPosition":1}');
    expect(refused).toMatchObject({ exitCode: 2, err: expect.stringContaining("maxOrder") });
    expect((await json("critical", "ls", "orders")).length).toBeGreaterThan(0);
    expect((await json("critical", "history", "limits", "BTCUSDT")).at(-1)).toMatchObject({ actor: "risk" });
    expect(await json("critical", "at", "1", "limits")).toHaveLength(2);
    const before = BigInt((await json("sequence", "show", "exchange.nonce")).next);
    const { value } = await json("sequence", "next", "exchange.nonce");
    expect(BigInt(value)).toBeGreaterThanOrEqual(before);
    await json("sequence", "adopt", "exchange.nonce", "--at-least", "100000");
    expect(BigInt((await json("sequence", "next", "exchange.nonce")).value)).toBeGreaterThanOrEqual(100_000n);
    expect(await json("audit", "verify")).toMatchObject({ whole: true });
    expect((await json("audit", "log", "--map", "limits")).length).toBeGreaterThanOrEqual(2);
    expect(await json("migrate", "--dry-run")).toMatchObject({ upgraded: 0 });
    expect((await varve("wal", "inspect")).exitCode).toBe(0);
    await json("critical", "put", "notes", "k", "1");
    await json("critical", "rm", "notes", "k");
    const reader: Store = await openStore(directory, { readOnly: true, workers: 0 });
    const backup = await reader.backup(join(root, "copy"));
    expect(backup.critical!.lsn).toBeGreaterThan(5n);
    await reader.close();
  });

  it("killed, it leaves the store to the next command at once", async () => {
    await startEngine();
    engine!.child.kill("SIGKILL");
    await engine!.ended;
    expect((await varve("critical", "put", "notes", "k", "1")).exitCode).toBe(0);
  });

  it("without its socket, its pid is named with exit code 11", async () => {
    const store = await openStore(directory, { create: true, workers: 0, critical: { socket: false } });
    store.critical.commit((tx) => tx.put(store.critical.map("m"), "k", 1));
    const { exitCode, err } = await varve("critical", "put", "m", "k", "2");
    expect(exitCode).toBe(11);
    expect(err).toContain(`process ${process.pid}`);
    await store.close();
    expect((await varve("critical", "put", "m", "k", "2")).exitCode).toBe(0);
  });

  it("poisoned, it says so with exit code 13", async () => {
    await varve("critical", "put", "m", "k", "1");
    const { storeId } = readStoreFile(realDisk, directory)!;
    const disk = new SimulatedDisk();
    const critical = openCritical({ disk, directory: "/store", storeId }, { socket: false }, () => {});
    const socket = EngineSocket.open(
      { disk, directory: join(directory, "critical") },
      verbsOf(critical),
      (error) => {
        throw error;
      },
    )!;
    disk.inject({ on: "write", path: ".seg", effect: { kind: "EIO" } });
    expect((await varve("critical", "put", "m", "k", "2")).exitCode).toBe(13);
    expect((await varve("sequence", "next", "nonce")).exitCode).toBe(13);
    await socket.close();
    await critical.close();
  });
});
