import { closeSync, openSync, readSync } from "node:fs";

/** What the main thread has run, and how long it was ready to run while others had the processors. */
export interface ThreadTimes {
  ranNs: number;
  waitedNs: number;
}

/** Linux's own account of the main thread (`/proc/self/schedstat`); `undefined` on other systems. */
export function openThreadTimes(): { read(): ThreadTimes; close(): void } | undefined {
  let file: number;
  try {
    file = openSync("/proc/self/schedstat", "r");
  } catch {
    return undefined;
  }
  const buffer = Buffer.alloc(64);
  return {
    read: () => {
      const bytes = readSync(file, buffer, 0, buffer.length, 0);
      const [ranNs, waitedNs] = buffer.toString("latin1", 0, bytes).split(" ").map(Number);
      return { ranNs: ranNs!, waitedNs: waitedNs! };
    },
    close: () => closeSync(file),
  };
}
