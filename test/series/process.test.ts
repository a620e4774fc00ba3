import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStore, type Store } from "../../index.ts";
import { realDisk } from "../../src/disk/real-disk.ts";
import { rowsOf } from "./open.ts";

const SCRIPT = fileURLToPath(new URL("./fixtures/append.mjs", import.meta.url));
const DIST = fileURLToPath(new URL("../../dist", import.meta.url));

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "varve-series-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Whether hot files are mapped here: where koffi is installed, and the file system overwrites in place. */
function canMap(): boolean {
  const file = realDisk.open(`${mkdtempSync(join(tmpdir(), "varve-map-"))}/file`, {
    access: "write",
    create: "must",
  });
  try {
    return file.map?.(0, 4096) !== undefined;
  } finally {
    file.close();
    rmSync(dirname(file.path), { recursive: true });
  }
}

interface Appender {
  child: ChildProcess;
  ready: Promise<unknown>;
  ended: Promise<unknown>;
  /** The last row whose append had returned. */
  lastAck(): number;
}

function startAppender(mode: string): Appender {
  const child = spawn(process.execPath, [SCRIPT, DIST, directory, mode], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout!.on("data", (data) => {
    text += data;
  });
  return {
    child,
    ready: new Promise((resolve) => child.stdout!.once("data", resolve)),
    ended: new Promise((resolve) => child.once("close", resolve)),
    lastAck: () => Number([...text.slice(-200).matchAll(/^ack (\d+)\n/gm)].at(-1)?.[1] ?? -1),
  };
}

const rowAt = (n: number) => ({ ts: (1n << 32n) + BigInt(n), n: BigInt(n), x: n / 8 });

async function checkRows(store: Store): Promise<{ firstRow: number; endRow: number }> {
  const series = store.series.open("s", { readOnly: true });
  const { firstRow, endRow } = series.positions();
  const rows = await rowsOf(series, { toRow: endRow });
  expect(rows).toEqual(Array.from({ length: endRow - firstRow }, (_, i) => rowAt(firstRow + i)));
  await series.close();
  return { firstRow, endRow };
}

describe("a process that appends", () => {
  it.each(["seal", "evict"])(
    "loses no row, doubles none and keeps their order when it is killed (%s)",
    async (mode) => {
      let appended = 0;
      for (let round = 0; round < 6; round++) {
        const appender = startAppender(mode);
        await appender.ready;
        // Once at least it is known to have come somewhere, however slow the machine is.
        if (round === 0) await expect.poll(() => appender.lastAck(), { interval: 5 }).toBeGreaterThan(6);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
        appender.child.kill("SIGKILL");
        await appender.ended;
        const store = await openStore(directory);
        const { endRow } = await checkRows(store);
        expect(endRow).toBeGreaterThan(appender.lastAck());
        appended = endRow;
        await store.close();
      }
      expect(appended).toBeGreaterThan(6);
    },
  );

  it.runIf(canMap())("loses no row that it put into a mapped hot file when it is killed", async () => {
    for (let round = 0; round < 6; round++) {
      const appender = startAppender("mapped");
      await appender.ready;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      appender.child.kill("SIGKILL");
      await appender.ended;
      const store = await openStore(directory);
      const { endRow } = await checkRows(store);
      expect(endRow).toBeGreaterThan(appender.lastAck());
      await store.close();
    }
  });

  it("is read, tailed and exported by others meanwhile, and refuses a second writer with its id", async () => {
    const appender = startAppender("seal");
    await appender.ready;
    const store = await openStore(directory);
    try {
      expect(() => store.series.open("s")).toThrow(String(appender.child.pid));
      const reader = store.series.open("s", { readOnly: true });
      const numbers: bigint[] = [];
      for await (const batch of reader.tail({ fromRow: 0 })) {
        numbers.push(...(batch.getChild("n")!.toArray() as BigInt64Array));
        if (numbers.length > 3000) break;
      }
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, n) => BigInt(n)));
      let csv = "";
      for await (const bytes of store.exportSeries("s", { format: "csv", toRow: 2500 }))
        csv += Buffer.from(bytes);
      const lines = csv.trimEnd().split("\n");
      expect(lines).toHaveLength(2501);
      expect(lines[2500]).toBe(`${(1n << 32n) + 2499n},2499,${2499 / 8}`);
      await checkRows(store);
    } finally {
      appender.child.kill("SIGKILL");
      await appender.ended;
      await store.close();
    }
  });
});
