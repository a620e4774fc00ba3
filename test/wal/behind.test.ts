import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { StoreError } from "../../src/errors.ts";
import {
  type CarriedWrite,
  createInlineCarrier,
  type OnCarried,
  type WriteCarrier,
  type WriteOutcome,
} from "../../src/wal/carrier.ts";
import { decodeBlock } from "../../src/wal/format.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import type { Segments } from "../../src/wal/segments.ts";
import { createThreadCarrier } from "../../src/wal/thread-carrier.ts";
import { record, STORE_ID, setLogs } from "./set-logs.ts";

/** Enough to be handed on behind a write that is on its way. */
const MANY = 20;
const turn = () => new Promise((resolve) => setImmediate(resolve));

const logs = setLogs();
const { open } = logs;

/** Appends one record, which is on its way then, and many more. */
async function appendBehind(log: WriteAheadLog): Promise<Promise<bigint>[]> {
  const append = async (text: string) => (await log.append(record(text))).lsn;
  const first = append("first");
  first.catch(() => {});
  await Promise.resolve();
  const behind = Array.from({ length: MANY }, (_, index) => append(`behind ${index}`));
  for (const each of behind) each.catch(() => {});
  await turn();
  return [first, ...behind];
}

const lsnsFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => BigInt(first + index));

/** Holds what it is given until the test says how it went. */
class HeldCarrier implements WriteCarrier {
  readonly started: { write: CarriedWrite; done: OnCarried }[] = [];

  start(write: CarriedWrite, done: OnCarried): void {
    this.started.push({ write, done });
  }
  finish(): "taken-back" {
    return "taken-back";
  }
  dropMirror(): void {}
  async close(): Promise<void> {}
}

describe("a write behind another", () => {
  it("is with the carrier before that has ended, and durable only after it", async () => {
    const carrier = new HeldCarrier();
    const log = open({ createCarrier: () => carrier });
    const [first, ...behind] = await appendBehind(log);
    const [one, two] = carrier.started;
    expect(carrier.started.map(({ write }) => write.records)).toEqual([1, MANY]);
    expect(two!.write.sequence).toBe(one!.write.sequence + 1);
    expect(two!.write.buffer).not.toBe(one!.write.buffer);
    const block = decodeBlock(two!.write.bytes.subarray(0, 4096), two!.write.sequence, STORE_ID);
    // It was not known to be durable when this one was sealed.
    expect(block).toMatchObject({
      header: { durableThrough: one!.write.sequence - 1, writeStart: two!.write.sequence },
    });
    one!.done({});
    expect(await first).toBe(1n);
    expect(log.durableLsn).toBe(1n);
    const after = Array.from({ length: MANY }, (_, index) => log.append(record(`after ${index}`)));
    await turn();
    const three = carrier.started[2]!.write;
    expect([one!, two!].map(({ write }) => write.buffer)).not.toContain(three.buffer);
    const next = decodeBlock(three.bytes.subarray(0, 4096), three.sequence, STORE_ID);
    expect(next).toMatchObject({ header: { durableThrough: one!.write.sequence } });
    two!.done({});
    expect(await Promise.all(behind)).toEqual(lsnsFrom(2, MANY));
    expect(log.durableLsn).toBe(BigInt(1 + MANY));
    carrier.started[2]!.done({});
    await Promise.all(after);
  });

  it("is refused with the one before it", async () => {
    const carrier = new HeldCarrier();
    const log = open({ createCarrier: () => carrier });
    const appends = await appendBehind(log);
    carrier.started[0]!.done({ failed: new StoreError("ERR_IO", "the disk is gone") });
    for (const append of appends) await expect(append).rejects.toMatchObject({ code: "ERR_POISONED" });
    carrier.started[1]!.done({});
    expect(log.durableLsn).toBe(0n);
  });

  it("waits for the one before it where there is a mirror", async () => {
    const carrier = new HeldCarrier();
    const log = open({ createCarrier: () => carrier, mirror: join(logs.root, "mirror") });
    const appends = await appendBehind(log);
    expect(carrier.started).toHaveLength(1);
    carrier.started[0]!.done({});
    expect(carrier.started).toHaveLength(2);
    carrier.started[1]!.done({});
    expect(await Promise.all(appends)).toEqual(lsnsFrom(1, 1 + MANY));
  });
});

describe("a carrier without a thread", () => {
  it("writes nothing after a write that failed", async () => {
    const written: number[] = [];
    const failing = {
      write(sequence: number) {
        written.push(sequence);
        throw new StoreError("ERR_IO", "the disk is gone");
      },
    } as unknown as Segments;
    const carrier = createInlineCarrier(() => [failing]);
    const carry = (sequence: number) =>
      new Promise<WriteOutcome>((resolve) => {
        carrier.start({ sequence, bytes: new Uint8Array(4096), buffer: 0, records: 1 }, resolve);
      });
    const outcomes = await Promise.all([carry(1), carry(2)]);
    expect(outcomes.map(({ failed }) => failed?.code)).toEqual(["ERR_IO", "ERR_IO"]);
    expect(written).toEqual([1]);
  });
});

describe("the log worker with two writes", () => {
  const fixture = (name: string) => {
    const script = new URL(`./fixtures/${name}.mjs`, import.meta.url);
    return open({ createCarrier: (options) => createThreadCarrier({ ...options, script }) });
  };

  it("writes both, in their order", async () => {
    const log = fixture("slow-worker");
    expect(await Promise.all(await appendBehind(log))).toEqual(lsnsFrom(1, 1 + MANY));
    expect(log.stats().writes).toBe(2);
    await log.close();
    expect([...open().read(1n)].map(({ lsn }) => lsn)).toEqual(lsnsFrom(1, 1 + MANY));
  });

  it("writes nothing after one that failed", async () => {
    const log = fixture("failing-worker");
    const appends = await appendBehind(log);
    for (const append of appends) await expect(append).rejects.toMatchObject({ code: "ERR_POISONED" });
    await log.close();
    expect(readFileSync(join(logs.directory, "writes"), "utf8")).toBe("1");
    expect(open().durableLsn).toBe(0n);
  });

  it("ends both for a synchronous append, and goes on after it", async () => {
    const log = fixture("slow-worker");
    const all: bigint[] = [];
    for (let round = 0; round < 4; round++) {
      // In the first round the worker has not begun yet, and both are taken back.
      const appends = await appendBehind(log);
      const { lsn } = log.appendSync(record("synchronous"));
      all.push(...(await Promise.all(appends)), lsn);
      if (round % 2 === 1) all.push((await log.append(record("alone"))).lsn);
    }
    expect(all).toEqual(lsnsFrom(1, all.length));
    await log.close();
    expect(open().durableLsn).toBe(BigInt(all.length));
  });
});
