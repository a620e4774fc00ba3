import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach } from "vitest";
import { realDisk } from "../../src/disk/real-disk.ts";
import type { WriteAheadLog } from "../../src/wal/log.ts";
import { openLog } from "../../src/wal/open-log.ts";
import type { LogOptions } from "../../src/wal/options.ts";

export const STORE_ID = new Uint8Array(16).fill(7);

export const record = (text: string, timeUs = 1n) => ({ payload: new TextEncoder().encode(text), timeUs });

/** A directory on the real disk for each test of a file, and logs in it that are closed when the test has ended. */
export function setLogs(defaults: Partial<LogOptions> = {}) {
  const opened: WriteAheadLog[] = [];
  const logs = {
    root: "",
    directory: "",
    open(options: Partial<LogOptions> = {}): WriteAheadLog {
      const place = { disk: realDisk, directory: logs.directory, storeId: STORE_ID };
      const log = openLog({ ...place, segmentBlocks: 16, ...defaults, ...options });
      opened.push(log);
      return log;
    },
  };
  beforeEach(() => {
    logs.root = mkdtempSync(join(tmpdir(), "varve-wal-"));
    logs.directory = join(logs.root, "critical");
  });
  afterEach(async () => {
    for (const log of opened.splice(0)) await log.close().catch(() => {});
    rmSync(logs.root, { recursive: true });
  });
  return logs;
}
