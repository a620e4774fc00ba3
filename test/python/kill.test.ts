import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../index.ts";
import { randomOf } from "../formats/random-bytes.ts";
import { type PythonChild, pythonWith, startPython } from "./python.ts";

const python = pythonWith("json");
const root = join(import.meta.dirname, "../..");
const rounds = Number(process.env["VARVE_KILL_ROUNDS"] ?? 6);

/** Saves version after version, each 4 MB of which a fifth is new; says each one that was acknowledged. */
const saver = `
import random, sys, varve_client
rng = random.Random(int(sys.argv[1]))
blocks = [rng.randbytes(400_000) for _ in range(10)]
with varve_client.connect() as store:
    while True:
        for i in rng.sample(range(10), 2):
            blocks[i] = rng.randbytes(400_000)
        state = {"blocks": blocks, "sum": sum(map(sum, (b[:100] for b in blocks)))}
        print("saved", store.save("killed", state, step=0)["version"], flush=True)
`;

describe.skipIf(python === undefined)("uploads under kill -9", () => {
  let directory: string;
  let port: number;
  let server: ChildProcess;
  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "varve-kill-"));
    port = await freePort();
  });
  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  afterEach(async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    server.kill("SIGKILL");
    await new Promise((resolve) => server.once("exit", resolve));
  });

  const url = () => `http://127.0.0.1:${port}`;
  const store = () => join(directory, "store");

  async function startServer(): Promise<void> {
    const args = [
      join(root, "dist/cli/main.js"),
      "--store",
      store(),
      "--quiet",
      "serve",
      "--port",
      String(port),
    ];
    server = spawn(process.execPath, args, { stdio: "ignore" });
    for (;;) {
      if (
        await fetch(`${url()}/healthz`).then(
          (answer) => answer.ok,
          () => false,
        )
      )
        return;
      await pause(30);
    }
  }

  it(
    `of server or client (${rounds} times) never leave a ref without its chunks, and lose nothing acknowledged`,
    async () => {
      const random = randomOf();
      try {
        await startServer();
        let acknowledged = 0;
        let client: PythonChild | undefined;
        for (let round = 0; round < rounds; round++) {
          client ??= startPython(python!, ["-c", saver, String(random.below(1e9))], url());
          const before = client.lines.length;
          await pause(400 + random.below(1500));
          if (round % 2 === 0) {
            server.kill("SIGKILL");
            await new Promise((resolve) => server.once("exit", resolve));
            await startServer();
            // The client was not killed: it goes on by itself where it was.
            while (client.lines.length <= before && client.process.exitCode === null) await pause(50);
            expect(client.process.exitCode, (await Promise.race([client.ended, { err: "" }])).err).toBeNull();
          } else {
            client.process.kill("SIGKILL");
            await client.ended;
          }
          acknowledged = Math.max(acknowledged, Number(client.lines.at(-1)?.split(" ")[1] ?? 0));
          if (round % 2 === 1) client = undefined;
        }
        client?.process.kill("SIGKILL");
        server.kill("SIGTERM");
        await new Promise((resolve) => server.once("exit", resolve));
        expect(acknowledged).toBeGreaterThan(0);
        await using opened = await openStore(store(), { workers: 0 });
        const versions = opened.checkpoints.log("killed").map(({ version }) => version);
        expect(versions.length).toBeGreaterThanOrEqual(acknowledged);
        expect(await opened.check({ readData: true })).toMatchObject({ ok: true, problems: [] });
        const resumed = await opened.checkpoints.readResume("killed");
        expect(resumed!.byteLength).toBeGreaterThan(4_000_000);
      } catch (error) {
        throw new Error(random.says, { cause: error });
      }
    },
    Math.max(900_000, rounds * 6000),
  );

  it("tried again send nothing that had arrived, whichever side was killed", async () => {
    await startServer();
    const flag = join(directory, "restarted");
    const program = `
import os, random, time, varve_client
state = {"big": random.Random(7).randbytes(12_000_000)}
class Interrupted(Exception): pass
def interrupted(*_): raise Interrupted
store = varve_client.connect()
move, store._move = store._move, interrupted
try:
    store.save("again", state)  # everything but the last step
except Interrupted:
    pass
store._move, first = move, store.bytes_sent
other = varve_client.connect()
print(first, other.save("other", state)["version"], other.bytes_sent, flush=True)  # as a client started anew
while not os.path.exists(${JSON.stringify(flag)}):
    time.sleep(0.05)
print(store.save("again", state)["version"], store.bytes_sent - first, flush=True)  # to a server started anew
`;
    const child = startPython(python!, ["-c", program], url());
    while (child.lines.length === 0 && child.process.exitCode === null) await pause(50);
    server.kill("SIGKILL");
    await new Promise((resolve) => server.once("exit", resolve));
    await startServer();
    writeFileSync(flag, "");
    const { err } = await child.ended;
    expect(child.lines.length, err).toBe(2);
    const [[first, version, again], [retried, sent]] = child.lines.map((line) =>
      line.split(" ").map(Number),
    ) as [[number, number, number], [number, number]];
    expect([first > 12_000_000, version, retried], err).toEqual([true, 1, 1]);
    expect(again).toBeLessThan(100_000);
    expect(sent).toBeLessThan(100_000);
  });
});

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * A port that is free, and stays so while the server is down: of those that the system gives to nobody who does not ask for
 * them by number.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const probe = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
