import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { realDisk } from "../../src/disk/real-disk.ts";
import { LogFollower } from "../../src/wal/follow-log.ts";
import { openLog } from "../../src/wal/open-log.ts";

const SCRIPT = fileURLToPath(new URL("./fixtures/acknowledge.mjs", import.meta.url));
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const STORE_ID = new Uint8Array(16).fill(7);
/** It may be there and not be let trace. */
const hasStrace = spawnSync("strace", ["-f", "-qq", "-y", "-o", "/dev/null", "true"]).status === 0;

let root: string;
let directory: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "varve-process-"));
  directory = join(root, "critical");
});
afterEach(() => rmSync(root, { recursive: true }));

function recovered(): number {
  const log = openLog({ disk: realDisk, directory, storeId: STORE_ID });
  const lsn = Number(log.durableLsn);
  const entries = [...log.read(1n)];
  expect(entries.map((entry) => Number(entry.lsn))).toEqual(
    Array.from({ length: lsn }, (_, index) => index + 1),
  );
  for (const entry of entries)
    expect(entry.payload.every((byte) => byte === (Number(entry.timeUs) & 255))).toBe(true);
  void log.close();
  return lsn;
}

const lastAck = (text: string) =>
  Math.max(0, ...[...text.matchAll(/^ack (\d+)\n/gm)].map((match) => Number(match[1])));

describe("a process that writes the log", () => {
  it("loses no acknowledged record and no lock when it is killed at any moment", async () => {
    let acknowledged = 0;
    for (let round = 0; round < 12; round++) {
      rmSync(directory, { recursive: true, force: true });
      const child = spawn(process.execPath, [SCRIPT, DIST, directory, "100000"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let text = "";
      child.stdout.on("data", (data) => {
        text += data;
      });
      const ended = new Promise((resolve) => child.once("close", resolve));
      await new Promise((resolve) => child.stdout.once("data", resolve));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 80));
      child.kill("SIGKILL");
      await ended;
      expect(recovered()).toBeGreaterThanOrEqual(lastAck(text));
      acknowledged += lastAck(text);
    }
    expect(acknowledged).toBeGreaterThanOrEqual(12);
  });

  it("is seen by a follower in another process, which then finds all of it", async () => {
    const child = spawn(process.execPath, [SCRIPT, DIST, directory, "100000"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    child.stdout.resume();
    const follower = new LogFollower({ disk: realDisk, directory, storeId: STORE_ID });
    let seen = 0;
    for (let look = 0; look < 30 || (seen === 0 && look < 2000); look++) {
      expect(follower.writer).toEqual({ pid: child.pid });
      for (const entry of follower.refresh()) expect(Number(entry.lsn)).toBe(++seen);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(seen).toBeGreaterThan(0);
    child.kill("SIGKILL");
    await ended;
    for (const entry of follower.refresh()) expect(Number(entry.lsn)).toBe(++seen);
    expect(follower.writer).toBeUndefined();
    expect(recovered()).toBe(seen);
  });

  it.skipIf(!hasStrace)("acknowledges a record only after its durable write has ended (traced)", () => {
    const trace = join(root, "trace");
    const run = spawnSync(
      "strace",
      ["-f", "-qq", "-y", "-o", trace, "-e", "trace=openat,pwrite64,write,fdatasync"].concat(
        process.execPath,
        SCRIPT,
        DIST,
        directory,
        "40",
      ),
      { encoding: "utf8" },
    );
    expect(lastAck(run.stdout)).toBe(40);
    const { acks, durable } = acknowledgedBefore(readFileSync(trace, "utf8"));
    expect(acks).toBe(40);
    expect(durable).toBeGreaterThan(20);
  });
});

/** Walks a trace; every "ack LSN" must come after the end of a durable write for at least that many records. */
function acknowledgedBefore(trace: string): { acks: number; durable: number } {
  const durableFiles = new Set<string>();
  const begun = new Map<string, string>();
  let durable = 0;
  let acks = 0;
  let neededWrites = 1;
  for (const line of trace.split("\n")) {
    const [, thread, call] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
    if (thread === undefined || call === undefined) continue;
    if (/^write\(1<.*"ack \d+\\n"/.test(call)) {
      // Rounds of one write alone and one or more that three records share, after the open block.
      if (acks % 4 <= 1) neededWrites++;
      acks++;
      if (durable < neededWrites) throw new Error(`ack ${acks} came after ${durable} durable writes only`);
    }
    // A call that another thread interrupted is told in two lines; it counts when it has ended.
    if (call.endsWith("<unfinished ...>")) begun.set(thread, call.slice(0, -"<unfinished ...>".length));
    const whole = call.replace(/^<\.\.\. \w+ resumed>/, () => begun.get(thread) ?? "");
    const opened = /^openat\(.*\.seg", [A-Z_|]*O_DSYNC.* = (\d+)</.exec(whole)?.[1];
    if (opened !== undefined) durableFiles.add(opened);
    const written = /^pwrite64\((\d+)<[^>]*\.seg>.* = (\d+)$/.exec(whole);
    if (written !== null && durableFiles.has(written[1]!) && Number(written[2]) >= 4096) durable++;
  }
  return { acks, durable };
}
